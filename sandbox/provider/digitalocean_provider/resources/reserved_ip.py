"""ReservedIp: a public address that outlives Droplets. Assign it with ReservedIpAssignment."""

from digitalocean_provider.operation import Operation
from digitalocean_provider.schema import COMPUTED, REQUIRED, Field, Schema, lower
from plugin_base.wire import Properties

SCHEMA = Schema(
    type_name="digitalocean:index/reservedIp:ReservedIp",
    label="reserved IP",
    fields={
        "region": Field(role=REQUIRED, replaces=True, normalise=lower),
        "ipAddress": Field(role=COMPUTED),  # an input of the official plugin that it never sends
        "reservedIpUrn": Field(role=COMPUTED),
    },
)


def create(op: Operation, inputs: Properties) -> Properties:
    """Reserve an address in a region."""
    reply = op.call("POST", "reserved_ips", body={"region": inputs["region"].lower()})
    op.keep(reply["reserved_ip"]["ip"])
    return read(op, op.id, {}) or {}


def read(op: Operation, id_: str, _state: Properties) -> Properties | None:
    """Return the address, or None when it is gone."""
    reply = op.find("GET", "reserved_ips", id_)
    if reply is None:
        return None
    reserved = reply["reserved_ip"]
    return {
        "region": reserved["region"]["slug"],
        "ipAddress": reserved["ip"],
        "reservedIpUrn": f"do:reservedip:{reserved['ip']}",
    }


def delete(op: Operation, id_: str, _state: Properties) -> None:
    """Give the address back."""
    op.find("DELETE", "reserved_ips", id_)
