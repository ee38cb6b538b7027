"""Tags, and which Droplets and clusters have them."""

import re
from collections.abc import Iterable

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Fields, Router, answer, nothing
from sandbox.model.store import Body, Store

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
    ensure(call.store, [name])
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
    await call.cloud.apply()
    return nothing()


def ensure(store: Store, names: Iterable[str] | None) -> list[str]:
    """Create the tags that don't exist yet, as every creation with tags does; return them without repetition."""
    unique = list(dict.fromkeys(names or ()))
    for name in unique:
        if not _NAME.fullmatch(name):
            raise errors.unprocessable(
                f'tags: must have 1-255 letters, digits, colons, dashes and underscores, got "{name}"'
            )
    for name in unique:
        if store.get("tag", name) is None:
            store.put("tag", name, {"name": name})
    return unique


def _body(store: Store, name: str) -> Body:
    counted: Body = {field: {"count": 0} for field in _ABSENT}
    for kind, field in _KINDS.items():
        tagged = [resource.id for resource in store.list(kind) if name in resource.body["tags"]]
        counted[field] = {"count": len(tagged)}
        if tagged:
            counted[field]["last_tagged_uri"] = f"https://api.digitalocean.com/v2/{field}/{tagged[-1]}"
    return {"name": name, "resources": {"count": sum(item["count"] for item in counted.values()), **counted}}
