"""What S3 clients send to Spaces is understood: one request of each shape of each client, signed again and sent."""

import base64
import contextlib
import hashlib
import json
import re
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from sandbox.tests.spaces_client import HOST, Raw
from tests.api_client import Api

# Recorded from aws 1.46, boto3 1.44, s3cmd 2.4, minio-py 7.2, rclone, and what a browser does with signed URLs and
# CORS: BUCKET and OTHER exist, NOBUCKET doesn't. The status is the right one; what aws and boto3 both send is boto3's.
RECORDED = [json.loads(line) for line in (Path(__file__).parent / "spaces_requests.jsonl").read_text().splitlines()]
CONTENT = b"0123456789"
BUCKETS = {"BUCKET": "recorded-one", "OTHER": "recorded-two", "NOBUCKET": "recorded-none"}
CORS: Any = {
    "CORSRules": [
        {"AllowedMethods": ["PUT"], "AllowedOrigins": ["https://w.example"], "AllowedHeaders": ["*"]},
        {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]},
    ]
}
POLICY = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::recorded-one/x/*"}
LIFECYCLE: Any = {"Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]}


class Replay:
    """Makes what a recorded request needs to find, and sends it again."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.s3 = api.plain_s3()
        self.values: dict[str, str] = {}  # what stands for a name of the recording
        self.query: dict[str, str] = {}

    def status(self, line: dict[str, Any]) -> tuple[int, str]:
        """Send a recorded request; the status and the code of the answer."""
        self.values = BUCKETS | {"LATER": format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)}
        self.query = dict(map(tuple, line["query"]))
        self._prepare(line)
        virtual = line["style"] == "virtual"
        bucket = self._now(line["bucket"])
        body, headers = self._content(line)
        raw = Raw(
            method=line["method"],
            host=f"{bucket}.{HOST}" if virtual else HOST,
            path=f"/{line['key']}" if virtual else f"/{bucket}" + (f"/{line['key']}" if line["key"] else ""),
            query=[(name, self._now(value)) for name, value in line["query"]],
            headers=headers,
            body=body,
        )
        sent = raw.signed(self.api, line["sign"], path_style=not virtual).send(self.api)
        if line["method"] not in {"GET", "HEAD"} or line["status"] == HTTPStatus.NOT_FOUND:
            self.forget()
        return sent.status, sent.code

    def _now(self, text: str) -> str:
        return re.sub("|".join(self.values), lambda match: self.values[match[0]], text)

    def forget(self) -> None:
        """Delete the buckets, with all that they have and are."""
        for name in (BUCKETS["BUCKET"], BUCKETS["OTHER"]):
            with contextlib.suppress(self.s3.exceptions.NoSuchBucket):
                listed = self.s3.list_object_versions(Bucket=name)
                for item in (*listed.get("Versions", []), *listed.get("DeleteMarkers", [])):
                    self.s3.delete_object(Bucket=name, Key=item["Key"], VersionId=item["VersionId"])
                self.s3.delete_bucket(Bucket=name)

    def _prepare(self, line: dict[str, Any]) -> None:
        absent = line["status"] == HTTPStatus.NOT_FOUND
        if absent:
            self.forget()
        self.s3.create_bucket(Bucket=BUCKETS["OTHER"])
        whole = not line["key"] and not self.query.keys() & {"policy", "cors", "lifecycle"}
        if not (line["method"] == "PUT" and whole and not line["query"]) and not (absent and whole):
            self.s3.create_bucket(Bucket=BUCKETS["BUCKET"])
        if not absent:
            self._configure(line)
            if line["key"]:
                self._object(line)

    def _configure(self, line: dict[str, Any]) -> None:
        bucket = self._now(line["bucket"])
        if "cors" in self.query or line["method"] == "OPTIONS" or "origin" in line["headers"]:
            self.s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=CORS)
        if "policy" in self.query:
            policy = json.dumps({"Version": "2012-10-17", "Statement": [POLICY]})
            self.s3.put_bucket_policy(Bucket=bucket, Policy=policy)
        if "lifecycle" in self.query:
            self.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=LIFECYCLE)
        if line["sign"] == "none" and not line["key"]:
            self.s3.put_bucket_acl(Bucket=bucket, ACL="public-read")

    def _object(self, line: dict[str, Any]) -> None:
        bucket, key = self._now(line["bucket"]), self._key(line["key"])
        if self.query.get("versionId") == "VERSION":
            self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        if line["headers"].get("if-none-match") != "*":
            acl: Any = "public-read" if line["sign"] == "none" else "private"
            made = self.s3.put_object(Bucket=bucket, Key=key, Body=CONTENT, ACL=acl)
            self.values |= {"ETAG": made["ETag"], "VERSION": made.get("VersionId", "")}
        if "uploadId" in self.query:
            upload = self.s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
            part = self.s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=CONTENT)
            self.values |= {"UPLOAD": upload, "ETAG": part["ETag"]}
        if "x-amz-copy-source" in line["headers"]:
            of, _, name = self._now(line["headers"]["x-amz-copy-source"]).removeprefix("/").partition("/")
            content = CONTENT * (2_000_000 if "x-amz-copy-source-range" in line["headers"] else 1)
            self.values["ETAG"] = self.s3.put_object(Bucket=of, Key=self._key(name), Body=content)["ETag"]

    def _key(self, encoded: str) -> str:
        return re.sub(r"%(..)", lambda match: chr(int(match[1], 16)), encoded).encode("latin-1").decode()

    def _content(self, line: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
        body = self._now(line.get("body", "")).encode()
        digests = {
            "content-md5": hashlib.md5(body, usedforsecurity=False).digest(),
            "x-amz-checksum-crc32": zlib.crc32(body).to_bytes(4, "big"),
        }
        headers = {name: self._now(value) for name, value in line["headers"].items()}
        for name, digest in digests.items():
            if headers.get(name) == "DIGEST":
                headers[name] = base64.b64encode(digest).decode()
        return body, headers


@pytest.mark.parametrize("client", sorted({line["client"] for line in RECORDED}))
def test_requests_of_s3_clients_are_answered_rightly(api: Api, client: str) -> None:
    """Each with the status that it should have: lists, parts, chunks with checksums, versions, configuration."""
    replay = Replay(api)
    wrong = []
    for line in [line for line in RECORDED if line["client"] == client]:
        status, code = replay.status(line)
        if status != line["status"]:
            wrong.append(f"{status} {code}: {line}")
    replay.forget()
    assert not wrong, "\n".join(wrong)
