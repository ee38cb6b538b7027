"""VpcNatGateway: the way out of a VPC, for Droplets without a public address."""

from typing import Any

from digitalocean_provider.errors import ApiError, ProviderError
from digitalocean_provider.operation import GONE, Operation, go_time
from digitalocean_provider.schema import COMPUTED, OPTIONAL_COMPUTED, REQUIRED, Field, Schema, unordered
from plugin_base.wire import Properties

_TIMEOUTS = {
    "udpTimeoutSeconds": "udp_timeout_seconds",
    "icmpTimeoutSeconds": "icmp_timeout_seconds",
    "tcpTimeoutSeconds": "tcp_timeout_seconds",
}


def said_vpcs(vpcs: list[Properties]) -> Any:  # noqa: ANN401 -- what is compared
    """Compare what the program says of its VPCs, as a set: the gateway's address in each is the API's."""
    return unordered([{name: vpc.get(name) for name in ("vpcUuid", "subnetUuid", "defaultGateway")} for vpc in vpcs])


def other_vpc(old: list[Properties], new: list[Properties]) -> bool:
    """Tell whether it stands in another VPC; whether it is the default there changes in place."""
    places = [[(vpc.get("vpcUuid"), vpc.get("subnetUuid")) for vpc in vpcs] for vpcs in (old or [], new or [])]
    return places[0] != places[1]


SCHEMA = Schema(
    type_name="digitalocean:index/vpcNatGateway:VpcNatGateway",
    label="VPC NAT gateway",
    fields={
        "name": Field(auto_name=True),
        "type": Field(role=REQUIRED),
        "region": Field(role=REQUIRED),
        "size": Field(role=REQUIRED),
        "vpcs": Field(
            role=REQUIRED,
            normalise=said_vpcs,
            replaces=other_vpc,
            members=("vpcUuid", "subnetUuid", "defaultGateway"),
        ),
        **{name: Field(role=OPTIONAL_COMPUTED) for name in _TIMEOUTS},
        "projectId": Field(role=OPTIONAL_COMPUTED),
        "egresses": Field(role=COMPUTED),  # the official one takes an address of the program's own, which ours does not
        "state": Field(role=COMPUTED),
        "createdAt": Field(role=COMPUTED),
        "updatedAt": Field(role=COMPUTED),
    },
    default_timeouts={"create": 900, "delete": 900},
)


def _body(inputs: Properties) -> Properties:
    timeouts = {api: inputs[name] for name, api in _TIMEOUTS.items() if inputs.get(name)}
    same = {name: inputs[name] for name in ("name", "type", "region")}
    return same | {"size": int(inputs["size"])} | {name: int(value) for name, value in timeouts.items()}


def _vpc(vpc: Properties) -> Properties:
    body = {"vpc_uuid": vpc["vpcUuid"]}
    body |= {"subnet_uuid": vpc["subnetUuid"]} if vpc.get("subnetUuid") else {}
    return body | ({"default_gateway": True} if vpc.get("defaultGateway") else {})


def _wait_until_active(op: Operation, id_: str) -> Properties:
    def probe() -> tuple[str, Properties | None]:
        gateway: Properties = op.call("GET", "vpc_nat_gateways", id_)["vpc_nat_gateway"]
        state = gateway["state"]
        if state not in ("NEW", "ACTIVE"):
            raise ProviderError(f"unexpected state {state!r} of VPC NAT gateway {id_}, wanted 'ACTIVE'")
        return f"state={state}", gateway if state == "ACTIVE" else None

    return op.wait_for(f"VPC NAT gateway {id_} to be active", probe, timeout=SCHEMA.default_timeouts["create"])


def create(op: Operation, inputs: Properties) -> Properties:
    """Create and wait until packets pass. The project is not sent: the official one only reads it."""
    body = _body(inputs) | {"vpcs": [_vpc(vpc) for vpc in inputs["vpcs"]]}
    op.keep(op.call("POST", "vpc_nat_gateways", body=body)["vpc_nat_gateway"]["id"])
    return _properties(_wait_until_active(op, op.id))


def read(op: Operation, id_: str, _state: Properties) -> Properties | None:
    """Return the gateway, or None when it is gone."""
    gateway = _find(op, id_)
    return None if gateway is None else _properties(gateway)


def _find(op: Operation, id_: str) -> Properties | None:
    """Only these words mean that it is gone, as to the official one."""
    try:
        gateway: Properties = op.call("GET", "vpc_nat_gateways", id_)["vpc_nat_gateway"]
    except ApiError as error:
        if error.status == GONE and f"nat gateway with id {id_} not found" in error.message:
            return None
        raise
    return gateway


def _properties(gateway: Properties) -> Properties:
    addresses = (gateway.get("egresses") or {}).get("public_gateways") or []
    return {
        "name": gateway["name"],
        "type": gateway["type"],
        "region": gateway["region"],
        "size": gateway["size"],
        "state": gateway["state"],
        "vpcs": [
            {
                "vpcUuid": vpc["vpc_uuid"],
                "subnetUuid": vpc.get("subnet_uuid", ""),
                "gatewayIp": vpc.get("gateway_ip", ""),
                "defaultGateway": vpc.get("default_gateway", False),
            }
            for vpc in gateway["vpcs"]
        ],
        "egresses": [{"publicGateways": [{"ipv4": one["ipv4"]} for one in addresses]}] if addresses else [],
        **{name: gateway[api] for name, api in _TIMEOUTS.items()},
        "projectId": gateway.get("project_id"),
        "createdAt": go_time(gateway["created_at"]),
        "updatedAt": go_time(gateway["updated_at"]),
    }


def update(op: Operation, id_: str, state: Properties, inputs: Properties, changed: set[str]) -> None:
    """Change name, size and timeouts; finish an interrupted creation.

    The official one sends null for the VPCs, whatever changed of them.
    """
    if not changed:
        _wait_until_active(op, id_)
        return
    known = {name: state[name] for name in _TIMEOUTS if name in state}
    op.call("PUT", "vpc_nat_gateways", id_, body=_body(known | inputs) | {"vpcs": None})


def delete(op: Operation, id_: str, _state: Properties) -> None:
    """Delete it, and wait until it is gone: its VPC can't go before."""
    op.find("DELETE", "vpc_nat_gateways", id_)

    def gone() -> tuple[str, bool | None]:
        gateway = _find(op, id_)
        return ("gone", True) if gateway is None else (f"state={gateway['state']}", None)

    op.wait_for(f"VPC NAT gateway {id_} to be gone", gone, timeout=SCHEMA.default_timeouts["delete"])
