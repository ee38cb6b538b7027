"""Tags, and which Droplets and clusters have them."""

import re
from collections.abc import Iterable

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Fields, Router, answer, nothing
from sandbox.model.store import Body, Resource, Store

router = Router("Tag")

_NAME = re.compile(r"[A-Za-z0-9_:-]{1,255}")
_KINDS = {"droplet": "droplets", "database": "databases"}  # kind in the store: field of the tag's resources
# Counted by the API, and absent here: the sandbox has none of them.
_ABSENT = ("images", "volumes", "volume_snapshots")


class _Create(Fields):
    name: str


class _TaggedResource(Fields):
    resource_id: str
    resource_type: str


class _Resources(Fields):
    resources: list[_TaggedResource]


@router.add("POST", "/tags", "tags_create")
async def create(call: Call) -> Response:
    """Create a tag; one that exists is answered as it is."""
    name = call.fields(_Create).name
    _check_names([name])
    if call.store.get("tag", name) is None:
        call.store.put("tag", name, {"name": name})
    return answer({"tag": _body(call.store, name)}, 201)


@router.add("GET", "/tags", "tags_list")
async def list_all(call: Call) -> Response:
    """List tags."""
    return call.listing("tags", (_body(call.store, tag.id) for tag in call.store.list("tag")))


@router.add("GET", "/tags/{name}", "tags_get")
async def get(call: Call) -> Response:
    """Describe a tag."""
    return answer({"tag": _body(call.store, call.cloud.find("tag", call.path("name")).id)})


@router.add("DELETE", "/tags/{name}", "tags_delete")
async def delete(call: Call) -> Response:
    """Delete a tag and take it from everything that has it."""
    name = call.cloud.find("tag", call.path("name")).id
    for kind in _KINDS:
        for resource in call.store.list(kind):
            if name in resource.body["tags"]:
                resource.body["tags"].remove(name)
                call.store.put(kind, resource.id, resource.body)
    for firewall in call.store.list("firewall"):
        if name in firewall.body["tags"]:
            firewall.body["tags"].remove(name)
            call.store.put("firewall", firewall.id, firewall.body)
    call.store.delete("tag", name)
    await call.cloud.apply()
    return nothing()


@router.add("POST", "/tags/{name}/resources", "tags_assign_resources")
async def assign(call: Call) -> Response:
    """Put a tag on resources."""
    return await _change(call, present=True)


@router.add("DELETE", "/tags/{name}/resources", "tags_unassign_resources")
async def unassign(call: Call) -> Response:
    """Take a tag from resources."""
    return await _change(call, present=False)


async def _change(call: Call, *, present: bool) -> Response:
    name = call.cloud.find("tag", call.path("name")).id
    for item in call.fields(_Resources).resources:
        if item.resource_type not in _KINDS:
            known = ", ".join(_KINDS)
            raise errors.not_implemented(f'resource_type: the sandbox tags {known}, got "{item.resource_type}"')
        resource = call.cloud.find(item.resource_type, item.resource_id)
        tags = [tag for tag in resource.body["tags"] if tag != name] + ([name] if present else [])
        call.store.put(resource.kind, resource.id, resource.body | {"tags": tags})
        if present:
            call.store.put("tag", name, {"name": name}, {"last": [resource.kind, resource.id]})
    await call.cloud.apply()
    return nothing()


def droplets(call: Call, name: str | None) -> list[Resource]:
    """Return the Droplets that have a tag, or raise 422 without one and 404 for one that doesn't exist."""
    if not name:
        raise errors.unprocessable("tag_name: required")
    tag = call.cloud.find("tag", name)
    return [droplet for droplet in call.store.list("droplet") if tag.id in droplet.body["tags"]]


def ensure(store: Store, names: Iterable[str] | None) -> list[str]:
    """Create the tags that don't exist yet, as every creation with tags does; return them without repetition."""
    unique = list(dict.fromkeys(names or ()))
    _check_names(unique)
    for name in unique:
        store.put("tag", name, {"name": name}, {})  # what is being created is what was tagged last
    return unique


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise errors.bad_tag(name)


def _body(store: Store, name: str) -> Body:
    tag = store.get("tag", name)
    last = tuple(tag.private.get("last", ())) if tag else ()
    counted: Body = {field: {"count": 0} for field in _ABSENT}
    everything: list[Resource] = []
    for kind, field in _KINDS.items():
        tagged = [resource for resource in store.list(kind) if name in resource.body["tags"]]
        counted[field] = {"count": len(tagged)} | _last_tagged(tagged, last)
        everything += tagged
    return {"name": name, "resources": {"count": len(everything)} | _last_tagged(everything, last) | counted}


def _last_tagged(tagged: list[Resource], last: tuple[str, ...]) -> Body:
    """Say which was tagged last: the last that was given the tag, else the one that was created last with it."""
    if not tagged:
        return {}
    newest = max(reversed(tagged), key=lambda resource: ((resource.kind, resource.id) == last, resource.created_at))
    return {"last_tagged_uri": f"https://api.digitalocean.com/v2/{_KINDS[newest.kind]}/{newest.id}"}
