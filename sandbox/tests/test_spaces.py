"""Spaces of a full world, used from the internet side as boto3 uses the real ones."""

import os
import secrets
import time
from collections.abc import Iterator

import pytest

from sandbox.world.supervisor import Supervisor
from sandbox.world.world import World
from tests.internet_side import python

pytestmark = pytest.mark.full

KILL_DEADLINE = 60.0  # seconds


@pytest.fixture(scope="module")
def bucket(full_world: World) -> Iterator[str]:
    """A bucket in nyc3 with one private and one public object."""
    name = f"spaces-{secrets.token_hex(4)}"
    python(
        full_world,
        """
s3().create_bucket(Bucket=given["bucket"])
s3().put_object(Bucket=given["bucket"], Key="private", Body=b"private")
s3().put_object(Bucket=given["bucket"], Key="public", Body=b"public", ACL="public-read")
answer = None
""",
        bucket=name,
    )
    yield name
    python(
        full_world,
        """
for item in s3().list_objects_v2(Bucket=given["bucket"]).get("Contents", []):
    s3().delete_object(Bucket=given["bucket"], Key=item["Key"])
s3().delete_bucket(Bucket=given["bucket"])
answer = None
""",
        bucket=name,
    )


def test_a_bucket_is_where_it_was_asked_for(full_world: World, bucket: str) -> None:
    """The location constraint is the region's slug; a region refuses another region's."""
    answer = python(
        full_world,
        """
refused = code(s3("nyc3").create_bucket, Bucket=given["bucket"] + "x",
               CreateBucketConfiguration={"LocationConstraint": "ams3"})
answer = [s3().get_bucket_location(Bucket=given["bucket"])["LocationConstraint"], refused]
""",
        bucket=bucket,
    )
    assert answer == ["nyc3", "InvalidLocationConstraint"]


def test_another_region_starts_at_its_first_request(full_world: World, bucket: str) -> None:
    """Region sfo3 is not running, yet a bucket can be made there at once, and it is in no other region."""
    assert "rgw-sfo3" not in {status.name for status in Supervisor(full_world).status()}
    answer = python(
        full_world,
        """
there = s3("sfo3")
there.create_bucket(Bucket=given["bucket"] + "-sfo3")
names = [[b["Name"] for b in client.list_buckets()["Buckets"] if b["Name"].startswith(given["bucket"])]
         for client in (there, s3("nyc3"))]
there.delete_bucket(Bucket=given["bucket"] + "-sfo3")
answer = names
""",
        bucket=bucket,
    )
    assert answer == [[f"{bucket}-sfo3"], [bucket]]
    assert "rgw-sfo3" in {status.name for status in Supervisor(full_world).status()}


def test_only_public_objects_open_without_a_signature(full_world: World, bucket: str) -> None:
    """A public-read object is 200 for anybody; a private one is 403, and opens by signed URL."""
    answer = python(
        full_world,
        """
base = "https://" + given["bucket"] + ".nyc3.digitaloceanspaces.com/"
signed = s3().generate_presigned_url("get_object", Params={"Bucket": given["bucket"], "Key": "private"})
answer = [[status, text if status == 200 else ""] for status, _, text in
          (fetch(base + "public"), fetch(base + "private"), fetch(signed), fetch(signed + "0"))]
""",
        bucket=bucket,
    )
    assert answer == [[200, "public"], [403, ""], [200, "private"], [403, ""]]


@pytest.mark.parametrize(
    ("permission", "expected"),
    [
        ("read", {"get": "OK", "put": "AccessDenied", "acl": "AccessDenied", "delete": "AccessDenied"}),
        ("readwrite", {"get": "OK", "put": "OK", "acl": "OK", "delete": "OK"}),
    ],
)
def test_a_limited_key_does_what_it_was_granted(
    full_world: World, bucket: str, permission: str, expected: dict[str, str]
) -> None:
    """Each permission allows its calls on its bucket, and never CORS, another bucket or a new bucket."""
    answer = python(
        full_world,
        """
s3().create_bucket(Bucket=given["bucket"] + "-other")
s3().put_object(Bucket=given["bucket"] + "-other", Key="k", Body=b"")
key = api("POST", "/v2/spaces/keys",
          {"name": "limited", "grants": [{"bucket": given["bucket"], "permission": given["permission"]}]})["key"]
mine, b = s3(access=key["access_key"], secret=key["secret_key"]), given["bucket"]
cors = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
answer = {
    "get": code(mine.get_object, Bucket=b, Key="private"),
    "put": code(mine.put_object, Bucket=b, Key="new", Body=b"new"),
    "acl": code(mine.put_object, Bucket=b, Key="new", Body=b"new", ACL="public-read"),
    "account reads": code(s3().get_object, Bucket=b, Key="new"),
    "delete": code(mine.delete_object, Bucket=b, Key="new"),
    "cors": code(mine.put_bucket_cors, Bucket=b, CORSConfiguration=cors),
    "other": code(mine.get_object, Bucket=b + "-other", Key="k"),
    "create": code(mine.create_bucket, Bucket=b + "-third"),
}
api("DELETE", "/v2/spaces/keys/" + key["access_key"])
answer["revoked"] = code(mine.get_object, Bucket=b, Key="private")
s3().delete_object(Bucket=b + "-other", Key="k")
s3().delete_bucket(Bucket=b + "-other")
""",
        bucket=bucket,
        permission=permission,
    )
    always = {"cors": "AccessDenied", "other": "AccessDenied", "create": "AccessDenied"}
    written = {"account reads": "OK" if permission == "readwrite" else "NoSuchKey"}
    assert answer == expected | always | written | {"revoked": "InvalidAccessKeyId"}


def test_a_key_loses_and_gets_grants(full_world: World, bucket: str) -> None:
    """A key may begin without any, and does nothing then; it goes from one bucket to the account and back."""
    answer = python(
        full_world,
        """
b = given["bucket"]
key = api("POST", "/v2/spaces/keys", {"name": "changing", "grants": []})["key"]
mine = s3(access=key["access_key"], secret=key["secret_key"])
def outcome(*grants):
    api("PUT", "/v2/spaces/keys/" + key["access_key"], {"name": "changing", "grants": list(grants)})
    return [code(mine.get_object, Bucket=b, Key="private"), code(mine.get_bucket_acl, Bucket=b)]
read, full = {"bucket": b, "permission": "read"}, {"bucket": "", "permission": "fullaccess"}
answer = [code(mine.get_object, Bucket=b, Key="private"), *(outcome(*g) for g in ([read], [], [], [full], [read]))]
api("DELETE", "/v2/spaces/keys/" + key["access_key"])
""",
        bucket=bucket,
    )
    denied, limited, unlimited = ["AccessDenied", "AccessDenied"], ["OK", "AccessDenied"], ["OK", "OK"]
    assert answer == ["AccessDenied", limited, denied, denied, unlimited, limited]


def test_a_key_works_in_a_region_that_starts_after_it_was_made(full_world: World) -> None:
    """Keys belong to the account, so a gateway that starts later knows them."""
    answer = python(
        full_world,
        """
key = api("POST", "/v2/spaces/keys", {"name": "all", "grants": [{"bucket": "", "permission": "fullaccess"}]})["key"]
answer = code(s3("lon1", key["access_key"], key["secret_key"]).list_buckets)
api("DELETE", "/v2/spaces/keys/" + key["access_key"])
""",
    )
    assert answer == "OK"


def test_the_account_reads_what_limited_keys_write_whatever_keys_come_and_go(full_world: World, bucket: str) -> None:
    """The bucket is the account's; the gateway forgot that once when an account-wide key was made or revoked."""
    answer = python(
        full_world,
        """
b = given["bucket"]
limited = {"name": "one", "grants": [{"bucket": b, "permission": "readwrite"}]}
one = api("POST", "/v2/spaces/keys", limited)["key"]
s3(access=one["access_key"], secret=one["secret_key"]).put_object(Bucket=b, Key="report", Body=b"1")
answer = [code(s3().get_object, Bucket=b, Key="report")]
wide = api("POST", "/v2/spaces/keys", {"name": "all", "grants": [{"bucket": "", "permission": "fullaccess"}]})["key"]
answer.append(code(s3().get_object, Bucket=b, Key="report"))
api("DELETE", "/v2/spaces/keys/" + wide["access_key"])
answer.append(code(s3().get_object, Bucket=b, Key="report"))
api("DELETE", "/v2/spaces/keys/" + one["access_key"])
answer.append(code(s3().get_object, Bucket=b, Key="report"))
""",
        bucket=bucket,
    )
    assert answer == ["OK"] * 4


def test_objects_survive_a_kill_of_every_storage_process(full_world: World, bucket: str) -> None:
    """After SIGKILL to monitor, disk and gateways, the supervisor starts them again and the data is there."""
    for status in Supervisor(full_world).status():
        if status.name.startswith(("ceph-", "rgw-")):
            os.kill(status.pid, 9)
    deadline = time.monotonic() + KILL_DEADLINE
    read = """
status, _, text = fetch("https://" + given["bucket"] + ".nyc3.digitaloceanspaces.com/public")
answer = [status, text]
"""
    while (last := python(full_world, read, bucket=bucket)) != [200, "public"]:
        if time.monotonic() > deadline:
            pytest.fail(f"object is not back after {KILL_DEADLINE:.0f} s, last answer {last}")
        time.sleep(0.2)
