"""Droplets and their actions."""

import asyncio
import logging
import re
from ipaddress import IPv4Network
from typing import Literal

from starlette.responses import Response

from sandbox.api import addresses, errors
from sandbox.api.calls import Call, Cloud, Fields, Router, answer, nothing
from sandbox.api.products import actions, ssh_keys, tags, vpcs
from sandbox.machines import images
from sandbox.model import plans
from sandbox.model.realiser import DropletSpec
from sandbox.model.store import Body, Resource, Store, now
from sandbox.world.world import GATEWAY

router = Router("Droplet")
logger = logging.getLogger("sandbox.droplets")

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")
_MAX_USER_DATA = 64 * 1024  # bytes


class _Create(Fields):
    name: str
    region: str | None = None
    size: str
    image: str | int
    ssh_keys: list[str | int] | None = None
    monitoring: bool | None = None
    backups: bool | None = None
    ipv6: bool | None = None
    private_networking: bool | None = None
    public_networking: bool | None = None
    tags: list[str] | None = None
    user_data: str | None = None
    vpc_uuid: str | None = None
    with_droplet_agent: bool | None = None


class _Action(Fields):
    type: Literal[
        "power_off",
        "power_on",
        "shutdown",
        "reboot",
        "power_cycle",
        "resize",
        "rename",
        "enable_backups",
        "disable_backups",
    ]
    disk: bool | None = None
    size: str | None = None
    name: str | None = None


@router.add("POST", "/droplets", "droplets_create")
async def create(call: Call) -> Response:
    """Create a Droplet; its machine starts after the answer."""
    fields = call.fields(_Create)
    _check_name(fields.name)
    plan = _plan(fields.size)
    image = _image(call, fields.image)
    region = fields.region or next(iter(plans.REGIONS))
    vpcs.check_region(region)
    if fields.ipv6 and call.cloud.world.depth == "full":
        raise errors.not_implemented(
            "ipv6: at depth `full` machines have IPv4 alone; a sandbox of depth `api` takes it"
        )
    if fields.public_networking is False:
        raise errors.not_implemented("public_networking: every Droplet of the sandbox has a public address")
    if len((fields.user_data or "").encode()) > _MAX_USER_DATA:
        size = len((fields.user_data or "").encode())
        raise errors.unprocessable(f"user_data: must be at most {_MAX_USER_DATA} bytes, got {size}")
    keys = [_public_key(call.store, key) for key in fields.ssh_keys or []]
    vpc = vpcs.vpc_for(call.cloud, fields.vpc_uuid, region)
    droplet_tags = tags.ensure(call.store, fields.tags)
    if not keys:
        logger.info("droplet %s has no SSH key: the real API would mail a root password", fields.name)

    droplet_id = call.store.next_id()
    body: Body = {
        "id": droplet_id,
        "name": fields.name,
        "memory": plan.memory_mib,
        "vcpus": plan.vcpus,
        "disk": plan.disk_gib,
        "locked": False,
        "status": "new",
        "kernel": None,
        "created_at": now(),
        "features": _features(fields),
        "backup_ids": [],
        "next_backup_window": None,
        "snapshot_ids": [],
        "image": plans.image_body(image),
        "volume_ids": [],
        "size": plan.body(),
        "size_slug": plan.slug,
        "networks": {"v4": [], "v6": []},
        "region": plans.region_body(region),
        "tags": droplet_tags,
        "vpc_uuid": vpc.id,
    }
    private: Body = {
        "public_ip": addresses.droplet(call.store),
        "private_ip": addresses.private(call.store, vpc.id, vpc.body["ip_range"]),
        "public_keys": keys,
        "user_data": fields.user_data or "",
    }
    call.store.put("droplet", droplet_id, body, private)
    action = actions.begin(call.store, "create", "droplet", droplet_id, region)
    call.cloud.spawn(_create(call.cloud, str(droplet_id), action.id))
    links = {"actions": [{"id": action.body["id"], "rel": "create", "href": actions.href(action)}]}
    return answer({"droplet": body, "links": links}, 202)


@router.add(
    "GET",
    "/droplets",
    "droplets_list",
    query=(
        "tag_name",
        "name",
        "type",
    ),
)
async def list_all(call: Call) -> Response:
    """List Droplets, all or by tag or name."""
    tag, name = call.query("tag_name"), call.query("name")
    return call.listing(
        "droplets",
        (
            droplet.body
            for droplet in call.store.list("droplet")
            if (not tag or tag in droplet.body["tags"]) and (not name or name == droplet.body["name"])
        ),
    )


@router.add("GET", "/droplets/{id}", "droplets_get")
async def get(call: Call) -> Response:
    """Describe a Droplet."""
    return answer({"droplet": call.cloud.find("droplet", call.path("id")).body})


@router.add("DELETE", "/droplets/{id}", "droplets_destroy")
async def delete(call: Call) -> Response:
    """Destroy a Droplet; it is found until its machine is gone."""
    droplet = call.cloud.find("droplet", call.path("id"))
    _check_idle(call.store, droplet)
    call.store.put("droplet", droplet.id, droplet.body, droplet.private | {"deleting": True})
    call.cloud.spawn(_destroy(call.cloud, droplet.id))
    return nothing()


@router.add("GET", "/droplets/{id}/actions", "dropletActions_list")
async def list_actions(call: Call) -> Response:
    """List what was done to a Droplet, newest first."""
    droplet = call.cloud.find("droplet", call.path("id"))
    return call.listing("actions", (action.body for action in actions.of(call.store, "droplet", droplet.id)))


@router.add("GET", "/droplets/{id}/actions/{action}", "dropletActions_get")
async def get_action(call: Call) -> Response:
    """Describe one action of a Droplet."""
    action = call.cloud.find("action", call.path("action"))
    if (action.body["resource_type"], str(action.body["resource_id"])) != ("droplet", call.path("id")):
        raise errors.not_found()
    return answer({"action": action.body})


@router.add("POST", "/droplets/{id}/actions", "dropletActions_post")
async def act(call: Call) -> Response:
    """Begin an action; one at a time."""
    droplet = call.cloud.find("droplet", call.path("id"))
    fields = call.fields(_Action)
    _check_idle(call.store, droplet)
    if fields.type == "resize":
        plan = _plan(fields.size or "")
        if droplet.body["status"] != "off":
            raise errors.unprocessable("Droplet must be powered off to resize")
        if plan.disk_gib < droplet.body["disk"]:
            raise errors.unprocessable(f"size: the disk of {plan.slug} is smaller than this Droplet's")
    if fields.type == "rename":
        _check_name(fields.name or "")
    action = actions.begin(call.store, fields.type, "droplet", int(droplet.id), droplet.body["region"]["slug"])
    call.cloud.spawn(_act(call.cloud, droplet.id, action.id, fields))
    return answer({"action": action.body}, 201)


def spec(store: Store, droplet: Resource) -> DropletSpec:
    """Collect what a Droplet's machine needs."""
    vpc = store.get("vpc", droplet.body["vpc_uuid"])
    assert vpc is not None, "a VPC with members can't be deleted"
    return DropletSpec(
        id=int(droplet.id),
        name=droplet.body["name"],
        region=droplet.body["region"]["slug"],
        size=droplet.body["size_slug"],
        image=droplet.body["image"]["slug"],
        memory_mib=droplet.body["memory"],
        vcpus=droplet.body["vcpus"],
        user_data=droplet.private["user_data"],
        public_keys=tuple(droplet.private["public_keys"]),
        tags=tuple(droplet.body["tags"]),
        public_ip=droplet.private["public_ip"],
        private_ip=droplet.private["private_ip"],
        vpc_id=vpc.id,
        vpc_range=vpc.body["ip_range"],
    )


def existing(store: Store) -> list[DropletSpec]:
    """Return the Droplets whose machines should run, after a restart of the API."""
    return [
        spec(store, droplet)
        for droplet in store.list("droplet")
        if droplet.body["status"] == "active" and not droplet.private.get("deleting")
    ]


def resume(cloud: Cloud) -> None:
    """Go on with what a stopped API left half done."""
    for action in actions.unfinished(cloud.store, "droplet"):
        if action.body["type"] == "create":
            cloud.spawn(_create(cloud, str(action.body["resource_id"]), action.id))
        else:
            actions.finish(cloud.store, action.id, "errored")
    for droplet in cloud.store.list("droplet"):
        if droplet.private.get("deleting"):
            cloud.spawn(_destroy(cloud, droplet.id))


async def _create(cloud: Cloud, droplet_id: str, action_id: str) -> None:
    await asyncio.sleep(cloud.faults.delay("droplet"))
    droplet = cloud.find("droplet", droplet_id)
    try:
        await cloud.apply()  # first the packet filter, then the machine
        await cloud.run(cloud.realiser.create_droplet, spec(cloud.store, droplet))
    except errors.ApiError as error:
        logger.error("droplet %s could not be made: %s", droplet_id, error.message)  # noqa: TRY400 - traced already
        _update(cloud.store, droplet_id, status="off")
        actions.finish(cloud.store, action_id, "errored")
        return
    vpc = cloud.find("vpc", droplet.body["vpc_uuid"])
    _update(cloud.store, droplet_id, status="active", networks=_networks(droplet, vpc))
    actions.finish(cloud.store, action_id)


async def _destroy(cloud: Cloud, droplet_id: str) -> None:
    try:
        await cloud.run(cloud.realiser.destroy_droplet, int(droplet_id))
    except errors.ApiError as error:
        logger.error("droplet %s could not be destroyed: %s", droplet_id, error.message)  # noqa: TRY400 - traced already
        droplet = cloud.find("droplet", droplet_id)
        cloud.store.put("droplet", droplet_id, droplet.body, droplet.private | {"deleting": False})
        return
    for ip in cloud.store.list("reserved_ip"):
        if (ip.body["droplet"] or {}).get("id") == int(droplet_id):
            cloud.store.put("reserved_ip", ip.id, ip.body | {"droplet": None})
    for firewall in cloud.store.list("firewall"):
        if int(droplet_id) in firewall.body["droplet_ids"]:
            firewall.body["droplet_ids"].remove(int(droplet_id))
            cloud.store.put("firewall", firewall.id, firewall.body)
    cloud.store.delete("droplet", droplet_id)
    await cloud.apply()


async def _act(cloud: Cloud, droplet_id: str, action_id: str, fields: _Action) -> None:
    try:
        await _perform(cloud, droplet_id, fields)
    except errors.ApiError as error:
        logger.error("droplet %s: %s failed: %s", droplet_id, fields.type, error.message)  # noqa: TRY400 - traced already
        actions.finish(cloud.store, action_id, "errored")
        return
    actions.finish(cloud.store, action_id)


async def _perform(cloud: Cloud, droplet_id: str, fields: _Action) -> None:
    number = int(droplet_id)
    if fields.type in {"power_off", "shutdown", "reboot", "power_cycle"}:
        await cloud.run(cloud.realiser.power_off_droplet, number)
        _update(cloud.store, droplet_id, status="off")
    if fields.type in {"power_on", "reboot", "power_cycle"}:
        await cloud.run(cloud.realiser.power_on_droplet, number)
        _update(cloud.store, droplet_id, status="active")
    if fields.type in {"enable_backups", "disable_backups"}:
        features = set(cloud.find("droplet", droplet_id).body["features"]) - {"backups"}
        _update(
            cloud.store,
            droplet_id,
            features=sorted(features | {"backups"} if fields.type == "enable_backups" else features),
        )
    if fields.type == "rename":
        _update(cloud.store, droplet_id, name=fields.name)
    if fields.type == "resize":
        plan = _plan(fields.size or "")
        # Without `disk` the disk stays as it is, so that the Droplet can be made smaller again.
        disk = plan.disk_gib if fields.disk else cloud.find("droplet", droplet_id).body["disk"]
        size = {"size": plan.body(), "size_slug": plan.slug, "memory": plan.memory_mib, "vcpus": plan.vcpus}
        _update(cloud.store, droplet_id, disk=disk, **size)
        await cloud.run(cloud.realiser.resize_droplet, spec(cloud.store, cloud.find("droplet", droplet_id)))


def _update(store: Store, droplet_id: str, **changes: object) -> None:
    droplet = store.get("droplet", droplet_id)
    if droplet is not None:
        store.put("droplet", droplet_id, droplet.body | changes)


def _networks(droplet: Resource, vpc: Resource) -> Body:
    network = IPv4Network(vpc.body["ip_range"])
    private = {
        "ip_address": droplet.private["private_ip"],
        "netmask": str(network.netmask),
        "gateway": str(network.network_address + 1),
        "type": "private",
    }
    public = {
        "ip_address": droplet.private["public_ip"],
        "netmask": "255.255.255.0",
        "gateway": GATEWAY,
        "type": "public",
    }
    return {"v4": [private, public], "v6": [_public_v6(droplet)] if "ipv6" in droplet.body["features"] else []}


def _public_v6(droplet: Resource) -> Body:
    """Return an address that nothing has: the range is for documentation (RFC 3849)."""
    number = int(droplet.private["public_ip"].rpartition(".")[2])
    return {"ip_address": f"2001:db8::{number:x}", "netmask": 64, "gateway": "2001:db8::1", "type": "public"}


def _check_idle(store: Store, droplet: Resource) -> None:
    if droplet.private.get("deleting") or actions.pending(store, "droplet", droplet.id):
        raise errors.unprocessable("Droplet already has a pending event.")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise errors.unprocessable(
            f'name: Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -), got "{name}"'
        )


def _plan(size: str) -> plans.DropletPlan:
    if size not in plans.DROPLET_PLANS:
        raise errors.unprocessable(f'size: must be one of {", ".join(plans.DROPLET_PLANS)}, got "{size}"')
    return plans.DROPLET_PLANS[size]


def _features(fields: _Create) -> list[str]:
    features = ["private_networking"]
    features += ["droplet_agent"] if fields.with_droplet_agent is not False else []
    features += ["ipv6"] if fields.ipv6 else []
    features += ["monitoring"] if fields.monitoring else []
    features += ["backups"] if fields.backups else []  # nothing is backed up here
    return features


def _image(call: Call, image: str | int) -> str:
    for slug in plans.IMAGES:
        if image in {slug, plans.image_body(slug)["id"]}:
            if call.cloud.world.depth == "full" and slug not in images.DROPLETS:
                raise errors.not_implemented(
                    f'image: at depth `full` machines have {", ".join(images.DROPLETS)}, got "{slug}"; '
                    "a sandbox of depth `api` takes it"
                )
            return slug
    raise errors.unprocessable(f'image: the sandbox has {", ".join(plans.IMAGES)}, got "{image}"')


def _public_key(store: Store, key: str | int) -> str:
    found = ssh_keys.find(store, str(key))
    if found is None:
        raise errors.unprocessable(f"{key} are invalid key identifiers for Droplet creation.")
    return str(found.body["public_key"])
