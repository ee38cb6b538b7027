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


class _Rules(Fields):
    inbound_rules: list[_Inbound] | None = None
    outbound_rules: list[_Outbound] | None = None


class _Droplets(Fields):
    droplet_ids: list[int]


class _Tags(Fields):
    tags: list[str]


class _Firewall(_Rules):
    name: str
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


@router.add("POST", "/firewalls/{id}/rules", "firewalls_add_rules")
async def add_rules(call: Call) -> Response:
    """Add rules; those that are there already are there once."""
    return await _change(call, _rules(call.store, call.fields(_Rules)), present=True)


@router.add("DELETE", "/firewalls/{id}/rules", "firewalls_delete_rules")
async def remove_rules(call: Call) -> Response:
    """Take rules away that are the same as those that are named."""
    return await _change(call, _rules(call.store, call.fields(_Rules)), present=False)


@router.add("POST", "/firewalls/{id}/droplets", "firewalls_assign_droplets")
async def add_droplets(call: Call) -> Response:
    """Put Droplets behind a firewall."""
    droplet_ids = call.fields(_Droplets).droplet_ids
    _check_members(call.store, droplet_ids, [])
    return await _change(call, {"droplet_ids": droplet_ids}, present=True)


@router.add("DELETE", "/firewalls/{id}/droplets", "firewalls_delete_droplets")
async def remove_droplets(call: Call) -> Response:
    """Take Droplets from behind a firewall."""
    return await _change(call, call.fields(_Droplets).model_dump(), present=False)


@router.add("POST", "/firewalls/{id}/tags", "firewalls_add_tags")
async def add_tags(call: Call) -> Response:
    """Put the Droplets that have a tag behind a firewall, now and later."""
    tags = call.fields(_Tags).tags
    _check_members(call.store, [], tags)
    return await _change(call, {"tags": tags}, present=True)


@router.add("DELETE", "/firewalls/{id}/tags", "firewalls_delete_tags")
async def remove_tags(call: Call) -> Response:
    """Take the Droplets that have a tag from behind a firewall."""
    return await _change(call, call.fields(_Tags).model_dump(), present=False)


async def _change(call: Call, lists: Body, *, present: bool) -> Response:
    firewall = call.cloud.find("firewall", call.path("id"))
    for name, items in lists.items():
        kept = [item for item in firewall.body[name] if present or item not in items]
        new = [item for at, item in enumerate(items) if present and item not in kept and item not in items[:at]]
        firewall.body[name] = kept + new
    call.store.put("firewall", firewall.id, firewall.body)
    await call.cloud.apply()
    return nothing()


def _rules(store: Store, fields: _Rules) -> Body:
    inbound = [_rule(store, rule, "sources", rule.sources) for rule in fields.inbound_rules or []]
    outbound = [_rule(store, rule, "destinations", rule.destinations) for rule in fields.outbound_rules or []]
    if not inbound and not outbound:
        raise errors.unprocessable("inbound_rules, outbound_rules: at least one rule is required")
    return {"inbound_rules": inbound, "outbound_rules": outbound}


def _content(cloud: Cloud, fields: _Firewall) -> Body:
    rules = _rules(cloud.store, fields)
    droplet_ids, tags = fields.droplet_ids or [], fields.tags or []
    _check_members(cloud.store, droplet_ids, tags)
    return {"name": fields.name, **rules, "droplet_ids": droplet_ids, "tags": tags}


def _rule(store: Store, rule: _Rule, side: str, peers: _Peers) -> Body:
    if peers.kubernetes_ids:
        raise errors.not_implemented(f"{side}: the sandbox has addresses, droplet_ids, load_balancer_uids and tags")
    for address in peers.addresses or []:
        try:
            ip_network(address, strict=False)
        except ValueError as error:
            raise errors.unprocessable(f'{side}.addresses: must be addresses or networks, got "{address}"') from error
    _check_members(store, peers.droplet_ids or [], peers.tags or [])
    for uid in peers.load_balancer_uids or []:
        if store.get("load_balancer", uid) is None:
            raise errors.unprocessable(f'{side}.load_balancer_uids: no load balancer has the id "{uid}"')
    shown: Body = {
        name: value
        for name, value in (
            ("addresses", peers.addresses),
            ("droplet_ids", peers.droplet_ids),
            ("load_balancer_uids", peers.load_balancer_uids),
            ("tags", peers.tags),
        )
        if value
    }
    if not shown:
        raise errors.unprocessable(f"{side}: at least one address, Droplet, load balancer or tag is required")
    return {"protocol": rule.protocol, "ports": _ports(rule), side: shown}


def _ports(rule: _Rule) -> str:
    if rule.ports in {"0", "all"} or (rule.protocol == "icmp" and not rule.ports):
        return "0"  # of icmp what is said is kept, though it has no ports
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
