"""Destroying a Droplet with what belongs to it, which here are its Reserved IPs."""

from collections.abc import Iterable
from ipaddress import IPv4Address

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Cloud, Fields, Router, answer
from sandbox.api.products import droplets
from sandbox.model.store import Bodies, Body, Resource, Store, now

router = Router("Droplet")

_KIND = "droplet_destruction"
_PATH = "/droplets/{id}/destroy_with_associated_resources"
_COST = "4.00"  # US dollars a month, of the description's example
# The sandbox has none of these.
_ABSENT = ("snapshots", "volumes", "volume_snapshots")


class _Selection(Fields):
    reserved_ips: list[str] | None = None
    floating_ips: list[str] | None = None


@router.add("GET", _PATH, "droplets_list_associatedResources")
async def list_all(call: Call) -> Response:
    """List what can be destroyed along with a Droplet."""
    droplet = call.cloud.find("droplet", call.path("id"))
    found = [{"id": _id(ip), "name": ip, "cost": _COST} for ip in _addresses(call.store, droplet)]
    return answer({"reserved_ips": found, "floating_ips": found} | {name: [] for name in _ABSENT})


@router.add("DELETE", f"{_PATH}/selective", "droplets_destroy_withAssociatedResourcesSelective")
async def destroy_selected(call: Call) -> Response:
    """Destroy a Droplet and what of its resources is named."""
    droplet = call.cloud.find("droplet", call.path("id"))
    fields = call.fields(_Selection)
    known = {_id(ip): ip for ip in _addresses(call.store, droplet)}
    chosen = dict.fromkeys([*(fields.reserved_ips or []), *(fields.floating_ips or [])])
    if wrong := [one for one in chosen if one not in known]:
        raise errors.unprocessable(f"{', '.join(wrong)}: not among the Droplet's associated resources")
    return _begin(call.cloud, droplet, [known[one] for one in chosen])


@router.add("DELETE", f"{_PATH}/dangerous", "droplets_destroy_withAssociatedResourcesDangerous")
async def destroy_all(call: Call) -> Response:
    """Destroy a Droplet and all that belongs to it."""
    droplet = call.cloud.find("droplet", call.path("id"))
    if call.header("x-dangerous") != "true":
        raise errors.bad_request('X-Dangerous: this header must be "true"')
    return _begin(call.cloud, droplet, _addresses(call.store, droplet))


@router.add("GET", f"{_PATH}/status", "droplets_get_DestroyAssociatedResourcesStatus")
async def status(call: Call) -> Response:
    """Say how far it is; also when the Droplet has gone."""
    return answer(_status(call.store, call.cloud.find(_KIND, call.path("id"))))


@router.add("POST", f"{_PATH}/retry", "droplets_destroy_retryWithAssociatedResources")
async def retry(call: Call) -> Response:
    """Begin again with what is left."""
    begun = call.cloud.find(_KIND, call.path("id"))
    droplet = call.store.get("droplet", begun.id)
    if droplet is None:
        raise errors.not_found()
    if droplet.private.get("deleting"):
        raise errors.conflict("a destroy of this Droplet is in progress")
    return _begin(call.cloud, droplet, [ip for ip in begun.body["ips"] if call.store.get("reserved_ip", ip)])


def _begin(cloud: Cloud, droplet: Resource, ips: Iterable[str]) -> Response:
    chosen = list(ips)
    droplets.begin_destruction(cloud, [droplet])
    for ip in chosen:
        cloud.store.delete("reserved_ip", ip)
    cloud.store.put(_KIND, droplet.id, {"name": droplet.body["name"], "ips": chosen, "begun_at": now()})
    return Response(status_code=202)


def _status(store: Store, begun: Resource) -> Body:
    """Read it off what is still there."""
    droplet = store.get("droplet", begun.id)
    gone = begun.body["begun_at"]
    failed = droplet is not None and not droplet.private.get("deleting")
    error = "the machine could not be destroyed, see the log of the API" if failed else ""
    ips: Bodies = [{"id": _id(ip), "name": ip, "destroyed_at": gone, "error_message": ""} for ip in begun.body["ips"]]
    own = {
        "id": begun.id,
        "name": begun.body["name"],
        "destroyed_at": None if droplet else gone,
        "error_message": error,
    }
    resources = {"reserved_ips": ips, "floating_ips": ips} | {name: [] for name in _ABSENT}
    done = droplet is None or failed
    return {"droplet": own, "resources": resources, "completed_at": gone if done else None, "failures": int(failed)}


def _addresses(store: Store, droplet: Resource) -> list[str]:
    return [ip.id for ip in store.list("reserved_ip") if (ip.body["droplet"] or {}).get("id") == int(droplet.id)]


def _id(ip: str) -> str:
    """Return the number by which this API alone knows a Reserved IP."""
    return str(int(IPv4Address(ip)))
