"""Cloud Firewalls."""

import re
from ipaddress import ip_network
from typing import Literal

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Cloud, Fields, Router, answer, nothing
from sandbox.model.store import Body, Store, now

router = Router("Firewall")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,254}")
_PORTS = re.compile(r"([1-9]\d{0,4})(-([1-9]\d{0,4}))?")
_LAST_PORT = 65535


class _Peers(Fields):
    addresses: list[str] | None = None
    droplet_ids: list[int] | None = None
    tags: list[str] | None = None
    load_balancer_uids: list[str] | None = None
    kubernetes_ids: list[str] | None = None


class _Rule(Fields):
    protocol: Literal["tcp", "udp", "icmp"]
    ports: str | None = None


class _Inbound(_Rule):
    sources: _Peers


class _Outbound(_Rule):
    destinations: _Peers


class _Firewall(Fields):
    name: str
    inbound_rules: list[_Inbound] | None = None
    outbound_rules: list[_Outbound] | None = None
    droplet_ids: list[int] | None = None
    tags: list[str] | None = None


@router.add("POST", "/firewalls", "firewalls_create")
async def create(call: Call) -> Response:
    """Create a firewall; what its rules don't allow is dropped."""
    content = _content(call.cloud, call.fields(_Firewall))
    _check_name(call.store, content["name"])
    firewall_id = call.store.next_uuid("firewall")
    body = {"id": firewall_id, "status": "succeeded", "created_at": now(), "pending_changes": [], **content}
    call.store.put("firewall", firewall_id, body)
    await call.cloud.apply()
    return answer({"firewall": body}, 202)


@router.add("GET", "/firewalls", "firewalls_list")
async def list_all(call: Call) -> Response:
    """List firewalls."""
    return call.listing("firewalls", (firewall.body for firewall in call.store.list("firewall")))


@router.add("GET", "/firewalls/{id}", "firewalls_get")
async def get(call: Call) -> Response:
    """Describe a firewall."""
    return answer({"firewall": call.cloud.find("firewall", call.path("id")).body})


@router.add("PUT", "/firewalls/{id}", "firewalls_update")
async def update(call: Call) -> Response:
    """Replace a firewall's whole content."""
    firewall = call.cloud.find("firewall", call.path("id"))
    content = _content(call.cloud, call.fields(_Firewall))
    if content["name"] != firewall.body["name"]:
        _check_name(call.store, content["name"])
    changed = call.store.put("firewall", firewall.id, firewall.body | content)
    await call.cloud.apply()
    return answer({"firewall": changed.body})


@router.add("DELETE", "/firewalls/{id}", "firewalls_delete")
async def delete(call: Call) -> Response:
    """Delete a firewall: its Droplets are open again."""
    call.store.delete("firewall", call.cloud.find("firewall", call.path("id")).id)
    await call.cloud.apply()
    return nothing()


def _content(cloud: Cloud, fields: _Firewall) -> Body:
    inbound = [_rule(cloud.store, rule, "sources", rule.sources) for rule in fields.inbound_rules or []]
    outbound = [_rule(cloud.store, rule, "destinations", rule.destinations) for rule in fields.outbound_rules or []]
    if not inbound and not outbound:
        raise errors.unprocessable("inbound_rules, outbound_rules: at least one rule is required")
    droplet_ids, tags = fields.droplet_ids or [], fields.tags or []
    _check_members(cloud.store, droplet_ids, tags)
    return {
        "name": fields.name,
        "inbound_rules": inbound,
        "outbound_rules": outbound,
        "droplet_ids": droplet_ids,
        "tags": tags,
    }


def _rule(store: Store, rule: _Rule, side: str, peers: _Peers) -> Body:
    if peers.load_balancer_uids or peers.kubernetes_ids:
        raise errors.not_implemented(f"{side}: the sandbox has addresses, droplet_ids and tags")
    for address in peers.addresses or []:
        try:
            ip_network(address, strict=False)
        except ValueError as error:
            raise errors.unprocessable(f'{side}.addresses: must be addresses or networks, got "{address}"') from error
    _check_members(store, peers.droplet_ids or [], peers.tags or [])
    shown: Body = {
        name: value
        for name, value in (
            ("addresses", peers.addresses),
            ("droplet_ids", peers.droplet_ids),
            ("tags", peers.tags),
        )
        if value
    }
    if not shown:
        raise errors.unprocessable(f"{side}: at least one address, Droplet or tag is required")
    return {"protocol": rule.protocol, "ports": _ports(rule), side: shown}


def _ports(rule: _Rule) -> str:
    if rule.protocol == "icmp":
        return "0"  # it has none; what a client says of them (Terraform's "1-65535") is passed over
    if rule.ports in {"0", "all"}:
        return "0"
    match = _PORTS.fullmatch(rule.ports or "")
    first, last = (int(match[1]), int(match[3] or match[1])) if match else (0, 0)
    if not 0 < first <= last <= _LAST_PORT:
        raise errors.unprocessable(f'ports: must be a port, a range such as 8000-8010, or "all", got "{rule.ports}"')
    return rule.ports or ""


def _check_name(store: Store, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise errors.unprocessable(f'name: must be letters, digits, dashes and periods, got "{name}"')
    if any(firewall.body["name"] == name for firewall in store.list("firewall")):
        raise errors.conflict(f'duplicate name: a firewall is called "{name}" already')


def _check_members(store: Store, droplet_ids: list[int], tags: list[str]) -> None:
    for droplet_id in droplet_ids:
        if store.get("droplet", droplet_id) is None:
            raise errors.unprocessable(f"droplet_ids: no Droplet has the id {droplet_id}")
    for tag in tags:
        if store.get("tag", tag) is None:
            raise errors.unprocessable(f'tags: the tag "{tag}" does not exist; create it first')
