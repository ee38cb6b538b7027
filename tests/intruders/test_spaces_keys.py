"""The two Spaces keys of the Droplet, used for what they are not made for; and no key at all."""

import json
from typing import Any

import pytest

from sandbox.machines.machine import Machine
from tests.internet_side import python
from tests.worlds import Deployment

pytestmark = pytest.mark.full

# What a key can do with each bucket's objects, with the bucket itself, and with the account.
TRY = """
owner, own = s3(), s3(access=given["access"], secret=given["secret"])
answer = {}
for role, bucket in given["buckets"].items():
    owner.put_object(Bucket=bucket, Key="intruder/there", Body=b"x")
    objects = {
        "list": code(own.list_objects_v2, Bucket=bucket),
        "read": code(own.get_object, Bucket=bucket, Key="intruder/there"),
        "write": code(own.put_object, Bucket=bucket, Key="intruder/new", Body=b"x"),
        "delete": code(own.delete_object, Bucket=bucket, Key="intruder/there"),
    }
    for name in ("there", "new"):
        owner.delete_object(Bucket=bucket, Key="intruder/" + name)
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    refusals = {
        code(own.put_bucket_cors, Bucket=bucket, CORSConfiguration={"CORSRules": [rule]}),
        code(own.put_bucket_policy, Bucket=bucket, Policy=json.dumps({"Statement": [everybody]})),
        code(own.put_bucket_acl, Bucket=bucket, ACL="public-read"),
        code(own.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}),
        code(own.delete_bucket, Bucket=bucket),
        code(own.create_bucket, Bucket=bucket + "-of-an-intruder"),
    }
    answer[role] = [[name for name, found in objects.items() if found == "OK"], sorted(refusals)]
"""
EVERYTHING = ["list", "read", "write", "delete"]
REFUSED = ["AccessDenied"]


def reach(deployed: Deployment, access: str, secret: str) -> Any:  # noqa: ANN401 - JSON
    """Try a key on every bucket: what works with its objects, and S3's words about everything else."""
    return python(deployed.world, TRY, access=access, secret=secret, buckets=deployed.outputs["buckets"])


def test_the_agents_key_has_what_a_release_needs(deployed: Deployment, web: Machine) -> None:
    """Media are closed to it, a release can't be forged with it, and no bucket's settings are its to change."""
    config = json.loads(web.run(["cat", "/etc/release-agent/config.json"]).stdout)
    assert reach(deployed, config["access_key"], config["secret_key"]) == {
        "assets": [EVERYTHING, REFUSED],
        "media": [[], REFUSED],
        "releases": [["list", "read"], REFUSED],
        "state": [EVERYTHING, REFUSED],
    }


def test_the_apps_key_has_media_only(deployed: Deployment, environment: dict[str, Any]) -> None:
    """Releases, with their environments, reports and static files are closed to it."""
    access, secret = (environment["env"][name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    assert reach(deployed, access, secret) == {
        "assets": [[], REFUSED],
        "media": [EVERYTHING, REFUSED],
        "releases": [[], REFUSED],
        "state": [[], REFUSED],
    }


def test_without_a_key_only_static_files_are_seen(deployed: Deployment) -> None:
    """No bucket can be listed or written, no private object read, neither at Spaces nor at a CDN."""
    answer = python(
        deployed.world,
        """
[static] = s3().list_objects_v2(Bucket=given["assets"], MaxKeys=1, Prefix="static/")["Contents"]
answer = {"static": fetch(f"https://{given['assets']}.nyc3.digitaloceanspaces.com/{static['Key']}")[0]}
for role, bucket in given.items():
    s3().put_object(Bucket=bucket, Key="intruder", Body=b"x")
    at = f"https://{bucket}.nyc3.digitaloceanspaces.com/"
    asked = [fetch(at)[0], fetch(at + "intruder")[0], fetch(at + "new", "PUT", b"x")[0]]
    asked.append(fetch(f"https://{bucket}.nyc3.cdn.digitaloceanspaces.com/intruder")[0])
    s3().delete_object(Bucket=bucket, Key="intruder")
    answer[role] = asked
""",
        **deployed.outputs["buckets"],  # type: ignore[arg-type]
    )
    # Only `assets` has a CDN, and that has no key to open more with.
    without_cdn = [403, 403, 403, 404]
    assert answer == {
        "static": 200,
        "assets": [403, 403, 403, 403],
        "media": without_cdn,
        "releases": without_cdn,
        "state": without_cdn,
    }
