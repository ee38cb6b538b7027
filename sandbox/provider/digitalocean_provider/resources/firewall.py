"""Firewall: a Cloud Firewall, by Droplets and tags."""

from typing import Any

from digitalocean_provider import sets
from digitalocean_provider.operation import Operation
from digitalocean_provider.schema import COMPUTED, Field, Schema, tag_set, unordered
from plugin_base.wire import Properties

# property suffix -> member of the API's `sources` and `destinations`
PEERS = {
    "Addresses": "addresses",
    "DropletIds": "droplet_ids",
    "KubernetesIds": "kubernetes_ids",
    "LoadBalancerUids": "load_balancer_uids",
    "Tags": "tags",
}


def _members(prefix: str) -> tuple[str, ...]:
    return ("protocol", "portRange", *(prefix + suffix for suffix in PEERS))


SCHEMA = Schema(
    type_name="digitalocean:index/firewall:Firewall",
    label="firewall",
    fields={
        "name": Field(auto_name=True),
        "dropletIds": Field(normalise=unordered),
        "inboundRules": Field(normalise=unordered, members=_members("source")),
        "outboundRules": Field(normalise=unordered, members=_members("destination")),
        "tags": Field(normalise=tag_set),
        "createdAt": Field(role=COMPUTED),
        "pendingChanges": Field(role=COMPUTED),
        "status": Field(role=COMPUTED),
    },
)


def _peers(rule: Properties, prefix: str) -> dict[str, list[Any]]:
    """Return who is meant by a rule, by the API's names, in the order of sets."""
    sorters = dict.fromkeys(PEERS, sets.members) | {"Tags": sets.tags}
    return {api: sorters[suffix](rule.get(prefix + suffix)) for suffix, api in PEERS.items()}


def _rule_bodies(rules: list[Properties], prefix: str, peers: str) -> list[Properties] | None:
    def key(rule: Properties) -> str:
        said = {f"{prefix}_{api}": members for api, members in _peers(rule, prefix).items()}
        said |= {"protocol": rule["protocol"], "port_range": rule.get("portRange", "")}
        return sets.code(sets.serialised(said))

    return [_rule_body(rule, prefix, peers) for rule in sorted(rules, key=key)] or None


def _rule_body(rule: Properties, prefix: str, peers: str) -> Properties:
    # Empty members are left out: godo marks them omitempty.
    members = {api: found for api, found in _peers(rule, prefix).items() if found}
    body: Properties = {"protocol": rule["protocol"], peers: members}
    return body | ({"ports": rule["portRange"]} if rule.get("portRange") else {})


def _rule(body: Properties, prefix: str, peers: str) -> Properties:
    rule: Properties = {"protocol": body["protocol"]}
    ports = body.get("ports")
    if ports == "0":  # the API's way to say all ports, and none for icmp
        ports = None if body["protocol"] == "icmp" else "all"
    if ports:
        rule["portRange"] = ports
    members = body.get(peers) or {}
    return rule | {prefix + suffix: members[api] for suffix, api in PEERS.items() if members.get(api)}


def _body(inputs: Properties) -> dict[str, Any]:
    return {
        "name": inputs["name"],
        "droplet_ids": sets.members(inputs.get("dropletIds")) or None,
        "tags": sets.tags(inputs.get("tags")),
        "inbound_rules": _rule_bodies(inputs.get("inboundRules", []), "source", "sources"),
        "outbound_rules": _rule_bodies(inputs.get("outboundRules", []), "destination", "destinations"),
    }


def create(op: Operation, inputs: Properties) -> Properties:
    """Create the firewall."""
    op.keep(op.call("POST", "firewalls", body=_body(inputs))["firewall"]["id"])
    return read(op, op.id, {}) or {}


def read(op: Operation, id_: str, _state: Properties) -> Properties | None:
    """Return the firewall, or None when it is gone."""
    reply = op.find("GET", "firewalls", id_)
    if reply is None:
        return None
    firewall = reply["firewall"]
    return {
        "name": firewall["name"],
        "status": firewall.get("status"),
        "createdAt": firewall.get("created_at"),
        "pendingChanges": [
            {"dropletId": change["droplet_id"], "removing": change["removing"], "status": change["status"]}
            for change in firewall.get("pending_changes") or []
        ],
        "dropletIds": firewall.get("droplet_ids") or [],
        "inboundRules": [_rule(rule, "source", "sources") for rule in firewall.get("inbound_rules") or []],
        "outboundRules": [_rule(rule, "destination", "destinations") for rule in firewall.get("outbound_rules") or []],
        "tags": firewall.get("tags") or [],
    }


def update(op: Operation, id_: str, _state: Properties, inputs: Properties, _changed: set[str]) -> None:
    """Replace the whole firewall, in place."""
    op.call("PUT", "firewalls", id_, body=_body(inputs))


def delete(op: Operation, id_: str, _state: Properties) -> None:
    """Delete the firewall: its Droplets are open from then on."""
    op.find("DELETE", "firewalls", id_)
