"""Domain: a DNS zone. Its name is never automatic."""

from digitalocean_provider.operation import Operation
from digitalocean_provider.schema import COMPUTED, REQUIRED, Field, Schema
from plugin_base.wire import Properties

SCHEMA = Schema(
    type_name="digitalocean:index/domain:Domain",
    label="domain",
    fields={
        "name": Field(role=REQUIRED, replaces=True),
        "ipAddress": Field(replaces=True, unread=True),  # only an A record at creation
        "domainUrn": Field(role=COMPUTED),
        "ttl": Field(role=COMPUTED),
    },
)


def create(op: Operation, inputs: Properties) -> Properties:
    """Create the zone."""
    body = {"name": inputs["name"]}
    body |= {"ip_address": inputs["ipAddress"]} if inputs.get("ipAddress") else {}
    op.keep(op.call("POST", "domains", body=body)["domain"]["name"])
    return read(op, op.id, {}) or {}


def read(op: Operation, id_: str, _state: Properties) -> Properties | None:
    """Return the zone, or None when it is gone."""
    reply = op.find("GET", "domains", id_)
    if reply is None:
        return None
    domain = reply["domain"]
    return {"name": domain["name"], "ttl": domain.get("ttl"), "domainUrn": f"do:domain:{domain['name']}"}


def delete(op: Operation, id_: str, _state: Properties) -> None:
    """Delete the zone with its records."""
    op.find("DELETE", "domains", id_)
