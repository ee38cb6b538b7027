"""Regional load balancers."""

import asyncio
import logging

from starlette.responses import Response

from sandbox.api import addresses, errors
from sandbox.api.calls import Call, Cloud, Router, answer, nothing
from sandbox.api.products import certificates, projects, vpcs
from sandbox.api.products.load_balancer_fields import (
    Balancer,
    Droplets,
    Rule,
    Rules,
    check_droplets,
    content,
    forwarding_rules,
)
from sandbox.model import plans
from sandbox.model.balancers import members
from sandbox.model.store import Body, Resource, Store, now

logger = logging.getLogger("sandbox.api")
router = Router("Load balancer")


@router.add("POST", "/load_balancers", "loadBalancers_create")
async def create(call: Call) -> Response:
    """Create a load balancer; it is new until it serves."""
    fields = call.fields(Balancer)
    wanted = content(call.cloud, fields)
    if not fields.region:
        raise errors.unprocessable("region: required for a regional load balancer")
    vpcs.check_region(fields.region)
    vpc = vpcs.vpc_for(call.cloud, fields.vpc_uuid, fields.region)
    wanted |= {"vpc_uuid": vpc.id, "region": plans.region_body(fields.region)}
    check_droplets(call.store, wanted["droplet_ids"], wanted)
    project = projects.of_new(call.store, fields.project_id)
    balancer_id = call.store.next_uuid("load_balancer")
    body = {"id": balancer_id, "ip": "", "ipv6": "", "status": "new", "created_at": now(), **wanted}
    private = {
        "public_ip": addresses.load_balancer(call.store),
        "private_ip": addresses.private(call.store, vpc.id, vpc.body["ip_range"]),
        "project_id": project,
    }
    balancer = call.store.put("load_balancer", balancer_id, body, private)
    call.cloud.spawn(_create(call.cloud, balancer_id))
    return answer({"load_balancer": _body(call.store, balancer)}, 202)


@router.add("GET", "/load_balancers", "loadBalancers_list")
async def list_all(call: Call) -> Response:
    """List load balancers."""
    return call.listing("load_balancers", (_body(call.store, found) for found in call.store.list("load_balancer")))


@router.add("GET", "/load_balancers/{id}", "loadBalancers_get")
async def get(call: Call) -> Response:
    """Describe a load balancer."""
    balancer = call.cloud.find("load_balancer", call.path("id"))
    return answer({"load_balancer": _body(call.store, balancer)})


@router.add("PUT", "/load_balancers/{id}", "loadBalancers_update")
async def update(call: Call) -> Response:
    """Replace a load balancer's settings; what is not said is what it is by default."""
    balancer = _idle(call)
    fields = call.fields(Balancer)
    wanted = content(call.cloud, fields)
    for name, has in (("region", balancer.body["region"]["slug"]), ("vpc_uuid", balancer.body["vpc_uuid"])):
        if getattr(fields, name) not in {None, "", has}:
            raise errors.unprocessable(f'{name}: can\'t change from "{has}", got "{getattr(fields, name)}"')
    check_droplets(call.store, wanted["droplet_ids"], balancer.body)
    if fields.project_id:
        balancer.private["project_id"] = projects.of_new(call.store, fields.project_id)
    changed = await _change(call, balancer, wanted)
    return answer({"load_balancer": _body(call.store, changed)})


@router.add("DELETE", "/load_balancers/{id}", "loadBalancers_delete")
async def delete(call: Call) -> Response:
    """Delete a load balancer; its Droplets stay."""
    balancer = call.cloud.find("load_balancer", call.path("id"))
    call.store.delete("load_balancer", balancer.id)
    for firewall in call.store.list("firewall"):
        for rule in firewall.body["inbound_rules"] + firewall.body["outbound_rules"]:
            for side in ("sources", "destinations"):
                uids = rule.get(side, {}).get("load_balancer_uids", [])
                if balancer.id in uids:
                    uids.remove(balancer.id)
        call.store.put("firewall", firewall.id, firewall.body)
    await call.cloud.apply()
    return nothing()


@router.add("DELETE", "/load_balancers/{id}/cache", "loadBalancers_delete_cache")
async def delete_cache(call: Call) -> Response:
    """Refuse: only global load balancers have a cache."""
    call.cloud.find("load_balancer", call.path("id"))
    raise errors.unprocessable("only a GLOBAL load balancer has a cache, this one is REGIONAL")


@router.add("POST", "/load_balancers/{id}/droplets", "loadBalancers_add_droplets")
async def add_droplets(call: Call) -> Response:
    """Add members."""
    balancer = _idle(call)
    wanted = call.fields(Droplets).droplet_ids
    _check_named(balancer, wanted)
    droplet_ids = list(dict.fromkeys(balancer.body["droplet_ids"] + wanted))
    check_droplets(call.store, droplet_ids, balancer.body)
    await _change(call, balancer, {"droplet_ids": droplet_ids})
    return nothing()


@router.add("DELETE", "/load_balancers/{id}/droplets", "loadBalancers_remove_droplets")
async def remove_droplets(call: Call) -> Response:
    """Take members away: they get no new connection, and have a minute to end those that they have."""
    balancer = _idle(call)
    unwanted = call.fields(Droplets).droplet_ids
    _check_named(balancer, unwanted)
    kept = [droplet_id for droplet_id in balancer.body["droplet_ids"] if droplet_id not in unwanted]
    await _change(call, balancer, {"droplet_ids": kept})
    return nothing()


@router.add("POST", "/load_balancers/{id}/forwarding_rules", "loadBalancers_add_forwardingRules")
async def add_rules(call: Call) -> Response:
    """Add forwarding rules; those that are there already are there once."""
    balancer = _idle(call)
    new = forwarding_rules(call.cloud, call.fields(Rules).forwarding_rules)
    there = balancer.body["forwarding_rules"]
    rules = there + [rule for rule in new if rule not in there]
    forwarding_rules(call.cloud, [Rule(**rule) for rule in rules])  # whose entry ports must be unique, too
    await _change(call, balancer, {"forwarding_rules": rules})
    return nothing()


@router.add("DELETE", "/load_balancers/{id}/forwarding_rules", "loadBalancers_remove_forwardingRules")
async def remove_rules(call: Call) -> Response:
    """Take forwarding rules away that are the same as those that are named; one has to stay."""
    balancer = _idle(call)
    gone = [
        rule.model_dump() | {"certificate_id": rule.certificate_id or "", "tls_passthrough": bool(rule.tls_passthrough)}
        for rule in call.fields(Rules).forwarding_rules
    ]
    rules = [rule for rule in balancer.body["forwarding_rules"] if rule not in gone]
    if not rules:
        raise errors.unprocessable("forwarding_rules: at least one rule is required")
    await _change(call, balancer, {"forwarding_rules": rules})
    return nothing()


def resume(cloud: Cloud) -> None:
    """Go on with what a stopped API left half done."""
    for balancer in cloud.store.list("load_balancer"):
        if balancer.body["status"] == "new":
            cloud.spawn(_create(cloud, balancer.id))


async def _create(cloud: Cloud, balancer_id: str) -> None:
    await asyncio.sleep(cloud.faults.delay("load_balancer"))
    status = "active"
    try:
        await cloud.apply()
    except errors.ApiError as error:
        logger.error("load balancer %s could not be made: %s", balancer_id, error.message)  # noqa: TRY400 - traced already
        status = "errored"
    if (balancer := cloud.store.get("load_balancer", balancer_id)) is None:
        return  # deleted meanwhile
    body = balancer.body | {"status": status}
    body |= {"ip": balancer.private["public_ip"]} if status == "active" else {}
    certificates.point_names(cloud.store, cloud.store.put("load_balancer", balancer_id, body))
    await cloud.apply()


async def _change(call: Call, balancer: Resource, changes: Body) -> Resource:
    changed = call.store.put("load_balancer", balancer.id, balancer.body | changes, balancer.private)
    certificates.point_names(call.store, changed)
    await call.cloud.apply()
    return changed


def _idle(call: Call) -> Resource:
    """Return a load balancer that may be changed."""
    balancer = call.cloud.find("load_balancer", call.path("id"))
    if balancer.body["status"] == "new":
        raise errors.forbidden("Load Balancer can't be updated while it processes previous actions")
    return balancer


def _check_named(balancer: Resource, droplet_ids: list[int]) -> None:
    if balancer.body["tag"]:
        raise errors.unprocessable(
            f'droplet_ids: the load balancer has the Droplets of the tag "{balancer.body["tag"]}"; tag them instead'
        )
    if not droplet_ids:
        raise errors.unprocessable("need to provide either a tag or a list of droplets")


def _body(store: Store, balancer: Resource) -> Body:
    shown = [int(droplet.id) for droplet in members(store, balancer)]
    return balancer.body | projects.of(store, balancer) | {"droplet_ids": shown}
