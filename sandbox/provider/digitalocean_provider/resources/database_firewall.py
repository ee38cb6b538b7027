"""DatabaseFirewall: the trusted sources of a cluster. Deleting it opens the cluster, as in the official plugin."""

import uuid

from digitalocean_provider import sets
from digitalocean_provider.operation import Operation
from digitalocean_provider.schema import REQUIRED, Field, Schema, unordered
from plugin_base.wire import Properties


def type_and_value(rules: list[Properties]) -> object:
    """Compare as a set of what a program says; ids and times are the API's."""
    return unordered([{"type": rule.get("type"), "value": rule.get("value")} for rule in rules])


SCHEMA = Schema(
    type_name="digitalocean:index/databaseFirewall:DatabaseFirewall",
    label="database firewall",
    fields={
        "clusterId": Field(role=REQUIRED, replaces=True),
        "rules": Field(role=REQUIRED, normalise=type_and_value, members=("type", "value", "uuid", "createdAt")),
    },
)


NO_TIME = "0001-01-01T00:00:00Z"  # Go's


def _key(rule: Properties) -> str:
    return sets.code(sets.serialised({"type": rule["type"], "value": rule["value"]}))


def _unique_id(cluster: str) -> str:
    return f"{cluster}-{uuid.uuid4().hex}"


def locate(imported: str) -> tuple[str, Properties]:
    """Import takes the id of the cluster."""
    return _unique_id(imported), {"clusterId": imported}


def _put(op: Operation, cluster: str, rules: list[Properties], known: list[Properties]) -> None:
    ids = {(rule["type"], rule["value"]): rule.get("uuid", "") for rule in known}
    body = [
        {
            "uuid": rule.get("uuid") or ids.get((rule["type"], rule["value"]), ""),  # known rules keep their identity
            "cluster_uuid": "",
            "type": rule["type"],
            "value": rule["value"],
            "created_at": NO_TIME,
        }
        for rule in sorted(rules, key=_key)
    ]
    op.call("PUT", "databases", cluster, "firewall", body={"rules": body})


def create(op: Operation, inputs: Properties) -> Properties:
    """Replace the rules of the cluster."""
    cluster = inputs["clusterId"]
    _put(op, cluster, inputs["rules"], [])
    op.keep(_unique_id(cluster), {"clusterId": cluster})
    return read(op, op.id, op.known) or {}


def read(op: Operation, _id: str, state: Properties) -> Properties | None:
    """Return the rules, or None when the cluster is gone."""
    reply = op.find("GET", "databases", state["clusterId"], "firewall")
    if reply is None:
        return None
    rules = [
        {"uuid": rule["uuid"], "type": rule["type"], "value": rule["value"], "createdAt": rule.get("created_at")}
        for rule in reply["rules"]
    ]
    return {"clusterId": state["clusterId"], "rules": rules}


def update(op: Operation, _id: str, state: Properties, inputs: Properties, changed: set[str]) -> None:
    """Replace the rules of the cluster."""
    if "rules" in changed:
        _put(op, inputs["clusterId"], inputs["rules"], state.get("rules", []))


def delete(op: Operation, _id: str, state: Properties) -> None:
    """Remove all rules: everybody may connect from then on."""
    op.find("PUT", "databases", state["clusterId"], "firewall", body={"rules": []})
