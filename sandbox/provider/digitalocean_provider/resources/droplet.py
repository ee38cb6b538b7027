"""Droplet: a virtual machine."""

import hashlib
from typing import Any

from digitalocean_provider import sets
from digitalocean_provider.errors import ApiError, ProviderError
from digitalocean_provider.operation import Operation
from digitalocean_provider.resources.tag import retag
from digitalocean_provider.schema import COMPUTED, OPTIONAL_COMPUTED, REQUIRED, Field, Schema, lower, tag_set, unordered
from plugin_base.wire import Properties


def sha1(text: str) -> str:
    """State has a digest of the user data, as the official plugin's has; it may hold secrets."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


SCHEMA = Schema(
    type_name="digitalocean:index/droplet:Droplet",
    label="Droplet",
    fields={
        "name": Field(auto_name=True),
        "image": Field(role=REQUIRED, replaces=True, unread=True),  # a slug moves to newer images: never compared
        "size": Field(role=REQUIRED, normalise=lower),
        "region": Field(role=OPTIONAL_COMPUTED, replaces=True, normalise=lower),
        "backups": Field(default=False),
        "dropletAgent": Field(replaces=True, unread=True),
        "gracefulShutdown": Field(default=False, unread=True),
        "ipv6": Field(default=False, replaces=lambda old, new: bool(old) and not new),
        "monitoring": Field(default=False, replaces=True),
        "publicNetworking": Field(role=OPTIONAL_COMPUTED, replaces=True),
        "resizeDisk": Field(default=True, unread=True),
        "sshKeys": Field(replaces=True, unread=True, normalise=unordered),
        "tags": Field(normalise=tag_set),
        "userData": Field(replaces=True, unread=True, stored=sha1),
        "vpcUuid": Field(role=OPTIONAL_COMPUTED, replaces=True),
        "createdAt": Field(role=COMPUTED),
        "disk": Field(role=COMPUTED),
        "dropletUrn": Field(role=COMPUTED),
        "ipv4Address": Field(role=COMPUTED),
        "ipv4AddressPrivate": Field(role=COMPUTED),
        "ipv6Address": Field(role=COMPUTED),
        "locked": Field(role=COMPUTED),
        "memory": Field(role=COMPUTED),
        "priceHourly": Field(role=COMPUTED),
        "priceMonthly": Field(role=COMPUTED),
        "privateNetworking": Field(role=COMPUTED),
        "status": Field(role=COMPUTED),
        "vcpus": Field(role=COMPUTED),
        "volumeIds": Field(role=COMPUTED),
    },
    default_timeouts={"create": 3600, "update": 3600, "delete": 60},
)


def _address(droplet: Properties, version: str, type_: str) -> str | None:
    addresses = droplet.get("networks", {}).get(version) or []
    return next((address["ip_address"] for address in addresses if address["type"] == type_), None)


def _properties(droplet: Properties) -> Properties:
    features = droplet.get("features") or []
    public = _address(droplet, "v4", "public")
    return {
        "name": droplet["name"],
        "region": droplet["region"]["slug"],
        "size": droplet["size"]["slug"],
        "backups": "backups" in features,
        "ipv6": "ipv6" in features,
        "monitoring": "monitoring" in features,
        "privateNetworking": "private_networking" in features,
        "publicNetworking": public is not None,
        "tags": [tag for tag in droplet.get("tags") or [] if tag],
        "vpcUuid": droplet.get("vpc_uuid"),
        "createdAt": droplet.get("created_at"),
        "disk": droplet["disk"],
        "dropletUrn": f"do:droplet:{droplet['id']}",
        "ipv4Address": public,
        "ipv4AddressPrivate": _address(droplet, "v4", "private"),
        "ipv6Address": (_address(droplet, "v6", "public") or "").lower(),
        "locked": droplet["locked"],
        "memory": droplet["memory"],
        "priceHourly": droplet["size"]["price_hourly"],
        "priceMonthly": droplet["size"]["price_monthly"],
        "status": droplet["status"],
        "vcpus": droplet["vcpus"],
        "volumeIds": droplet.get("volume_ids") or [],
    }


def _wait_for_status(op: Operation, id_: str, wanted: str, pending: str, *, timeout: float) -> Properties:
    def probe() -> tuple[str, Properties | None]:
        droplet: Properties = op.call("GET", "droplets", id_)["droplet"]
        state = f"status={droplet['status']}" + (" locked" if droplet["locked"] else "")
        if droplet["locked"]:
            return state, None
        if droplet["status"] not in (wanted, pending):
            raise ProviderError(f"unexpected status {droplet['status']!r} of Droplet {id_}, wanted {wanted!r}")
        return state, droplet if droplet["status"] == wanted else None

    return op.wait_for(f"Droplet {id_} to be {wanted}", probe, timeout=timeout)


def _act(op: Operation, id_: str, body: Properties) -> None:
    action = op.call("POST", "droplets", id_, "actions", body=body)["action"]

    def probe() -> tuple[str, bool | None]:
        current = op.call("GET", "actions", action["id"])["action"]
        if current["status"] == "errored":
            raise ProviderError(f"action {body['type']} of Droplet {id_} failed")
        return f"status={current['status']}", True if current["status"] == "completed" else None

    op.wait_for(f"{body['type']} of Droplet {id_}", probe, timeout=SCHEMA.default_timeouts["update"])


def create(op: Operation, inputs: Properties) -> Properties:
    """Create and wait until it is active, which is not until cloud-init is done."""
    image = inputs["image"]
    body: dict[str, Any] = {
        "name": inputs["name"],
        "size": inputs["size"].lower(),
        "image": int(image) if image.isdigit() else image,
        "region": inputs.get("region", "").lower(),
        "ssh_keys": [int(key) if key.isdigit() else key for key in sets.members(inputs.get("sshKeys"))] or None,
        "backups": inputs["backups"],
        "ipv6": inputs["ipv6"],
        "private_networking": False,  # deprecated; godo sends it
        "monitoring": inputs["monitoring"],
        "tags": sets.tags(inputs.get("tags")),
    }
    optional = {
        "userData": "user_data",
        "vpcUuid": "vpc_uuid",
        "dropletAgent": "with_droplet_agent",
    }
    body |= {key: inputs[name] for name, key in optional.items() if inputs.get(name) is not None}
    if inputs.get("publicNetworking") is False:
        body["public_networking"] = False
    droplet = op.call("POST", "droplets", body=body)["droplet"]
    op.keep(str(droplet["id"]))
    return _properties(_wait_for_status(op, op.id, "active", "new", timeout=SCHEMA.default_timeouts["create"]))


def read(op: Operation, id_: str, state: Properties) -> Properties | None:
    """Return the Droplet, or None when it is gone."""
    reply = op.find("GET", "droplets", id_)
    if reply is None:
        return None
    properties = _properties(reply["droplet"])
    if not state:  # an import, the one time that the image is read
        image = reply["droplet"].get("image") or {}
        properties |= {"image": image.get("slug") or str(image.get("id", "")), "resizeDisk": True}
    return properties


def update(op: Operation, id_: str, state: Properties, inputs: Properties, changed: set[str]) -> None:
    """Resize, rename, tag in place; with nothing changed, finish an interrupted creation."""
    if not changed:
        _wait_for_status(op, id_, "active", "new", timeout=SCHEMA.default_timeouts["create"])
    if "size" in changed:
        _resize(op, id_, inputs)
    if "name" in changed:
        _act(op, id_, {"type": "rename", "name": inputs["name"]})
    if "backups" in changed:
        _act(op, id_, {"type": "enable_backups" if inputs["backups"] else "disable_backups"})
    if "ipv6" in changed and inputs["ipv6"]:
        _act(op, id_, {"type": "enable_ipv6"})
    if "tags" in changed:
        retag(op, id_, "droplet", state.get("tags", []), inputs.get("tags", []))


def _power_on(op: Operation, id_: str) -> None:
    op.call("POST", "droplets", id_, "actions", body={"type": "power_on"})
    _wait_for_status(op, id_, "active", "off", timeout=SCHEMA.default_timeouts["update"])


def _resize(op: Operation, id_: str, inputs: Properties) -> None:
    try:
        op.call("POST", "droplets", id_, "actions", body={"type": "power_off"})
    except ApiError as error:
        if "already powered off" not in error.message:
            raise
    _wait_for_status(op, id_, "off", "active", timeout=SCHEMA.default_timeouts["update"])
    try:
        _act(op, id_, {"type": "resize", "disk": inputs["resizeDisk"], "size": inputs["size"].lower()})
    except ApiError:
        _power_on(op, id_)  # a refused plan must not leave the site down
        raise
    _power_on(op, id_)


def delete(op: Operation, id_: str, state: Properties) -> None:
    """Wait until no action holds the Droplet, delete it, wait until it is gone."""
    timeout = SCHEMA.default_timeouts["delete"]

    def unlocked() -> tuple[str, str | None]:
        reply = op.find("GET", "droplets", id_)
        if reply is None:
            return "gone", "gone"
        return "locked by an action", None if reply["droplet"]["locked"] else "unlocked"

    def gone() -> tuple[str, bool | None]:
        reply = op.find("GET", "droplets", id_)
        return ("gone", True) if reply is None else (f"status={reply['droplet']['status']}", None)

    if op.wait_for(f"Droplet {id_} to be unlocked", unlocked, timeout=timeout) == "gone":
        return
    if state.get("gracefulShutdown"):
        op.call("POST", "droplets", id_, "actions", body={"type": "shutdown"})
        _wait_for_status(op, id_, "off", "active", timeout=timeout)
    op.find("DELETE", "droplets", id_)
    op.wait_for(f"Droplet {id_} to be gone", gone, timeout=timeout)
