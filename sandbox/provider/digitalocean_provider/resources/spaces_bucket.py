"""SpacesBucket: a Space."""

from typing import Any

from digitalocean_provider.errors import ProviderError, SpacesError
from digitalocean_provider.operation import Operation
from digitalocean_provider.schema import COMPUTED, Field, Schema, is_empty, lower
from plugin_base.wire import Properties

NOT_FOUND = 404
BATCH = 1000  # keys per delete request: S3's limit

# terraform-provider-digitalocean v2.99.1, spaces_buckets.go; compared without case.
REGIONS = ("ams3", "atl1", "blr1", "fra1", "lon1", "nyc3", "sfo2", "sfo3", "sgp1", "syd1", "tor1")


def versioning_enabled(value: Properties) -> bool:
    """No block and a disabled one are the same."""
    return bool(value.get("enabled")) if isinstance(value, dict) else False


SCHEMA = Schema(
    type_name="digitalocean:index/spacesBucket:SpacesBucket",
    label="Spaces bucket",
    fields={
        # The official plugin neither replaces nor renames: a new name only changes the state. Programs guard
        # themselves with replace_on_changes=["name"].
        "name": Field(auto_name=True, unread=True),
        "region": Field(replaces=True, default="nyc3", normalise=lower, choices=REGIONS),
        "acl": Field(default="private", unread=True),
        "forceDestroy": Field(default=False, unread=True),
        "versioning": Field(normalise=versioning_enabled),
        "bucketDomainName": Field(role=COMPUTED),
        "bucketUrn": Field(role=COMPUTED),
        "endpoint": Field(role=COMPUTED),
    },
    default_timeouts={"create": 300},
)


def in_region(kind: str, imported: str) -> tuple[str, str]:
    """Split the id that `pulumi import` takes for a bucket and its parts."""
    region, _, name = imported.partition(",")
    if not region or not name:
        raise ProviderError(f"{kind} to import: must be the region and the bucket, `region,name`, got {imported!r}")
    return region, name


def locate(imported: str) -> tuple[str, Properties]:
    """Turn the id given to `pulumi import` into the resource's own id and what reading needs."""
    region, name = in_region("Spaces bucket", imported)
    return name, {"region": region, "name": name}


def create(op: Operation, inputs: Properties) -> Properties:
    """Create the bucket, wait until it is there, set what it has besides."""
    region, name = inputs["region"], inputs["name"]

    def attempt() -> tuple[str, bool | None]:
        try:
            op.spaces(region, "create_bucket", Bucket=name, ACL=inputs["acl"])
        except SpacesError as error:
            if error.code == "OperationAborted":  # another operation on this name is in progress
                return str(error), None
            raise
        return "created", True

    def there() -> tuple[str, bool | None]:
        return ("there", True) if _exists(op, region, name) else ("not found yet", None)

    op.wait_for(f"bucket {name}", attempt, timeout=SCHEMA.default_timeouts["create"])
    op.keep(name, {"region": region, "name": name})
    op.wait_for(f"bucket {name}", there, timeout=SCHEMA.default_timeouts["create"])
    _configure(op, name, inputs, {"acl"} | ({"versioning"} if not is_empty(inputs.get("versioning")) else set()))
    return read(op, op.id, op.known | {"versioning": inputs.get("versioning")}) or {}


def _configure(op: Operation, name: str, inputs: Properties, changed: set[str]) -> None:
    region = inputs["region"]
    if "acl" in changed:
        op.spaces(region, "put_bucket_acl", Bucket=name, ACL=inputs["acl"])
    if "versioning" in changed:
        status = "Enabled" if versioning_enabled(inputs.get("versioning", {})) else "Suspended"
        op.spaces(region, "put_bucket_versioning", Bucket=name, VersioningConfiguration={"Status": status})


def _exists(op: Operation, region: str, name: str) -> bool:
    try:
        op.spaces(region, "head_bucket", Bucket=name)
    except SpacesError as error:
        if error.status == NOT_FOUND:
            return False
        raise
    return True


def read(op: Operation, id_: str, state: Properties) -> Properties | None:
    """Return the bucket, or None when it is gone. Who may read it (acl) is not asked, as in the official plugin."""
    region = state["region"]
    if not _exists(op, region, id_):
        return None
    region = op.spaces(region, "get_bucket_location", Bucket=id_).get("LocationConstraint") or region
    versioning = op.spaces(region, "get_bucket_versioning", Bucket=id_).get("Status") == "Enabled"
    name = state.get("name", id_)
    return {
        "name": name,
        "region": region,
        "versioning": {"enabled": versioning},
        "bucketDomainName": f"{name}.{region}.digitaloceanspaces.com",
        "bucketUrn": f"do:space:{name}",
        "endpoint": f"{region}.digitaloceanspaces.com",
    }


def update(op: Operation, id_: str, _state: Properties, inputs: Properties, changed: set[str]) -> None:
    """Change access and versioning; with nothing changed, finish an interrupted creation."""
    _configure(op, id_, inputs, changed or {"acl"} | ({"versioning"} if inputs.get("versioning") else set()))


def delete(op: Operation, id_: str, state: Properties) -> None:
    """Delete the bucket; with forceDestroy also everything in it."""
    region = state["region"]

    def attempt() -> tuple[str, bool | None]:
        try:
            op.spaces(region, "delete_bucket", Bucket=id_)
        except SpacesError as error:
            if error.code == "BucketNotEmpty" and state.get("forceDestroy"):
                return f"{_empty(op, region, id_)} objects deleted", None
            if error.code != "NoSuchBucket":
                raise
        return "deleted", True

    op.wait_for(f"bucket {id_} to be empty", attempt, timeout=600)


def _empty(op: Operation, region: str, name: str) -> int:
    """Delete one page of versions, markers and objects and return how many they were."""
    page: dict[str, Any] = op.spaces(region, "list_object_versions", Bucket=name, MaxKeys=BATCH)
    found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
    keys = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]
    if not keys:
        listed = op.spaces(region, "list_objects_v2", Bucket=name, MaxKeys=BATCH)
        keys = [{"Key": item["Key"]} for item in listed.get("Contents", [])]
    if keys:
        reply = op.spaces(region, "delete_objects", Bucket=name, Delete={"Objects": keys, "Quiet": True})
        for problem in reply.get("Errors", []):
            raise ProviderError(f"{name}/{problem['Key']}: {problem['Code']} {problem.get('Message', '')}")
    return len(keys)
