"""What is done to Droplets, one at a time or all that have a tag."""

import logging
from typing import Literal, get_args

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Cloud, Fields, Router, answer
from sandbox.api.products import actions, droplet_backups, tags
from sandbox.api.products.droplet_common import check_idle, check_name, plan, spec, update
from sandbox.model.store import Resource

router = Router("Droplet")
logger = logging.getLogger("sandbox.droplets")

_BackedUp = Literal["enable_backups", "change_backup_policy"]
_Type = Literal[
    "power_off",
    "power_on",
    "shutdown",
    "reboot",
    "power_cycle",
    "resize",
    "rename",
    "disable_backups",
    _BackedUp,
]
_Absent = Literal["restore", "password_reset", "rebuild", "change_kernel", "enable_ipv6", "snapshot"]
_TAGGED = ("power_cycle", "power_on", "power_off", "shutdown", "enable_backups", "disable_backups")
_TAGGED_ABSENT = ("enable_ipv6", "snapshot")


class _Action(Fields):
    type: _Type | _Absent
    disk: bool | None = None
    size: str | None = None
    name: str | None = None
    image: str | int | None = None
    kernel: int | None = None
    backup_policy: droplet_backups.Policy | None = None


@router.add("GET", "/droplets/{id}/actions", "dropletActions_list")
async def list_all(call: Call) -> Response:
    """List what was done to a Droplet, newest first."""
    droplet = call.cloud.find("droplet", call.path("id"))
    return call.listing("actions", (action.body for action in actions.of(call.store, "droplet", droplet.id)))


@router.add("GET", "/droplets/{id}/actions/{action}", "dropletActions_get")
async def get(call: Call) -> Response:
    """Describe one action of a Droplet."""
    action = call.cloud.find("action", call.path("action"))
    if (action.body["resource_type"], str(action.body["resource_id"])) != ("droplet", call.path("id")):
        raise errors.not_found()
    return answer({"action": action.body})


@router.add("POST", "/droplets/{id}/actions", "dropletActions_post")
async def act(call: Call) -> Response:
    """Begin an action; one at a time."""
    droplet = call.cloud.find("droplet", call.path("id"))
    fields = _fields(call)
    _check(call, droplet, fields)
    return answer({"action": _begin(call.cloud, droplet, fields).body}, 201)


@router.add("POST", "/droplets/actions", "dropletActions_post_byTag", query=("tag_name",))
async def act_on_tagged(call: Call) -> Response:
    """Begin an action on all Droplets that have a tag."""
    fields = _fields(call)
    if fields.type not in _TAGGED:
        raise errors.unprocessable(
            f'type: for tagged Droplets must be one of {", ".join((*_TAGGED, *_TAGGED_ABSENT))}, got "{fields.type}"'
        )
    found = tags.droplets(call, call.query("tag_name"))
    for droplet in found:
        _check(call, droplet, fields)
    return answer({"actions": [_begin(call.cloud, droplet, fields).body for droplet in found]}, 201)


def _fields(call: Call) -> _Action:
    fields = call.fields(_Action)
    if fields.type in get_args(_Absent):
        raise errors.not_implemented(f'type: DigitalOcean has the action "{fields.type}", the sandbox doesn\'t')
    return fields


def _check(call: Call, droplet: Resource, fields: _Action) -> None:
    check_idle(call.store, droplet)
    if fields.type == "resize":
        chosen = plan(fields.size or "")
        if droplet.body["status"] != "off":
            raise errors.unprocessable("Droplet must be powered off to resize")
        if chosen.disk_gib < droplet.body["disk"]:
            raise errors.unprocessable(f"size: the disk of {chosen.slug} is smaller than this Droplet's")
    if fields.type == "rename":
        check_name(fields.name or "")
    if fields.type == "change_backup_policy":
        if fields.backup_policy is None:
            raise errors.unprocessable("backup_policy: required")
        if "backups" not in droplet.body["features"]:
            raise errors.unprocessable("backup_policy: this Droplet has no backups; enable them first")


def _begin(cloud: Cloud, droplet: Resource, fields: _Action) -> Resource:
    action = actions.begin(cloud.store, fields.type, "droplet", int(droplet.id), droplet.body["region"]["slug"])
    cloud.spawn(_act(cloud, droplet.id, action.id, fields))
    return action


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
        update(cloud.store, droplet_id, status="off")
    if fields.type in {"power_on", "reboot", "power_cycle"}:
        await cloud.run(cloud.realiser.power_on_droplet, number)
        update(cloud.store, droplet_id, status="active")
    if fields.type in {*get_args(_BackedUp), "disable_backups"}:
        _keep_policy(cloud, droplet_id, fields)
    if fields.type == "rename":
        update(cloud.store, droplet_id, name=fields.name)
    if fields.type == "resize":
        chosen = plan(fields.size or "")
        # Without `disk` the disk stays as it is, so that the Droplet can be made smaller again.
        disk = chosen.disk_gib if fields.disk else cloud.find("droplet", droplet_id).body["disk"]
        size = {"size": chosen.body(), "size_slug": chosen.slug, "memory": chosen.memory_mib, "vcpus": chosen.vcpus}
        update(cloud.store, droplet_id, disk=disk, **size)
        await cloud.run(cloud.realiser.resize_droplet, spec(cloud.store, cloud.find("droplet", droplet_id)))


def _keep_policy(cloud: Cloud, droplet_id: str, fields: _Action) -> None:
    droplet = cloud.find("droplet", droplet_id)
    policy = droplet_backups.checked(fields.backup_policy) if fields.type in get_args(_BackedUp) else None
    features = sorted({*droplet.body["features"]} - {"backups"} | ({"backups"} if policy else set()))
    body = droplet.body | {"features": features, "next_backup_window": droplet_backups.window(policy)}
    cloud.store.put("droplet", droplet_id, body, droplet.private | {"backup_policy": policy})
