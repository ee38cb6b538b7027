"""VPC NAT gateways: the way out of Droplets that have no public address."""

import asyncio
import logging
import re
from collections.abc import Iterator
from typing import Literal

from starlette.responses import Response

from sandbox.api import addresses, errors
from sandbox.api.calls import Call, Cloud, Fields, Router, answer, nothing
from sandbox.api.products import projects, vpcs
from sandbox.model.store import Body, Resource, Store, now

logger = logging.getLogger("sandbox.api")
router = Router("VPC NAT gateway")

KIND = "vpc_nat_gateway"
_NAME = re.compile(r"[A-Za-z0-9.-]+")
_SIZES = range(1, 17)
# Seconds, where nothing is said: those that doctl sends by itself.
_TIMEOUTS = {"udp_timeout_seconds": 30, "icmp_timeout_seconds": 30, "tcp_timeout_seconds": 300}


class _Vpc(Fields):
    vpc_uuid: str
    default_gateway: bool = False
    subnet_uuid: str | None = None


class _Settings(Fields):
    name: str
    size: int
    udp_timeout_seconds: int | None = None
    icmp_timeout_seconds: int | None = None
    tcp_timeout_seconds: int | None = None
    project_id: str | None = None
    egresses: Body | None = None


class _Create(_Settings):
    type: Literal["PUBLIC"]
    region: str
    vpcs: list[_Vpc]


class _Update(_Settings):
    type: str | None = None
    region: str | None = None
    vpcs: list[_Vpc] | None = None


@router.add("POST", "/vpc_nat_gateways", "vpcnatgateways_create")
async def create(call: Call) -> Response:
    """Create a gateway; it is new until packets pass, and has no address until then."""
    fields = call.fields(_Create)
    _check(call.store, fields, None)
    vpcs.check_region(fields.region)
    wanted = _only(fields.vpcs)
    vpc = vpcs.vpc_for(call.cloud, wanted.vpc_uuid, fields.region)
    project = projects.of_new(call.store, fields.project_id)
    gateway_id = call.store.next_uuid(KIND)
    body: Body = {
        "id": gateway_id,
        "name": fields.name,
        "type": fields.type,
        "state": "NEW",
        "region": fields.region,
        "size": fields.size,
        "vpcs": [{"vpc_uuid": vpc.id, "default_gateway": wanted.default_gateway}],
        "egresses": {},
        **_TIMEOUTS,
        **_timeouts(fields),
        "created_at": now(),
        "updated_at": now(),
        "project_id": project,
    }
    private = {
        "public_ip": addresses.nat_gateway(call.store),
        "private_ip": addresses.private(call.store, vpc.id, vpc.body["ip_range"]),
    }
    gateway = call.store.put(KIND, gateway_id, body, private)
    if wanted.default_gateway:
        _only_default(call.store, gateway)
    call.cloud.spawn(_create(call.cloud, gateway_id))
    return answer({KIND: body}, 202)


@router.add("GET", "/vpc_nat_gateways", "vpcnatgateways_list", query=("state", "region", "type", "name"))
async def list_all(call: Call) -> Response:
    """List gateways, all or by what they are."""
    wanted = {key: call.query(key) for key in ("state", "region", "type", "name")}
    return call.listing(
        "vpc_nat_gateways",
        (
            gateway.body
            for gateway in call.store.list(KIND)
            if all(not value or gateway.body[key] == value for key, value in wanted.items())
        ),
    )


@router.add("GET", "/vpc_nat_gateways/{id}", "vpcnatgateways_get")
async def get(call: Call) -> Response:
    """Describe a gateway."""
    return answer({KIND: _find(call).body})


@router.add("PUT", "/vpc_nat_gateways/{id}", "vpcnatgateways_update")
async def update(call: Call) -> Response:
    """Change name, size and timeouts, and whether it is the default of its VPC."""
    gateway = _find(call)
    fields = call.fields(_Update)
    _check(call.store, fields, gateway)
    for name in ("type", "region"):
        if getattr(fields, name) not in {None, "", gateway.body[name]}:
            raise errors.unprocessable(
                f'{name}: can\'t change from "{gateway.body[name]}", got "{getattr(fields, name)}"'
            )
    [vpc] = gateway.body["vpcs"]
    if fields.vpcs:
        wanted = _only(fields.vpcs)
        if wanted.vpc_uuid != vpc["vpc_uuid"]:
            raise errors.unprocessable(f'vpcs: can\'t change from "{vpc["vpc_uuid"]}", got "{wanted.vpc_uuid}"')
        vpc = vpc | {"default_gateway": wanted.default_gateway}
    changes = {"name": fields.name, "size": fields.size, "vpcs": [vpc], "updated_at": now(), **_timeouts(fields)}
    changed = call.store.put(KIND, gateway.id, gateway.body | changes)
    if vpc["default_gateway"]:
        _only_default(call.store, changed)
    await call.cloud.apply()
    return answer({KIND: changed.body})


@router.add("DELETE", "/vpc_nat_gateways/{id}", "vpcnatgateways_delete")
async def delete(call: Call) -> Response:
    """Delete a gateway; it is found until packets pass no more."""
    gateway = _find(call)
    call.store.put(KIND, gateway.id, gateway.body | {"state": "DELETING"})
    call.cloud.spawn(_delete(call.cloud, gateway.id))
    return nothing(202)


def resume(cloud: Cloud) -> None:
    """Go on with what a stopped API left half done."""
    for gateway in cloud.store.list(KIND):
        if gateway.body["state"] == "NEW":
            cloud.spawn(_create(cloud, gateway.id))
        elif gateway.body["state"] == "DELETING":
            cloud.spawn(_delete(cloud, gateway.id))


async def _create(cloud: Cloud, gateway_id: str) -> None:
    await asyncio.sleep(cloud.faults.delay(KIND))
    state = "ACTIVE"
    try:
        await cloud.apply()
    except errors.ApiError as error:
        logger.error("NAT gateway %s could not be made: %s", gateway_id, error.message)  # noqa: TRY400 - traced already
        state = "ERROR"
    gateway = cloud.store.get(KIND, gateway_id)
    if gateway is None or gateway.body["state"] != "NEW":
        return  # deleted meanwhile
    changes: Body = {"state": state, "updated_at": now()}
    if state == "ACTIVE":
        [vpc] = gateway.body["vpcs"]
        changes["vpcs"] = [vpc | {"gateway_ip": gateway.private["private_ip"]}]
        changes["egresses"] = {"public_gateways": [{"ipv4": gateway.private["public_ip"]}]}
    cloud.store.put(KIND, gateway_id, gateway.body | changes)


async def _delete(cloud: Cloud, gateway_id: str) -> None:
    await cloud.apply()
    cloud.store.delete(KIND, gateway_id)


def _find(call: Call) -> Resource:
    gateway_id = call.path("id")
    found = call.store.get(KIND, gateway_id)
    if found is None:
        raise errors.not_found(f"nat gateway with id {gateway_id} not found")
    return found


def _check(store: Store, fields: _Settings, gateway: Resource | None) -> None:
    if not _NAME.fullmatch(fields.name):
        raise errors.unprocessable(f'name: must be letters, digits, dashes and periods, got "{fields.name}"')
    others = (other for other in store.list(KIND) if gateway is None or other.id != gateway.id)
    if any(other.body["name"] == fields.name for other in others):
        raise errors.unprocessable(f'name: must be unique, a VPC NAT gateway is called "{fields.name}" already')
    if fields.size not in _SIZES:
        raise errors.unprocessable(f"size: must be from {_SIZES[0]} to {_SIZES[-1]}, got {fields.size}")
    for name, value in _timeouts(fields).items():
        if value < 1:
            raise errors.unprocessable(f"{name}: must be 1 second or more, got {value}")
    if fields.egresses:
        raise errors.not_implemented("egresses: no address of your own (BYOIP) is taken; leave it out")


def _only(wanted: list[_Vpc]) -> _Vpc:
    """Return the one VPC that a gateway may stand in."""
    if len(wanted) != 1:
        raise errors.unprocessable(f"vpcs: must be one VPC, got {len(wanted)}")
    [vpc] = wanted
    if vpc.subnet_uuid:
        raise errors.not_implemented("vpcs.0.subnet_uuid: VPCs have no subnets; leave it out")
    return vpc


def _timeouts(fields: _Settings) -> dict[str, int]:
    said = {
        "udp_timeout_seconds": fields.udp_timeout_seconds,
        "icmp_timeout_seconds": fields.icmp_timeout_seconds,
        "tcp_timeout_seconds": fields.tcp_timeout_seconds,
    }
    return {name: value for name, value in said.items() if value is not None}


def _only_default(store: Store, gateway: Resource) -> None:
    """Let no other gateway of its VPC be the default any more."""
    for other in _others_of_vpc(store, gateway):
        store.put(KIND, other.id, other.body | {"vpcs": [other.body["vpcs"][0] | {"default_gateway": False}]})


def _others_of_vpc(store: Store, gateway: Resource) -> Iterator[Resource]:
    vpc_id = gateway.body["vpcs"][0]["vpc_uuid"]
    for other in store.list(KIND):
        if other.id != gateway.id and other.body["vpcs"][0]["vpc_uuid"] == vpc_id:
            yield other
