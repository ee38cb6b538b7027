"""SpacesBucketCorsConfiguration: which origins' pages may read a Space."""

from typing import Any

from digitalocean_provider.errors import SpacesError
from digitalocean_provider.operation import Operation
from digitalocean_provider.resources.spaces_bucket import REGIONS, in_region
from digitalocean_provider.schema import REQUIRED, Field, Schema, is_empty, lower
from plugin_base.wire import Properties

# property -> S3's name; the order in which S3 returns list members is not the program's
MEMBERS = {
    "allowedHeaders": "AllowedHeaders",
    "allowedMethods": "AllowedMethods",
    "allowedOrigins": "AllowedOrigins",
    "exposeHeaders": "ExposeHeaders",
    "maxAgeSeconds": "MaxAgeSeconds",
}


def without_order_inside(rules: list[Properties]) -> list[Properties]:
    """Rules are an ordered list; methods, origins and headers in them are sets."""
    return [
        {
            name: sorted(rule[name]) if isinstance(rule[name], list) else rule[name]
            for name in MEMBERS
            if not is_empty(rule.get(name))
        }
        for rule in rules
    ]


SCHEMA = Schema(
    type_name="digitalocean:index/spacesBucketCorsConfiguration:SpacesBucketCorsConfiguration",
    label="CORS configuration of the Spaces bucket",
    fields={
        "bucket": Field(role=REQUIRED),
        "region": Field(role=REQUIRED, replaces=True, normalise=lower, choices=REGIONS),
        "corsRules": Field(role=REQUIRED, normalise=without_order_inside, members=tuple(MEMBERS)),
    },
)


def locate(imported: str) -> tuple[str, Properties]:
    """Turn the id given to `pulumi import` into the resource's own id and what reading needs."""
    region, bucket = in_region("CORS configuration", imported)
    return bucket, {"region": region}


def _put(op: Operation, inputs: Properties) -> None:
    rules: list[dict[str, Any]] = []
    for rule in inputs["corsRules"]:
        entry: dict[str, Any] = {s3: rule[name] for name, s3 in MEMBERS.items() if not is_empty(rule.get(name))}
        rules.append({"MaxAgeSeconds": 0} | entry)  # the official plugin sends a zero
    configuration = {"CORSRules": rules}
    op.spaces(inputs["region"], "put_bucket_cors", Bucket=inputs["bucket"], CORSConfiguration=configuration)


def create(op: Operation, inputs: Properties) -> Properties:
    """Set the bucket's rules."""
    _put(op, inputs)
    op.keep(inputs["bucket"], {"region": inputs["region"]})
    return read(op, op.id, op.known) or {}


def read(op: Operation, id_: str, state: Properties) -> Properties | None:
    """Return the rules. When there are none it fails, as the official plugin does, which never says "deleted" here.

    Source: digitalocean/terraform-provider-digitalocean, spaces/resource_spaces_bucket_cors_configuration.go.
    """
    found = op.spaces(state["region"], "get_bucket_cors", Bucket=id_)
    rules = [{name: rule[s3] for name, s3 in MEMBERS.items() if rule.get(s3)} for rule in found["CORSRules"]]
    return {"bucket": id_, "region": state["region"], "corsRules": rules}


def update(op: Operation, _id: str, _state: Properties, inputs: Properties, _changed: set[str]) -> None:
    """Set the rules again; a new bucket only gets them in addition, as in the official plugin."""
    _put(op, inputs)


def delete(op: Operation, id_: str, state: Properties) -> None:
    """Remove the bucket's rules."""
    try:
        op.spaces(state["region"], "delete_bucket_cors", Bucket=id_)
    except SpacesError as error:
        if error.code != "NoSuchBucket":
            raise
