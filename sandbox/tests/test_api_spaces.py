"""Spaces at depth `api`: names, keys, signatures, grants and public objects, by boto3 and without credentials."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from sandbox.tests.spaces_client import HOST, Raw
from tests.api_client import Api, Body


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


def test_each_host_lists_the_buckets_of_its_region(api: Api) -> None:
    """A name that another region has is taken; a bucket that is there already is no error where it is."""
    api.bucket("here")
    there = api.s3(region="ams3")
    elsewhere: Any = {"LocationConstraint": "ams3"}
    there.create_bucket(Bucket="there", CreateBucketConfiguration=elsewhere)
    assert [bucket["Name"] for bucket in api.s3().list_buckets()["Buckets"]] == ["here"]
    assert [bucket["Name"] for bucket in there.list_buckets()["Buckets"]] == ["there"]
    api.bucket("here")
    with pytest.raises(ClientError, match="BucketAlreadyExists"):
        there.create_bucket(Bucket="here")
    there.delete_bucket(Bucket="there")


def test_policies_of_buckets(api: Api) -> None:
    """One opens what it names to everybody; none, and none of a bucket that is not there, are the provider's errors."""
    api.bucket("media")
    s3 = api.s3()
    s3.put_object(Bucket="media", Key="open/a", Body=b"a")
    s3.put_object(Bucket="media", Key="b", Body=b"b")
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket="media")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.get_bucket_policy(Bucket="unknown")
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.put_bucket_policy(Bucket="unknown", Policy="{}")
    with pytest.raises(ClientError, match="MalformedPolicy"):
        s3.put_bucket_policy(Bucket="media", Policy="{}")
    statement: Body = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    policy = {"Version": "2012-10-17", "Statement": [statement | {"Resource": "arn:aws:s3:::media/open/*"}]}
    s3.put_bucket_policy(Bucket="media", Policy=json.dumps(policy))
    assert json.loads(s3.get_bucket_policy(Bucket="media")["Policy"]) == policy
    base = "https://media.nyc3.digitaloceanspaces.com"
    with api.browser() as browser:
        assert browser.get(f"{base}/open/a").content == b"a"
        assert browser.get(f"{base}/b").status_code == HTTPStatus.FORBIDDEN
        assert browser.put(f"{base}/open/a", content=b"x").status_code == HTTPStatus.FORBIDDEN
        somebody = statement | {"Principal": {"AWS": "arn:aws:iam:::user/x"}, "Resource": "arn:aws:s3:::media/*"}
        s3.put_bucket_policy(Bucket="media", Policy=json.dumps({"Statement": somebody}))
        assert browser.get(f"{base}/b").status_code == HTTPStatus.FORBIDDEN
        s3.delete_bucket_policy(Bucket="media")
        assert browser.get(f"{base}/open/a").status_code == HTTPStatus.FORBIDDEN
    conditional = statement | {"Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.1"}}}
    with pytest.raises(ClientError, match="NotImplemented"):
        s3.put_bucket_policy(Bucket="media", Policy=json.dumps({"Statement": [conditional]}))


def test_an_access_log_goes_to_another_bucket(api: Api) -> None:
    """It is kept and answered as the Terraform provider sets it; none is an empty document."""
    api.bucket("media")
    api.bucket("logs")
    s3 = api.s3()
    target: Any = {"TargetBucket": "logs", "TargetPrefix": "media/"}
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket="media")
    s3.put_bucket_logging(Bucket="media", BucketLoggingStatus={"LoggingEnabled": target})
    assert s3.get_bucket_logging(Bucket="media")["LoggingEnabled"] == target
    for wrong in ("media", "unknown"):
        other: Any = {"LoggingEnabled": target | {"TargetBucket": wrong}}
        with pytest.raises(ClientError, match="InvalidTargetBucketForLogging"):
            s3.put_bucket_logging(Bucket="media", BucketLoggingStatus=other)
    s3.put_bucket_logging(Bucket="media", BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket="media")


def test_signed_urls_of_version_2_and_without_tls(api: Api) -> None:
    """Clients that sign so are served: s3cmd's signed URLs are both."""
    api.bucket("media")
    url = f"/a%20b?{signed_2(api, '/media/a%20b')}"
    api.s3().put_object(Bucket="media", Key="a b", Body=b"text")
    with api.browser() as browser:
        for scheme in ("https", "http"):
            assert browser.get(f"{scheme}://media.nyc3.digitaloceanspaces.com{url}").content == b"text"
        assert (
            browser.get(f"https://media.nyc3.digitaloceanspaces.com/other{url[6:]}").status_code == HTTPStatus.FORBIDDEN
        )


def signed_2(api: Api, resource: str) -> str:
    """Return the query that opens a resource for a minute, by the definition of version 2."""
    expires = int(time.time()) + 60
    text = f"GET\n\n\n{expires}\n{resource}".encode()
    digest = hmac.digest(api.world.spaces_secret_key.encode(), text, "sha1")
    signature = quote(base64.b64encode(digest), safe="")
    return f"AWSAccessKeyId={api.world.spaces_access_key}&Expires={expires}&Signature={signature}"


def test_what_spaces_has_not_is_not_implemented(api: Api) -> None:
    """Neither "not found", nor accepted and ignored; a client that says that it wants no object lock gets none."""
    api.bucket("media")
    s3 = api.s3()
    s3.put_object(Bucket="media", Key="k", Body=b"")
    calls: tuple[Callable[[], object], ...] = (
        lambda: s3.get_bucket_website(Bucket="media"),
        lambda: s3.get_bucket_encryption(Bucket="media"),
        lambda: s3.get_bucket_tagging(Bucket="media"),
        lambda: s3.get_object_lock_configuration(Bucket="media"),
        lambda: s3.get_bucket_notification_configuration(Bucket="media"),
        lambda: s3.get_object_attributes(Bucket="media", Key="k", ObjectAttributes=["ETag"]),
        lambda: s3.put_object(Bucket="media", Key="k", Body=b"", ServerSideEncryption="aws:kms"),
        lambda: s3.put_object(
            Bucket="media", Key="k", Body=b"", SSECustomerAlgorithm="AES256", SSECustomerKey="0" * 32
        ),
        lambda: s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True),
    )
    for refused in calls:
        with pytest.raises(ClientError, match="NotImplemented"):
            refused()
    s3.create_bucket(Bucket="unlocked", ObjectLockEnabledForBucket=False)
    with api.browser() as browser:
        site = browser.get("https://media.nyc3-static.digitaloceanspaces.com/")
    assert site.status_code == HTTPStatus.NOT_IMPLEMENTED


def test_keys_are_taken_as_they_are(api: Api) -> None:
    """Spaces, signs, other alphabets, slashes at every place, dots: written, listed encoded, read, deleted at once."""
    api.bucket("media")
    s3 = api.s3()
    keys = ["a b", "a+b", "a%20b", "ü/日本", "a&b=c;d", "x?y#z", "folder/", "a//b", "/first", "./d", "a/../b", "<\"'>"]
    for name in keys:
        s3.put_object(Bucket="media", Key=name, Body=name.encode())
    for name in keys:
        assert s3.get_object(Bucket="media", Key=name)["Body"].read() == name.encode(), name
        s3.copy_object(Bucket="media", Key=f"copy/{name}", CopySource={"Bucket": "media", "Key": name})
    assert sorted(item["Key"] for item in s3.list_objects_v2(Bucket="media", Prefix="copy/")["Contents"]) == sorted(
        f"copy/{name}" for name in keys
    )
    for listing in (s3.list_objects, s3.list_objects_v2, s3.list_object_versions):
        encoded: Any = listing(Bucket="media", Prefix="ü", Delimiter="/", EncodingType="url")
        assert (encoded["EncodingType"], encoded["Prefix"]) == ("url", "%C3%BC")
        assert encoded["CommonPrefixes"] == [{"Prefix": "%C3%BC%2F"}]
    every: Any = [{"Key": item["Key"]} for item in s3.list_objects_v2(Bucket="media")["Contents"]]
    assert len(s3.delete_objects(Bucket="media", Delete={"Objects": every})["Deleted"]) == len(keys) * 2


def test_digests_are_compared(api: Api) -> None:
    """Of the content, and of chunks that a checksum follows."""
    api.bucket("media")
    put = Raw(method="PUT", host=f"media.{HOST}", path="/k", body=b"text")
    wrong = {
        "content-md5": "XrY7u+Ae7tCTyyK7j1rNww==",
        "x-amz-checksum-crc32": "AAAAAA==",
        "x-amz-checksum-sha256": "eA==",
    }
    for name, value in wrong.items():
        sent = replace(put, headers={name: value}).signed(api, "v4").send(api)
        assert (sent.status, sent.code) == (HTTPStatus.BAD_REQUEST, "BadDigest"), name
    other = replace(put.signed(api, "v4"), body=b"else").send(api)
    assert (other.status, other.code) == (HTTPStatus.BAD_REQUEST, "XAmzContentSHA256Mismatch")
    streaming = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-decoded-content-length": "4"}
    for checksum, expected in (("O4unxw==", HTTPStatus.OK), ("AAAAAA==", HTTPStatus.BAD_REQUEST)):
        body = f"4\r\ntext\r\n0\r\nx-amz-checksum-crc32:{checksum}\r\n\r\n".encode()
        assert replace(put, headers=streaming, body=body).signed(api, "v4").send(api).status == expected
    assert api.s3().get_object(Bucket="media", Key="k")["Body"].read() == b"text"


def test_a_public_bucket_opens_its_list_only(api: Api) -> None:
    """An object is private until it is made public itself: by a word, or by grants as s3cmd writes them."""
    api.bucket("media")
    s3 = api.s3()
    s3.put_bucket_acl(Bucket="media", ACL="public-read")
    s3.put_object(Bucket="media", Key="k", Body=b"text")
    base = "https://media.nyc3.digitaloceanspaces.com"
    with api.browser() as browser:
        assert b"<Key>k</Key>" in browser.get(base).content
        assert browser.get(f"{base}?acl").status_code == HTTPStatus.FORBIDDEN
        assert browser.get(f"{base}/k").status_code == HTTPStatus.FORBIDDEN
        assert browser.get(f"{base}/none").status_code == HTTPStatus.NOT_FOUND
        grant: Any = {
            "Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"},
            "Permission": "READ",
        }
        owner: Any = s3.get_object_acl(Bucket="media", Key="k")["Owner"]
        s3.put_object_acl(Bucket="media", Key="k", AccessControlPolicy={"Grants": [grant], "Owner": owner})
        assert browser.get(f"{base}/k").content == b"text"


def test_copies_need_the_right_to_read_and_stay_in_the_region(api: Api) -> None:
    """A key that may write here reads nothing elsewhere by copying it."""
    for name in ("secret", "mine"):
        api.bucket(name)
        api.s3().put_object(Bucket=name, Key="k", Body=b"text")
    limited = key(api, ("mine", "readwrite"))
    s3 = api.s3(limited["access_key"], limited["secret_key"])
    s3.copy_object(Bucket="mine", Key="copy", CopySource={"Bucket": "mine", "Key": "k"})
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.copy_object(Bucket="mine", Key="stolen", CopySource={"Bucket": "secret", "Key": "k"})
    far = api.s3(region="ams3")
    elsewhere: Any = {"LocationConstraint": "ams3"}
    far.create_bucket(Bucket="far", CreateBucketConfiguration=elsewhere)
    with pytest.raises(ClientError, match="NoSuchBucket"):
        far.copy_object(Bucket="far", Key="k", CopySource={"Bucket": "mine", "Key": "k"})
    far.delete_bucket(Bucket="far")


def test_cors_is_the_first_rule_that_fits(api: Api) -> None:
    """Of a preflight and of the request itself, errors included; a page that no rule names learns nothing."""
    api.bucket("media")
    rules: Any = [
        {"AllowedMethods": ["PUT"], "AllowedOrigins": ["https://*.example"], "AllowedHeaders": ["content-*"]},
        {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 5},
    ]
    api.s3().put_bucket_cors(Bucket="media", CORSConfiguration={"CORSRules": rules})

    def asked(origin: str, method: str, names: str = "") -> tuple[int, str | None]:
        headers = {"Origin": origin, "Access-Control-Request-Method": method}
        headers |= {"Access-Control-Request-Headers": names} if names else {}
        answer = browser.options("https://media.nyc3.digitaloceanspaces.com/k", headers=headers)
        return answer.status_code, answer.headers.get("access-control-allow-methods")

    with api.browser() as browser:
        assert asked("https://www.example", "PUT", "content-type") == (HTTPStatus.OK, "PUT")
        assert asked("https://www.example", "PUT", "x-amz-acl") == (HTTPStatus.FORBIDDEN, None)
        assert asked("https://other.test", "PUT") == (HTTPStatus.FORBIDDEN, None)
        assert asked("https://other.test", "GET") == (HTTPStatus.OK, "GET")
        answer = browser.get("https://media.nyc3.digitaloceanspaces.com/k", headers={"Origin": "https://other.test"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (HTTPStatus.FORBIDDEN, "*")
        assert answer.headers["access-control-expose-headers"] == "ETag"


def test_an_object_keeps_where_a_website_would_lead(api: Api) -> None:
    """The provider's website_redirect is kept and answered; no website follows it."""
    api.bucket("media")
    api.s3().put_object(Bucket="media", Key="k", Body=b"", WebsiteRedirectLocation="https://other.example/")
    for answer in (api.s3().head_object(Bucket="media", Key="k"), api.s3().get_object(Bucket="media", Key="k")):
        assert answer["WebsiteRedirectLocation"] == "https://other.example/"


def test_documents_come_back_as_they_were(api: Api) -> None:
    """Bytes, content type and a missing key, as the release protocol needs them."""
    api.bucket("state")
    body = json.dumps({"a": "ü"}).encode()
    api.s3().put_object(Bucket="state", Key="nodes/1.json", Body=body, ContentType="application/json")
    answer = api.s3().get_object(Bucket="state", Key="nodes/1.json")
    assert (answer["Body"].read(), answer["ContentType"]) == (body, "application/json")
    with pytest.raises(api.s3().exceptions.NoSuchKey):
        api.s3().get_object(Bucket="state", Key="nodes/2.json")
