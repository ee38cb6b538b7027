"""Droplets: making, listing and destroying them."""

import asyncio
import logging
from dataclasses import dataclass
from ipaddress import IPv4Network

from starlette.responses import Response

from sandbox.api import addresses, errors, switches
from sandbox.api.calls import Call, Cloud, Fields, Router, answer, nothing
from sandbox.api.products import actions, droplet_backups, ssh_keys, tags, vpcs
from sandbox.api.products.droplet_common import check_idle, check_name, plan, spec, update
from sandbox.machines import images
from sandbox.model import plans
from sandbox.model.realiser import DropletSpec
from sandbox.model.store import Bodies, Body, Resource, Store, now
from sandbox.world.world import GATEWAY

router = Router("Droplet")
logger = logging.getLogger("sandbox.droplets")

_MAX_USER_DATA = 64 * 1024  # bytes
_MAX_NAMES = 10


class _Create(Fields):
    name: str | None = None
    names: list[str] | None = None
    region: str | None = None
    size: str
    image: str | int
    ssh_keys: list[str | int] | None = None
    monitoring: bool | None = None
    backups: bool | None = None
    backup_policy: droplet_backups.Policy | None = None
    ipv6: bool | None = None
    private_networking: bool | None = None
    public_networking: bool | None = None
    tags: list[str] | None = None
    user_data: str | None = None
    vpc_uuid: str | None = None
    with_droplet_agent: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Order:
    """What all Droplets of one creation have, checked."""

    plan: plans.DropletPlan
    image: str
    region: str
    features: list[str]
    policy: Body | None
    tags: list[str]
    vpc: Resource
    public_keys: list[str]
    user_data: str
    public: bool


@router.add("POST", "/droplets", "droplets_create")
async def create(call: Call) -> Response:
    """Create a Droplet, or one for each of several names; the machines start after the answer."""
    fields = call.fields(_Create)
    names = _names(fields)
    _check_limit(call.store, len(names))
    order = _order(call, fields)
    if not order.public_keys:
        logger.info("droplets %s have no SSH key: the real API would mail a root password", ", ".join(names))
    made: Bodies = []
    begun: Bodies = []
    for name in names:
        droplet = _put(call, name, order)
        action = actions.begin(call.store, "create", "droplet", int(droplet.id), order.region)
        call.cloud.spawn(_create(call.cloud, droplet.id, action.id))
        made.append(droplet.body)
        begun.append({"id": action.body["id"], "rel": "create", "href": actions.href(action)})
    what: Body = {"droplet": made[0]} if fields.names is None else {"droplets": made}
    return answer(what | {"links": {"actions": begun}}, 202)


@router.add("GET", "/droplets", "droplets_list", query=("tag_name", "name", "type"))
async def list_all(call: Call) -> Response:
    """List Droplets, all or by tag or name; those with a GPU are none."""
    tag, name, type_ = call.query("tag_name"), call.query("name"), call.query("type")
    if type_ not in {None, "", "droplets", "gpus"}:
        raise errors.unprocessable(f'type: must be droplets or gpus, got "{type_}"')
    found = call.store.list("droplet") if type_ != "gpus" else []
    return call.listing(
        "droplets",
        (
            droplet.body
            for droplet in found
            if (not tag or tag in droplet.body["tags"]) and (not name or name.lower() == droplet.body["name"].lower())
        ),
    )


@router.add("GET", "/droplets/{id}", "droplets_get")
async def get(call: Call) -> Response:
    """Describe a Droplet."""
    return answer({"droplet": call.cloud.find("droplet", call.path("id")).body})


@router.add("DELETE", "/droplets/{id}", "droplets_destroy")
async def delete(call: Call) -> Response:
    """Destroy a Droplet; it is found until its machine is gone."""
    begin_destruction(call.cloud, [call.cloud.find("droplet", call.path("id"))])
    return nothing()


@router.add("DELETE", "/droplets", "droplets_destroy_byTag", query=("tag_name",))
async def delete_tagged(call: Call) -> Response:
    """Destroy all Droplets that have a tag."""
    begin_destruction(call.cloud, tags.droplets(call, call.query("tag_name")))
    return nothing()


def begin_destruction(cloud: Cloud, found: list[Resource]) -> None:
    """Let Droplets go, all of them or none."""
    for droplet in found:
        check_idle(cloud.store, droplet)
    for droplet in found:
        cloud.store.put("droplet", droplet.id, droplet.body, droplet.private | {"deleting": True})
        cloud.spawn(_destroy(cloud, droplet.id))


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
        update(cloud.store, droplet_id, status="off")
        actions.finish(cloud.store, action_id, "errored")
        return
    vpc = cloud.find("vpc", droplet.body["vpc_uuid"])
    update(cloud.store, droplet_id, status="active", networks=_networks(droplet, vpc))
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
    for balancer in cloud.store.list("load_balancer"):
        if int(droplet_id) in balancer.body["droplet_ids"]:
            balancer.body["droplet_ids"].remove(int(droplet_id))
            cloud.store.put("load_balancer", balancer.id, balancer.body)
    cloud.store.delete("droplet", droplet_id)
    await cloud.apply()


def _names(fields: _Create) -> list[str]:
    if fields.names is None:
        if fields.name is None:
            raise errors.unprocessable("name: required, or names of several Droplets")
        names = [fields.name]
    else:
        names = fields.names
        if fields.name:
            raise errors.unprocessable("name, names: must be one of them, got both")
        if not 1 <= len(names) <= _MAX_NAMES:
            raise errors.unprocessable(f"names: must be 1 to {_MAX_NAMES}, got {len(names)}")
    for name in names:
        check_name(name)
    return names


def _check_limit(store: Store, more: int) -> None:
    if store.count("droplet") + more > switches.read(store).droplets:
        raise errors.unprocessable("creating this/these droplet(s) will exceed your droplet limit")


def _order(call: Call, fields: _Create) -> _Order:
    chosen, image, region = plan(fields.size), _image(call, fields.image), _region(fields.region)
    if fields.ipv6 and call.cloud.world.depth == "full":
        raise errors.not_implemented(
            "ipv6: at depth `full` machines have IPv4 alone; a sandbox of depth `api` takes it"
        )
    if fields.public_networking is False and fields.ipv6:
        raise errors.unprocessable("ipv6: must be false where public_networking is")
    if len((fields.user_data or "").encode()) > _MAX_USER_DATA:
        size = len((fields.user_data or "").encode())
        raise errors.unprocessable(f"user_data: must be at most {_MAX_USER_DATA} bytes, got {size}")
    if fields.backup_policy and not fields.backups:
        raise errors.unprocessable("backup_policy: needs backups")
    return _Order(
        plan=chosen,
        image=image,
        region=region,
        features=_features(fields),
        policy=droplet_backups.checked(fields.backup_policy) if fields.backups else None,
        public_keys=[_public_key(call.store, key) for key in fields.ssh_keys or []],
        user_data=fields.user_data or "",
        public=fields.public_networking is not False,
        vpc=vpcs.vpc_for(call.cloud, fields.vpc_uuid, region),
        tags=tags.ensure(call.store, fields.tags),
    )


def _put(call: Call, name: str, order: _Order) -> Resource:
    store = call.store
    droplet_id = store.next_id()
    body: Body = {
        "id": droplet_id,
        "name": name,
        "memory": order.plan.memory_mib,
        "vcpus": order.plan.vcpus,
        "disk": order.plan.disk_gib,
        "locked": False,
        "status": "new",
        "kernel": None,
        "created_at": now(),
        "features": order.features,
        "backup_ids": [],
        "next_backup_window": droplet_backups.window(order.policy),
        "snapshot_ids": [],
        "image": plans.image_body(order.image),
        "volume_ids": [],
        "size": order.plan.body(),
        "size_slug": order.plan.slug,
        "networks": {"v4": [], "v6": []},
        "region": plans.region_body(order.region),
        "tags": order.tags,
        "vpc_uuid": order.vpc.id,
    }
    private: Body = {
        "public_ip": addresses.droplet(store, call.cloud.world.depth) if order.public else None,
        "private_ip": addresses.private(store, order.vpc.id, order.vpc.body["ip_range"]),
        "public_keys": order.public_keys,
        "user_data": order.user_data,
        "backup_policy": order.policy,
    }
    return store.put("droplet", droplet_id, body, private)


def _networks(droplet: Resource, vpc: Resource) -> Body:
    network = IPv4Network(vpc.body["ip_range"])
    private = {
        "ip_address": droplet.private["private_ip"],
        "netmask": str(network.netmask),
        "gateway": str(network.network_address + 1),
        "type": "private",
    }
    if droplet.private["public_ip"] is None:
        return {"v4": [private], "v6": []}
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


def _region(wanted: str | None) -> str:
    """Return the region of a new Droplet: the wanted one, one of a city, or any."""
    if not wanted:
        return next(iter(plans.REGIONS))
    city = [slug for slug in plans.REGIONS if slug.rstrip("0123456789") == wanted]
    if city:
        return city[0]
    vpcs.check_region(wanted)
    return wanted


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
