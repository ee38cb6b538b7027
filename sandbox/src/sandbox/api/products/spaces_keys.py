"""Access keys of Spaces: account-wide or limited to buckets."""

import secrets
from typing import Literal

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Fields, Router, answer, nothing
from sandbox.model import plans
from sandbox.model.realiser import Grant
from sandbox.model.store import Body, Resource, Store, now

router = Router("Spaces key")


class _Grant(Fields):
    bucket: str
    permission: Literal["read", "readwrite", "fullaccess"]


class _Key(Fields):
    name: str
    grants: list[_Grant] | None = None


@router.add("POST", "/spaces/keys", "spacesKey_create")
async def create(call: Call) -> Response:
    """Create a key; only this answer has its secret."""
    fields = call.fields(_Key)
    grants = _check(fields)
    access_key = "DO00" + secrets.token_hex(8).upper()
    secret_key = secrets.token_urlsafe(32)
    body = {"name": fields.name, "access_key": access_key, "grants": grants, "created_at": now()}
    await _realise(call, access_key, secret_key, grants)
    call.store.put("spaces_key", access_key, body, {"secret_key": secret_key})
    return answer({"key": body | {"secret_key": secret_key}}, 201)


@router.add("GET", "/spaces/keys", "spacesKey_list", query=("sort", "sort_direction", "name", "bucket", "permission"))
async def list_all(call: Call) -> Response:
    """List keys, all or by name, bucket or permission."""
    if call.query("sort") not in {None, "created_at"}:
        raise errors.not_implemented(f'sort: keys are listed by "created_at", got "{call.query("sort")}"')
    oldest_first = call.query("sort_direction") == "asc"
    name, bucket, permission = call.query("name"), call.query("bucket"), call.query("permission")
    return call.listing(
        "keys",
        (
            key.body
            for key in call.store.list("spaces_key")[:: 1 if oldest_first else -1]
            if (not name or name == key.body["name"])
            and (not bucket or any(bucket == grant["bucket"] for grant in key.body["grants"]))
            and (not permission or any(permission == grant["permission"] for grant in key.body["grants"]))
        ),
    )


@router.add("GET", "/spaces/keys/{access_key}", "spacesKey_get")
async def get(call: Call) -> Response:
    """Describe a key."""
    return answer({"key": call.cloud.find("spaces_key", call.path("access_key")).body})


@router.add("PUT", "/spaces/keys/{access_key}", "spacesKey_update")
async def update(call: Call) -> Response:
    """Rename a key or change what it may do."""
    return await _change(call)


@router.add("PATCH", "/spaces/keys/{access_key}", "spacesKey_patch")
async def patch(call: Call) -> Response:
    """Do the same as PUT."""
    return await _change(call)


@router.add("DELETE", "/spaces/keys/{access_key}", "spacesKey_delete")
async def delete(call: Call) -> Response:
    """Revoke a key."""
    key = call.cloud.find("spaces_key", call.path("access_key"))
    await call.cloud.run(call.cloud.realiser.delete_spaces_key, list(plans.SPACES_REGIONS), key.id)
    call.store.delete("spaces_key", key.id)
    return nothing()


def existing(store: Store) -> list[Resource]:
    """Return all keys that the API made."""
    return store.list("spaces_key")


async def _change(call: Call) -> Response:
    key = call.cloud.find("spaces_key", call.path("access_key"))
    fields = call.fields(_Key)
    grants = key.body["grants"] if fields.grants is None else _check(fields)
    await _realise(call, key.id, key.private["secret_key"], grants)
    body = key.body | {"name": fields.name, "grants": grants}
    return answer({"key": call.store.put("spaces_key", key.id, body).body})


def _check(fields: _Key) -> list[Body]:
    if not fields.name:
        raise errors.unprocessable('name: must not be empty, got ""')
    grants = [grant.model_dump() for grant in fields.grants or []]
    full = [grant for grant in grants if grant["permission"] == "fullaccess"]
    if full and (len(grants) > 1 or full[0]["bucket"]):
        raise errors.bad_request("cannot mix fullaccess permission with scoped permissions.")
    if any(not grant["bucket"] for grant in grants if grant["permission"] != "fullaccess"):
        raise errors.unprocessable('grants: "read" and "readwrite" need the name of a bucket')
    return grants


async def _realise(call: Call, access_key: str, secret_key: str, grants: list[Body]) -> None:
    parsed = [Grant(bucket=grant["bucket"], permission=grant["permission"]) for grant in grants]
    realiser = call.cloud.realiser
    await call.cloud.run(realiser.put_spaces_key, list(plans.SPACES_REGIONS), access_key, secret_key, parsed)
