"""SshKey: a public key of the account."""

from digitalocean_provider.operation import Operation
from digitalocean_provider.schema import COMPUTED, REQUIRED, Field, Schema
from plugin_base.wire import Properties

SCHEMA = Schema(
    type_name="digitalocean:index/sshKey:SshKey",
    label="SSH key",
    fields={
        "name": Field(auto_name=True),
        "publicKey": Field(role=REQUIRED, replaces=True, normalise=lambda key: key.strip()),
        "fingerprint": Field(role=COMPUTED),
    },
)


def create(op: Operation, inputs: Properties) -> Properties:
    """Add the key to the account."""
    body = {"name": inputs["name"], "public_key": inputs["publicKey"]}
    op.keep(str(op.call("POST", "account", "keys", body=body)["ssh_key"]["id"]))
    return read(op, op.id, {}) or {}


def read(op: Operation, id_: str, _state: Properties) -> Properties | None:
    """Return the key, or None when it is gone."""
    reply = op.find("GET", "account", "keys", id_)
    if reply is None:
        return None
    key = reply["ssh_key"]
    return {"name": key["name"], "publicKey": key["public_key"], "fingerprint": key["fingerprint"]}


def update(op: Operation, id_: str, _state: Properties, inputs: Properties, changed: set[str]) -> None:
    """Rename."""
    if "name" in changed:
        op.call("PUT", "account", "keys", id_, body={"name": inputs["name"]})


def delete(op: Operation, id_: str, _state: Properties) -> None:
    """Remove the key from the account; Droplets keep it."""
    op.find("DELETE", "account", "keys", id_)
