"""SSH keys of the account."""

import base64
import binascii
import hashlib

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Fields, Router, answer, nothing
from sandbox.model.store import Resource, Store

router = Router("SSH key")

_TYPES = ("ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")


class _Create(Fields):
    name: str
    public_key: str


class _Update(Fields):
    name: str


@router.add("POST", "/account/keys", "sshKeys_create")
async def create(call: Call) -> Response:
    """Add a public key."""
    fields = call.fields(_Create)
    if not fields.name:
        raise errors.unprocessable('name: must not be empty, got ""')
    fingerprint = _fingerprint(fields.public_key)
    if find(call.store, fingerprint):
        raise errors.unprocessable("SSH Key is already in use on your account")
    key_id = call.store.next_id()
    body = {"id": key_id, "fingerprint": fingerprint, "public_key": fields.public_key, "name": fields.name}
    return answer({"ssh_key": call.store.put("ssh_key", key_id, body).body}, 201)


@router.add("GET", "/account/keys", "sshKeys_list")
async def list_all(call: Call) -> Response:
    """List keys."""
    return call.listing("ssh_keys", (key.body for key in call.store.list("ssh_key")))


@router.add("GET", "/account/keys/{key}", "sshKeys_get")
async def get(call: Call) -> Response:
    """Describe a key, by its id or fingerprint."""
    return answer({"ssh_key": _wanted(call).body})


@router.add("PUT", "/account/keys/{key}", "sshKeys_update")
async def update(call: Call) -> Response:
    """Rename a key."""
    key = _wanted(call)
    return answer({"ssh_key": call.store.put("ssh_key", key.id, key.body | {"name": call.fields(_Update).name}).body})


@router.add("DELETE", "/account/keys/{key}", "sshKeys_delete")
async def delete(call: Call) -> Response:
    """Remove a key; Droplets that have it keep it."""
    call.store.delete("ssh_key", _wanted(call).id)
    return nothing()


def find(store: Store, key: str) -> Resource | None:
    """Return a key by its id or fingerprint."""
    for known in store.list("ssh_key"):
        if key in {known.id, known.body["fingerprint"]}:
            return known
    return None


def _wanted(call: Call) -> Resource:
    key = find(call.store, call.path("key"))
    if key is None:
        raise errors.not_found()
    return key


def _fingerprint(public_key: str) -> str:
    kind, _, rest = public_key.strip().partition(" ")
    try:
        blob = base64.b64decode(rest.split(" ")[0], validate=True)
    except binascii.Error:
        blob = b""
    length = int.from_bytes(blob[:4], "big")
    if kind not in _TYPES or blob[4 : 4 + length].decode("ascii", "replace") != kind:
        raise errors.unprocessable("public_key: Key invalid, key should be of the format `<type> <key> [<comment>]`")
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()  # the API's form of a fingerprint
    return ":".join(digest[at : at + 2] for at in range(0, 32, 2))
