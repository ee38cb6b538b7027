"""Spaces at depth `api`: names, keys, signatures, grants and public objects, by boto3 and without credentials."""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.api_client import Api, Body


def key(api: Api, *grants: tuple[str, str]) -> Body:
    """Create a key with grants of (bucket, permission)."""
    body = {"name": "key", "grants": [{"bucket": name, "permission": permission} for name, permission in grants]}
    created: Body = api.client.spaces_key.create(body)["key"]
    return created


def test_secret_is_answered_once(api: Api) -> None:
    """Only the creation shows it; grants keep their order."""
    created = key(api, ("b", "read"), ("a", "readwrite"))
    shown = api.client.spaces_key.get(created["access_key"])["key"]
    assert created["secret_key"]
    assert shown == {name: value for name, value in created.items() if name != "secret_key"}
    assert [grant["bucket"] for grant in shown["grants"]] == ["b", "a"]


def test_grants_are_checked(api: Api) -> None:
    """Full access stands alone; the others need a bucket."""
    for grants, status in (
        ([{"bucket": "", "permission": "read"}], 422),
        ([{"bucket": "a", "permission": "fullaccess"}], 400),
        ([{"bucket": "", "permission": "fullaccess"}, {"bucket": "a", "permission": "read"}], 400),
        ([{"bucket": "a", "permission": "admin"}], 422),
    ):
        response = api.post("/v2/spaces/keys", {"name": "key", "grants": grants})
        assert response.status_code == status, grants


def test_keys_can_do_what_their_grants_say(api: Api) -> None:
    """Read reads, readwrite writes objects and configures nothing, the rest is closed; a revoked key is unknown."""
    for name in ("one", "two", "other"):
        api.bucket(name)
        api.s3().put_object(Bucket=name, Key="file name+.txt", Body=b"x")
    limited = key(api, ("one", "read"), ("two", "readwrite"))
    s3 = api.s3(limited["access_key"], limited["secret_key"])

    assert s3.get_object(Bucket="one", Key="file name+.txt")["Body"].read() == b"x"
    assert s3.list_objects_v2(Bucket="one")["KeyCount"] == 1
    s3.put_object(Bucket="two", Key="new", Body=b"y")
    s3.delete_object(Bucket="two", Key="new")
    calls: tuple[Callable[[], object], ...] = (
        lambda: s3.put_object(Bucket="one", Key="new", Body=b"y"),
        lambda: s3.delete_object(Bucket="one", Key="file name+.txt"),
        lambda: s3.get_object(Bucket="other", Key="file name+.txt"),
        lambda: s3.put_bucket_versioning(Bucket="two", VersioningConfiguration={"Status": "Enabled"}),
        lambda: s3.create_bucket(Bucket="mine"),
        lambda: s3.delete_bucket(Bucket="two"),
    )
    for refused in calls:
        with pytest.raises(ClientError, match="AccessDenied"):
            refused()
    api.client.spaces_key.delete(limited["access_key"])
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        s3.list_objects_v2(Bucket="one")


def test_signatures_are_verified(api: Api) -> None:
    """A wrong secret opens nothing."""
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        api.s3(secret_key="wrong").list_buckets()


def test_signed_urls_open_private_objects(api: Api) -> None:
    """A signed URL works without credentials; a changed or bare one does not."""
    api.bucket("media")
    api.s3().put_object(Bucket="media", Key="a/photo.png", Body=b"png")
    url = api.s3().generate_presigned_url("get_object", Params={"Bucket": "media", "Key": "a/photo.png"})
    with api.browser() as browser:
        assert browser.get(url).content == b"png"
        assert browser.get(url.replace("photo", "other")).status_code == HTTPStatus.FORBIDDEN
        assert browser.get(url.partition("?")[0]).status_code == HTTPStatus.FORBIDDEN


def test_public_objects_are_open_and_on_the_cdn(api: Api) -> None:
    """Only objects with public-read are, and the CDN's name works once its endpoint exists."""
    api.bucket("assets")
    api.s3().put_object(Bucket="assets", Key="site.css", Body=b"css", ACL="public-read")
    api.s3().put_object(Bucket="assets", Key="secret", Body=b"no")
    cdn = "https://assets.nyc3.cdn.digitaloceanspaces.com"
    with api.browser() as browser:
        assert browser.get("https://assets.nyc3.digitaloceanspaces.com/site.css").content == b"css"
        assert browser.get("https://assets.nyc3.digitaloceanspaces.com/secret").status_code == HTTPStatus.FORBIDDEN
        assert browser.get(f"{cdn}/site.css").status_code == HTTPStatus.NOT_FOUND
        api.client.cdn.create_endpoint({"origin": "assets.nyc3.digitaloceanspaces.com", "ttl": 3600})
        assert browser.get(f"{cdn}/site.css").content == b"css"
        assert browser.get(f"{cdn}/secret").status_code == HTTPStatus.FORBIDDEN


def test_buckets_live_in_one_region(api: Api) -> None:
    """The host name's region is the bucket's; another one is an error, and so is looking there."""
    api.bucket("here")
    location: str = api.s3().get_bucket_location(Bucket="here")["LocationConstraint"]
    assert location == "nyc3"
    elsewhere: Any = {"LocationConstraint": "ams3"}
    with pytest.raises(ClientError, match="InvalidLocationConstraint"):
        api.s3().create_bucket(Bucket="there", CreateBucketConfiguration=elsewhere)
    with pytest.raises(ClientError, match=r"404|NoSuchBucket"):
        api.s3(region="ams3").list_objects_v2(Bucket="here")


def test_configuration_of_buckets(api: Api) -> None:
    """What the provider sets is there when it reads, and absent as S3 says it."""
    api.bucket("assets")
    s3 = api.s3()
    rule: Any = {"AllowedMethods": ["GET"], "AllowedOrigins": ["https://polls.example"], "MaxAgeSeconds": 600}
    s3.put_bucket_cors(Bucket="assets", CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket="assets")["CORSRules"] == [rule]
    s3.put_bucket_versioning(Bucket="assets", VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket="assets")["Status"] == "Enabled"
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket="assets")
    s3.put_bucket_versioning(Bucket="assets", VersioningConfiguration={"Status": "Suspended"})


def test_documents_come_back_as_they_were(api: Api) -> None:
    """Bytes, content type and a missing key, as the release protocol needs them."""
    api.bucket("state")
    body = json.dumps({"a": "ü"}).encode()
    api.s3().put_object(Bucket="state", Key="nodes/1.json", Body=body, ContentType="application/json")
    answer = api.s3().get_object(Bucket="state", Key="nodes/1.json")
    assert (answer["Body"].read(), answer["ContentType"]) == (body, "application/json")
    with pytest.raises(api.s3().exceptions.NoSuchKey):
        api.s3().get_object(Bucket="state", Key="nodes/2.json")
