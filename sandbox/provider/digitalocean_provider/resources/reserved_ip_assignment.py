"""ReservedIpAssignment: which Droplet a reserved IP leads to. A change moves it in one step: create, then delete."""

import uuid

from digitalocean_provider.errors import ProviderError
from digitalocean_provider.operation import Operation
from digitalocean_provider.schema import REQUIRED, Field, Schema
from plugin_base.wire import Properties

SCHEMA = Schema(
    type_name="digitalocean:index/reservedIpAssignment:ReservedIpAssignment",
    label="reserved IP assignment",
    fields={
        "dropletId": Field(role=REQUIRED, replaces=True),
        "ipAddress": Field(role=REQUIRED, replaces=True),
    },
    default_timeouts={"create": 3600, "delete": 3600},
)

BUSY_TIMEOUT = 120  # seconds that other actions of the Droplet may take, before this one is tried all the same


def _unique_id(droplet: int, ip: str) -> str:
    return f"{droplet}-{ip}-{uuid.uuid4().hex}"


def locate(imported: str) -> tuple[str, Properties]:
    """Turn the id given to `pulumi import` into the resource's own id and what reading needs."""
    ip, _, droplet = imported.partition(",")
    if not droplet.isdigit():
        raise ProviderError(
            f"reserved IP assignment to import: must be the address and the Droplet, `ip,droplet_id`, got {imported!r}"
        )
    return _unique_id(int(droplet), ip), {"ipAddress": ip, "dropletId": int(droplet)}


def _wait_for_action(op: Operation, ip: str, action: Properties) -> None:
    def probe() -> tuple[str, bool | None]:
        current = op.call("GET", "reserved_ips", ip, "actions", action["id"])["action"]
        if current["status"] == "errored":
            raise ProviderError(f"action {current['type']} of reserved IP {ip} failed")
        return f"status={current['status']}", True if current["status"] == "completed" else None

    op.wait_for(f"reserved IP {ip}", probe, timeout=SCHEMA.default_timeouts["create"])


def create(op: Operation, inputs: Properties) -> Properties:
    """Wait for the Droplet's pending actions, assign, wait until that is done."""
    ip, droplet = inputs["ipAddress"], inputs["dropletId"]

    def idle() -> tuple[str, bool | None]:
        actions = op.call("GET", "droplets", droplet, "actions", query={"per_page": 50})["actions"]
        pending = [action["type"] for action in actions if action["status"] not in ("completed", "errored")]
        return (f"in progress: {', '.join(pending)}", None) if pending else ("idle", True)

    op.wait_for(f"other actions of Droplet {droplet}", idle, timeout=BUSY_TIMEOUT)
    body = {"type": "assign", "droplet_id": droplet}
    action = op.call("POST", "reserved_ips", ip, "actions", body=body)["action"]
    op.keep(_unique_id(droplet, ip), {"ipAddress": ip, "dropletId": droplet})
    _wait_for_action(op, ip, action)
    return read(op, op.id, op.known) or {}


def read(op: Operation, _id: str, state: Properties) -> Properties | None:
    """Return the assignment, or None when the address leads elsewhere."""
    reply = op.find("GET", "reserved_ips", state["ipAddress"])
    droplet = ((reply or {}).get("reserved_ip", {}).get("droplet") or {}).get("id")
    if droplet is None or droplet != state["dropletId"]:
        return None
    return {"ipAddress": reply["reserved_ip"]["ip"], "dropletId": droplet}


def delete(op: Operation, _id: str, state: Properties) -> None:
    """Unassign, unless the address has moved on already."""
    if read(op, _id, state) is None:
        return
    action = op.call("POST", "reserved_ips", state["ipAddress"], "actions", body={"type": "unassign"})["action"]
    _wait_for_action(op, state["ipAddress"], action)
