"""Vpc: a private network."""

from digitalocean_provider.errors import ApiError
from digitalocean_provider.operation import Operation, go_time
from digitalocean_provider.schema import COMPUTED, OPTIONAL_COMPUTED, REQUIRED, Field, Schema
from plugin_base.wire import Properties

SCHEMA = Schema(
    type_name="digitalocean:index/vpc:Vpc",
    label="VPC",
    fields={
        "name": Field(auto_name=True),
        "region": Field(role=REQUIRED, replaces=True),
        "description": Field(length=(0, 255)),
        "ipRange": Field(role=OPTIONAL_COMPUTED, replaces=True),
        "createdAt": Field(role=COMPUTED),
        "default": Field(role=COMPUTED),
        "vpcUrn": Field(role=COMPUTED),
    },
    default_timeouts={"delete": 120},
)

MEMBERS_LEFT = (403, 409)  # what is being deleted still belongs to the network for a while


def create(op: Operation, inputs: Properties) -> Properties:
    """Create one at a time per region, so that automatic address ranges don't collide."""
    body = {"name": inputs["name"], "region": inputs["region"]}
    body |= {"description": inputs["description"]} if inputs.get("description") else {}
    body |= {"ip_range": inputs["ipRange"]} if inputs.get("ipRange") else {}
    with op.one_at_a_time(f"vpcs of {inputs['region']}"):
        op.keep(op.call("POST", "vpcs", body=body)["vpc"]["id"])
    return read(op, op.id, {}) or {}


def read(op: Operation, id_: str, _state: Properties) -> Properties | None:
    """Return the network's properties, or None when it is gone."""
    reply = op.find("GET", "vpcs", id_)
    if reply is None:
        return None
    vpc = reply["vpc"]
    return {
        "name": vpc["name"],
        "region": vpc["region"],
        "description": vpc.get("description", ""),
        "ipRange": vpc["ip_range"],
        "createdAt": go_time(vpc.get("created_at")),
        "default": vpc["default"],
        "vpcUrn": vpc["urn"],
    }


def update(op: Operation, id_: str, state: Properties, inputs: Properties, changed: set[str]) -> None:
    """Rename or describe."""
    if changed & {"name", "description"}:
        body = {
            "name": inputs["name"],
            "description": inputs.get("description", ""),
            "default": state.get("default", False),
        }
        op.call("PUT", "vpcs", id_, body=body)


def delete(op: Operation, id_: str, _state: Properties) -> None:
    """Delete, waiting for members that are still on their way out."""

    def attempt() -> tuple[str, bool | None]:
        try:
            op.call("DELETE", "vpcs", id_)
        except ApiError as error:
            if error.status in MEMBERS_LEFT:
                return error.message, None
            raise
        return "deleted", True

    op.wait_for(f"VPC {id_} to have no members", attempt, timeout=SCHEMA.default_timeouts["delete"])
