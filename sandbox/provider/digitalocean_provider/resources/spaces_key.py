"""SpacesKey: an access key for Spaces with grants on buckets."""

from digitalocean_provider.operation import Operation
from digitalocean_provider.schema import COMPUTED, Field, Schema
from plugin_base.wire import Properties

SCHEMA = Schema(
    type_name="digitalocean:index/spacesKey:SpacesKey",
    label="Spaces key",
    fields={
        "name": Field(auto_name=True),
        "grants": Field(members=("bucket", "permission")),  # an ordered list
        "accessKey": Field(role=COMPUTED),
        "createdAt": Field(role=COMPUTED),
        "secretKey": Field(role=COMPUTED, secret=True),
    },
)

PAGE = 200


def _body(inputs: Properties) -> Properties:
    grants = [{"bucket": grant["bucket"], "permission": grant["permission"]} for grant in inputs.get("grants", [])]
    return {"name": inputs["name"], "grants": grants}


def _properties(key: Properties, state: Properties) -> Properties:
    return {
        "name": key["name"],
        "grants": [
            {"bucket": grant.get("bucket", ""), "permission": grant["permission"]} for grant in key.get("grants") or []
        ],
        "accessKey": key["access_key"],
        "createdAt": key.get("created_at"),
        # Only the answer to its creation has it: state is the one copy from then on.
        "secretKey": key.get("secret_key") or state.get("secretKey"),
    }


def create(op: Operation, inputs: Properties) -> Properties:
    """Create the key."""
    key = op.call("POST", "spaces", "keys", body=_body(inputs))["key"]
    properties = _properties(key, {})
    op.keep(key["access_key"], properties)
    return properties


def read(op: Operation, id_: str, state: Properties) -> Properties | None:
    """Look for the key in the list, as the official plugin does; None when it is gone."""
    page = 1
    while True:
        reply = op.call("GET", "spaces", "keys", query={"page": page, "per_page": PAGE})
        for key in reply["keys"]:
            if key["access_key"] == id_:
                return _properties(key, state)
        if not reply.get("links", {}).get("pages", {}).get("next"):
            return None
        page += 1


def update(op: Operation, id_: str, _state: Properties, inputs: Properties, _changed: set[str]) -> None:
    """Change name and grants."""
    op.call("PUT", "spaces", "keys", id_, body=_body(inputs))


def delete(op: Operation, id_: str, _state: Properties) -> None:
    """Revoke the key."""
    op.find("DELETE", "spaces", "keys", id_)
