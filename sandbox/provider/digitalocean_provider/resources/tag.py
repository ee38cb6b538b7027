"""Tag: a name by which firewalls, trusted sources and load balancers find their Droplets."""

from digitalocean_provider.operation import Operation
from digitalocean_provider.schema import COMPUTED, Field, Schema
from plugin_base.wire import Properties

SCHEMA = Schema(
    type_name="digitalocean:index/tag:Tag",
    label="tag",
    fields={
        "name": Field(auto_name=True, replaces=True, length=(1, 255)),
        "totalResourceCount": Field(role=COMPUTED),
        "dropletsCount": Field(role=COMPUTED),
        "imagesCount": Field(role=COMPUTED),
        "volumesCount": Field(role=COMPUTED),
        "volumeSnapshotsCount": Field(role=COMPUTED),
        "databasesCount": Field(role=COMPUTED),
    },
)


def create(op: Operation, inputs: Properties) -> Properties:
    """Create the tag; one that exists already is adopted, as the API does."""
    op.keep(op.call("POST", "tags", body={"name": inputs["name"]})["tag"]["name"])
    return read(op, op.id, {}) or {}


def read(op: Operation, id_: str, _state: Properties) -> Properties | None:
    """Return the tag and how many resources have it, or None when it is gone."""
    reply = op.find("GET", "tags", id_)
    if reply is None:
        return None
    tag = reply["tag"]
    resources = tag["resources"]
    return {
        "name": tag["name"],
        "totalResourceCount": resources["count"],
        "dropletsCount": resources["droplets"]["count"],
        "imagesCount": resources["images"]["count"],
        "volumesCount": resources["volumes"]["count"],
        "volumeSnapshotsCount": resources["volume_snapshots"]["count"],
        "databasesCount": resources["databases"]["count"],
    }


def delete(op: Operation, id_: str, _state: Properties) -> None:
    """Delete the tag; resources lose it."""
    op.find("DELETE", "tags", id_)


def retag(op: Operation, id_: str, type_: str, before: list[str], after: list[str]) -> None:
    """Make a resource's tags equal to `after`; `type_` is "droplet" or "database"."""
    body = {"resources": [{"resource_id": id_, "resource_type": type_}]}
    for name in sorted(set(before) - set(after)):
        op.find("DELETE", "tags", name, "resources", body=body)  # a tag that is gone has left the resource already
    for name in sorted(set(after) - set(before)):
        op.call("POST", "tags", body={"name": name})
        op.call("POST", "tags", name, "resources", body=body)
