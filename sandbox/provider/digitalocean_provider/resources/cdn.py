"""Cdn: an endpoint of the content delivery network in front of a Space."""

from digitalocean_provider.errors import ProviderError
from digitalocean_provider.operation import Operation, go_time
from digitalocean_provider.schema import COMPUTED, OPTIONAL_COMPUTED, REQUIRED, Field, Schema
from plugin_base.wire import Properties

SCHEMA = Schema(
    type_name="digitalocean:index/cdn:Cdn",
    label="CDN endpoint",
    fields={
        "origin": Field(role=REQUIRED, replaces=True),
        "ttl": Field(role=OPTIONAL_COMPUTED),
        "customDomain": Field(),
        "certificateName": Field(role=OPTIONAL_COMPUTED),
        "certificateId": Field(role=COMPUTED),  # as an input it is deprecated: certificates renew under a new id
        "createdAt": Field(role=COMPUTED),
        "endpoint": Field(role=COMPUTED),
    },
)


def _certificate(op: Operation, name: str | None) -> Properties:
    if not name:
        return {}
    found = op.call("GET", "certificates", query={"name": name})["certificates"]
    if not found:
        raise ProviderError(f"certificateName: no certificate of this name, got {name!r}; create it first")
    return {"certificate_id": found[0]["id"]}


def create(op: Operation, inputs: Properties) -> Properties:
    """Create the endpoint."""
    # godo sends a TTL that is not set as 0
    body = {"origin": inputs["origin"], "ttl": inputs.get("ttl", 0)} | _certificate(op, inputs.get("certificateName"))
    body |= {"custom_domain": inputs["customDomain"]} if inputs.get("customDomain") else {}
    op.keep(op.call("POST", "cdn", "endpoints", body=body)["endpoint"]["id"])
    return read(op, op.id, {}) or {}


def read(op: Operation, id_: str, _state: Properties) -> Properties | None:
    """Return the endpoint, or None when it is gone."""
    reply = op.find("GET", "cdn", "endpoints", id_)
    if reply is None:
        return None
    endpoint = reply["endpoint"]
    properties = {
        "origin": endpoint["origin"],
        "ttl": endpoint["ttl"],
        "endpoint": endpoint["endpoint"],
        "createdAt": go_time(endpoint.get("created_at")),
        "customDomain": endpoint.get("custom_domain") or "",
    }
    if endpoint.get("certificate_id"):
        name = op.call("GET", "certificates", endpoint["certificate_id"])["certificate"]["name"]
        properties |= {"certificateId": name, "certificateName": name}
    return properties


def update(op: Operation, id_: str, _state: Properties, inputs: Properties, changed: set[str]) -> None:
    """Change how long objects are kept, and the custom domain."""
    if "ttl" in changed:
        op.call("PUT", "cdn", "endpoints", id_, body={"ttl": inputs["ttl"]})
    if changed & {"customDomain", "certificateName"}:
        body = {"custom_domain": inputs.get("customDomain", "")} | _certificate(op, inputs.get("certificateName"))
        op.call("PUT", "cdn", "endpoints", id_, body=body)


def delete(op: Operation, id_: str, _state: Properties) -> None:
    """Delete the endpoint; the Space stays."""
    op.find("DELETE", "cdn", "endpoints", id_)
