"""MonitorAlert: an alert policy of DigitalOcean's monitoring."""

from typing import Any

from digitalocean_provider import sets
from digitalocean_provider.operation import Operation
from digitalocean_provider.schema import REQUIRED, Field, Schema, tag_set, unordered
from plugin_base.wire import Properties

SCHEMA = Schema(
    type_name="digitalocean:index/monitorAlert:MonitorAlert",
    label="alert policy",
    fields={
        "alerts": Field(role=REQUIRED),
        "compare": Field(role=REQUIRED, choices=("GreaterThan", "LessThan")),
        "description": Field(role=REQUIRED),
        "type": Field(role=REQUIRED),
        "value": Field(role=REQUIRED),
        "window": Field(role=REQUIRED, choices=("5m", "10m", "30m", "1h")),
        "enabled": Field(default=True),
        "entities": Field(normalise=unordered),
        "tags": Field(normalise=tag_set),
    },
)


def _body(inputs: Properties) -> dict[str, Any]:
    alerts = inputs["alerts"]
    slacks = [{"channel": slack["channel"], "url": slack["url"]} for slack in alerts.get("slacks") or []]
    return {
        "alerts": {"email": alerts.get("emails") or None, "slack": slacks or None},  # nobody is null to Go
        "compare": inputs["compare"],
        "description": inputs["description"],
        "enabled": inputs["enabled"],
        "entities": sets.members(inputs.get("entities")),
        "tags": sets.tags(inputs.get("tags")),
        "type": inputs["type"],
        "value": inputs["value"],
        "window": inputs["window"],
    }


def create(op: Operation, inputs: Properties) -> Properties:
    """Create the policy."""
    op.keep(op.call("POST", "monitoring", "alerts", body=_body(inputs))["policy"]["uuid"])
    return read(op, op.id, {}) or {}


def read(op: Operation, id_: str, _state: Properties) -> Properties | None:
    """Return the policy, or None when it is gone."""
    reply = op.find("GET", "monitoring", "alerts", id_)
    if reply is None:
        return None
    policy = reply["policy"]
    alerts = {"emails": policy["alerts"].get("email") or [], "slacks": policy["alerts"].get("slack") or []}
    return {
        "alerts": {name: value for name, value in alerts.items() if value},
        "compare": policy["compare"],
        "description": policy["description"],
        "enabled": policy["enabled"],
        "entities": policy.get("entities") or [],
        "tags": policy.get("tags") or [],
        "type": policy["type"],
        "value": policy["value"],
        "window": policy["window"],
    }


def update(op: Operation, id_: str, _state: Properties, inputs: Properties, _changed: set[str]) -> None:
    """Replace the whole policy, in place."""
    op.call("PUT", "monitoring", "alerts", id_, body=_body(inputs))


def delete(op: Operation, id_: str, _state: Properties) -> None:
    """Delete the policy."""
    op.find("DELETE", "monitoring", "alerts", id_)
