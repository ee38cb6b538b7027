"""The runner's client for Spaces: the account's own keys, one region, S3 as DigitalOcean speaks it."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError

from protocol.document import json_bytes
from provider.actions import ActionError
from sizing.regions import spaces_endpoint

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CLIENT_CONFIG = ClientConfig(
    signature_version="s3v4",
    s3={"addressing_style": "virtual"},
    # Newer clients add checksum trailers to every upload, which S3 servers other than Amazon's may refuse.
    # https://github.com/boto/boto3/issues/4392
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
    retries={"mode": "standard", "max_attempts": 5},
    connect_timeout=10,
    read_timeout=60,
)

FIXES = {
    "AccessDenied": "these keys may not do this: use the account's Spaces keys, not keys limited to some buckets",
    "InvalidAccessKeyId": "check SPACES_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "check SPACES_SECRET_ACCESS_KEY",
    "NoSuchBucket": "if it was deleted by hand, `pulumi refresh` lets the next `pulumi up` make it again",
}


class Credentials(NamedTuple):
    """The account's Spaces keys."""

    access_key: str
    secret_key: str

    def __repr__(self) -> str:
        """Show no key, wherever this is printed."""
        return "Credentials(…)"


def credentials() -> Credentials:
    """Return the runner's Spaces keys from the environment.

    Not from the stack's settings: those of DigitalOcean's provider reach no other one, and what is given to a provider
    as its own is kept in the state.
    """
    access_key, secret_key = os.environ.get("SPACES_ACCESS_KEY_ID"), os.environ.get("SPACES_SECRET_ACCESS_KEY")
    if access_key and secret_key:
        return Credentials(access_key, secret_key)
    raise ActionError(
        "Spaces keys: must be set, found none (or half a pair); export SPACES_ACCESS_KEY_ID and "
        "SPACES_SECRET_ACCESS_KEY (control panel: API, Spaces Keys, full access); digitalocean:spacesAccessId in the "
        "settings reaches DigitalOcean's provider alone"
    )


@cache
def spaces_client(region: str, keys: Credentials) -> "S3Client":
    """Make an S3 client, once: threads may share a client, but not the session that makes it."""
    session = boto3.session.Session(
        aws_access_key_id=keys.access_key, aws_secret_access_key=keys.secret_key, region_name=region
    )
    client: S3Client = session.client("s3", endpoint_url=spaces_endpoint(region), config=CLIENT_CONFIG)
    return client


class Spaces:
    """What the providers do with buckets; every failure is an ActionError that names the bucket and the fix."""

    def __init__(self, region: str, keys: Credentials) -> None:
        self._client = spaces_client(region, keys)

    def exists(self, bucket: str, key: str) -> bool:
        """Tell whether the object is there."""
        with explained("look for", bucket, key):
            try:
                self._client.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                # A HEAD has no body, so botocore knows the status only: 404 is a missing object or bucket.
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:  # noqa: PLR2004
                    return False
                raise
        return True

    def put(self, bucket: str, key: str, body: bytes | IO[bytes], content_type: str) -> None:
        """Write a private object; of a file, little is in memory at once.

        It is one request, and what it writes appears when all of it has arrived: nobody reads half an object.
        """
        with explained("write", bucket, key):
            self._client.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)

    def put_json(self, bucket: str, key: str, document: Any) -> None:  # noqa: ANN401  # any JSON
        """Write a document; the same document is always the same bytes."""
        self.put(bucket, key, json_bytes(document), "application/json")

    def get_json(self, bucket: str, key: str) -> Any:  # noqa: ANN401  # any JSON
        """Read a document, None when there is none."""
        with explained("read", bucket, key):
            try:
                body = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
            except ClientError as error:
                if error.response["Error"]["Code"] == "NoSuchKey":
                    return None
                raise
        try:
            return json.loads(body)
        except ValueError as error:
            raise ActionError(f"{bucket}/{key}: must be JSON, {error}; something else wrote it") from None

    def etags(self, bucket: str, prefix: str) -> dict[str, str]:
        """Return key -> ETag of the objects below a prefix: which have changed is one question."""
        return {item["Key"]: item["ETag"] for item in self._below(bucket, prefix)}

    def newest(self, bucket: str, prefix: str, count: int) -> list[str]:
        """List the keys below a prefix, the newest first."""
        objects = sorted(self._below(bucket, prefix), key=lambda item: item["LastModified"], reverse=True)
        return [item["Key"] for item in objects[:count]]

    def _below(self, bucket: str, prefix: str) -> list[Mapping[str, Any]]:
        with explained("list", bucket, prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return [item for page in pages for item in page.get("Contents", [])]


@contextmanager
def explained(action: str, bucket: str, key: str) -> Iterator[None]:
    """Turn what the S3 client raises into a sentence with a fix."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        fix = FIXES.get(code, "see the status of Spaces, then run the command again")
        raise ActionError(f"{bucket}/{key}: could not {action} it, {error}; {fix}") from None
    except BotoCoreError as error:
        raise ActionError(
            f"{bucket}/{key}: could not {action} it, {error}; check the network, `region` and the proxy variables"
        ) from None
