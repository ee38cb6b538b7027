"""Trusted sources of database clusters: who may connect."""

from collections.abc import Iterable
from ipaddress import IPv4Network
from typing import Literal

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Fields, Router, answer, nothing
from sandbox.model.store import Bodies, Resource, Store, now

router = Router("Database")

_MAX_SOURCES = 100


class Rule(Fields):
    """One trusted source, as clients send it; uuid and created_at of a known one may come back."""

    type: Literal["ip_addr", "droplet", "k8s", "tag", "app"]
    value: str
    uuid: str | None = None
    cluster_uuid: str | None = None
    created_at: str | None = None
    description: str | None = None


class _Rules(Fields):
    rules: list[Rule] | None  # null, as Go writes an empty list, but never absent


@router.add("GET", "/databases/{id}/firewall", "databases_list_firewall_rules")
async def get_firewall(call: Call) -> Response:
    """List trusted sources."""
    return answer({"rules": call.cloud.find("database", call.path("id")).private["rules"]})


@router.add("PUT", "/databases/{id}/firewall", "databases_update_firewall_rules")
async def put_firewall(call: Call) -> Response:
    """Replace all trusted sources; an empty list lets everybody in."""
    cluster = call.cloud.find("database", call.path("id"))
    wanted = call.fields(_Rules).rules or []
    rules = checked(call.store, wanted, cluster)
    call.store.put("database", cluster.id, cluster.body, cluster.private | {"rules": rules})
    await call.cloud.apply()
    return nothing()


def checked(store: Store, wanted: Iterable[Rule], cluster: Resource | None = None) -> Bodies:
    """Return rules as they are stored, known ones with their ids, or raise 422."""
    known = {rule["uuid"]: rule for rule in cluster.private["rules"]} if cluster else {}
    by_content = {(rule["type"], rule["value"]): rule for rule in known.values()}
    rules: Bodies = []
    for rule in wanted:
        _check_source(store, rule)
        if any((rule.type, rule.value) == (other["type"], other["value"]) for other in rules):
            raise errors.unprocessable(f'rules: {rule.type} "{rule.value}" is there twice')
        kept = known.get(rule.uuid or "") or by_content.get((rule.type, rule.value))
        rules.append(
            {
                "uuid": kept["uuid"] if kept else store.next_uuid("database_rule"),
                "cluster_uuid": cluster.id if cluster else "",
                "type": rule.type,
                "value": rule.value,
                "created_at": kept["created_at"] if kept else now(),
                "description": rule.description or "",
            }
        )
    if len(rules) > _MAX_SOURCES:
        raise errors.unprocessable(f"rules: at most {_MAX_SOURCES}, got {len(rules)}")
    return rules


def _check_source(store: Store, rule: Rule) -> None:
    if rule.type in {"k8s", "app"}:
        raise errors.not_implemented(f'rules: the sandbox has no "{rule.type}"; use ip_addr, droplet or tag')
    if rule.type == "ip_addr":
        try:
            IPv4Network(rule.value, strict=False)
        except ValueError as error:
            raise errors.unprocessable(f'rules: must be an IPv4 address or network, got "{rule.value}"') from error
    if rule.type == "droplet" and store.get("droplet", rule.value) is None:
        raise errors.unprocessable(f'rules: no Droplet has the id "{rule.value}"')
