"""Reserved IPs and their assignment to Droplets."""

from typing import Literal

from starlette.responses import Response

from sandbox.api import addresses, errors
from sandbox.api.calls import Call, Cloud, Fields, Router, answer, nothing
from sandbox.api.products import actions, projects, vpcs
from sandbox.model import plans
from sandbox.model.store import Body, Resource, Store

router = Router("Reserved IP")


class _Create(Fields):
    region: str | None = None
    droplet_id: int | None = None
    project_id: str | None = None


class _Action(Fields):
    type: Literal["assign", "unassign"]
    droplet_id: int | None = None


@router.add("POST", "/reserved_ips", "reservedIPs_create")
async def create(call: Call) -> Response:
    """Reserve an address in a region, or for a Droplet at once."""
    fields = call.fields(_Create)
    droplet = _droplet(call.store, fields.droplet_id) if fields.droplet_id else None
    region = droplet.body["region"]["slug"] if droplet else fields.region
    if not region:
        raise errors.unprocessable("region, droplet_id: one of them is required")
    vpcs.check_region(region)
    ip = addresses.reserved(call.store)
    body = {
        "ip": ip,
        "region": plans.region_body(region),
        "droplet": None,
        "locked": False,
        "project_id": projects.of_new(call.store, fields.project_id),
    }
    reserved = call.store.put("reserved_ip", ip, body, {"project_id": body["project_id"]})
    reply: Body = {"reserved_ip": body}
    if droplet:
        action = _begin(call.store, reserved, "assign_ip")
        call.cloud.spawn(_assign(call.cloud, ip, int(droplet.id), action.id))
        links = {"droplets": [{"id": int(droplet.id), "rel": "droplet"}], "actions": [{"id": action.body["id"]}]}
        reply["links"] = links
    else:
        await call.cloud.apply()
    return answer(reply, 202)


@router.add("GET", "/reserved_ips", "reservedIPs_list")
async def list_all(call: Call) -> Response:
    """List addresses."""
    return call.listing("reserved_ips", (_body(call.store, ip) for ip in call.store.list("reserved_ip")))


@router.add("GET", "/reserved_ips/{ip}", "reservedIPs_get")
async def get(call: Call) -> Response:
    """Describe an address and its Droplet."""
    return answer({"reserved_ip": _body(call.store, call.cloud.find("reserved_ip", call.path("ip")))})


@router.add("DELETE", "/reserved_ips/{ip}", "reservedIPs_delete")
async def delete(call: Call) -> Response:
    """Give an address back; its Droplet loses it."""
    reserved = call.cloud.find("reserved_ip", call.path("ip"))
    call.store.delete("reserved_ip", reserved.id)
    await call.cloud.apply()
    return nothing()


@router.add("POST", "/reserved_ips/{ip}/actions", "reservedIPsActions_post")
async def act(call: Call) -> Response:
    """Begin to assign or unassign an address."""
    reserved = call.cloud.find("reserved_ip", call.path("ip"))
    fields = call.fields(_Action)
    if fields.type == "unassign":
        if reserved.body["droplet"] is None:
            raise errors.unprocessable("The reserved IP is not assigned to a Droplet.")
        action = _begin(call.store, reserved, "unassign_ip")
        call.cloud.spawn(_assign(call.cloud, reserved.id, None, action.id))
        return answer({"action": action.body}, 201)
    droplet = _droplet(call.store, fields.droplet_id)
    if droplet.body["region"]["slug"] != reserved.body["region"]["slug"]:
        raise errors.unprocessable("The Droplet and the reserved IP must be in the same region.")
    if actions.pending(call.store, "droplet", droplet.id):
        raise errors.unprocessable("Droplet already has a pending event.")
    action = _begin(call.store, reserved, "assign_ip")
    call.cloud.spawn(_assign(call.cloud, reserved.id, int(droplet.id), action.id))
    return answer({"action": action.body}, 201)


@router.add("GET", "/reserved_ips/{ip}/actions", "reservedIPsActions_list")
async def list_actions(call: Call) -> Response:
    """List what was done to an address, newest first."""
    reserved = call.cloud.find("reserved_ip", call.path("ip"))
    found = (a.body for a in reversed(call.store.list("action")) if a.private.get("ip") == reserved.id)
    return call.listing("actions", found)


@router.add("GET", "/reserved_ips/{ip}/actions/{action}", "reservedIPsActions_get")
async def get_action(call: Call) -> Response:
    """Describe one action of an address."""
    action = call.cloud.find("action", call.path("action"))
    if action.private.get("ip") != call.path("ip"):
        raise errors.not_found()
    return answer({"action": action.body})


def resume(cloud: Cloud) -> None:
    """Mark what a stopped API left half done: the client tries again."""
    for action in actions.unfinished(cloud.store, "reserved_ip"):
        actions.finish(cloud.store, action.id, "errored")


def _begin(store: Store, reserved: Resource, type_: str) -> Resource:
    action = actions.begin(store, type_, "reserved_ip", None, reserved.body["region"]["slug"])
    return store.put("action", action.id, action.body, {"ip": reserved.id})


async def _assign(cloud: Cloud, ip: str, droplet_id: int | None, action_id: str) -> None:
    reserved = cloud.find("reserved_ip", ip)
    cloud.store.put("reserved_ip", ip, reserved.body | {"droplet": {"id": droplet_id} if droplet_id else None})
    try:
        await cloud.apply()
    except errors.ApiError:
        cloud.store.put("reserved_ip", ip, reserved.body)
        actions.finish(cloud.store, action_id, "errored")
        return
    actions.finish(cloud.store, action_id)


def _droplet(store: Store, droplet_id: int | None) -> Resource:
    droplet = store.get("droplet", droplet_id or 0)
    if droplet is None:
        raise errors.unprocessable(f"droplet_id: no Droplet has the id {droplet_id}")
    if droplet.private["public_ip"] is None:
        raise errors.unprocessable(f"droplet_id: Droplet {droplet_id} has no public networking")
    return droplet


def _body(store: Store, reserved: Resource) -> Body:
    droplet = store.get("droplet", (reserved.body["droplet"] or {}).get("id", 0))
    return reserved.body | projects.of(store, reserved) | {"droplet": droplet.body if droplet else None}
