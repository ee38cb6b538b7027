"""What Spaces has of S3, and what of that the sandbox has at depth `api`: the rest is NotImplemented, and says so."""

import re
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from itertools import chain

from sandbox.parts.spaces.errors import S3Error, invalid, not_implemented
from sandbox.parts.spaces.request import Request

# Parameters that choose an operation of S3.
_OF_BUCKETS = {
    "GET": {"acl", "cors", "lifecycle", "location", "logging", "policy", "uploads", "versioning", "versions"},
    "HEAD": set(),
    "PUT": {"acl", "cors", "lifecycle", "logging", "policy", "versioning"},
    "DELETE": {"cors", "lifecycle", "policy"},
    "POST": {"delete"},
}
_OF_OBJECTS = {
    "GET": {"acl", "partNumber", "tagging", "uploadId", "versionId"},
    "HEAD": {"partNumber", "versionId"},
    "PUT": {"acl", "partNumber", "tagging", "uploadId", "versionId"},
    "DELETE": {"tagging", "uploadId", "versionId"},
    "POST": {"uploadId", "uploads"},
}
_OF_S3 = {
    *chain(*_OF_BUCKETS.values(), *_OF_OBJECTS.values()),
    "abac",
    "accelerate",
    "analytics",
    "annotation",
    "attributes",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "torrent",
    "website",
}
_HEADERS = {
    "x-amz-server-side-encryption-customer-algorithm": "the sandbox encrypts nothing; Spaces has SSE-C",
    "x-amz-copy-source-server-side-encryption-customer-algorithm": "the sandbox encrypts nothing; Spaces has SSE-C",
    "x-amz-server-side-encryption": "Spaces has SSE-C only",
    "x-amz-server-side-encryption-aws-kms-key-id": "Spaces has SSE-C only",
    "x-amz-bucket-object-lock-enabled": "Spaces has no object lock",
    "x-amz-object-lock-mode": "Spaces has no object lock",
    "x-amz-object-lock-retain-until-date": "Spaces has no object lock",
    "x-amz-object-lock-legal-hold": "Spaces has no object lock",
    "x-amz-rename-source": "Spaces renames by copying",
}
_ACLS = {"private", "public-read", "public-read-write", "authenticated-read", "bucket-owner-read"}
_ACLS |= {"bucket-owner-full-control", "aws-exec-read", "log-delivery-write"}
_GRANT = re.compile(r'\s*(id|uri|emailAddress)="?[^",]+"?\s*')
_DATES = ("if-modified-since", "if-unmodified-since")


def check(request: Request) -> None:
    """Refuse what is not there, and what can't be understood."""
    _operation(request)
    for name, why in _HEADERS.items():
        # rclone says that it wants no object lock.
        if request.headers.get(name, "false").lower() not in {"false", "off"}:
            not_implemented(f"{name}: {why}")
    if request.headers.get("x-amz-storage-class", "STANDARD") != "STANDARD":
        raise invalid("InvalidStorageClass", f'x-amz-storage-class: got "{request.headers["x-amz-storage-class"]}"')
    request.number("max-keys", 0, 2**31 - 1)
    request.number("max-uploads", 0, 2**31 - 1)
    request.number("max-parts", 0, 2**31 - 1)
    request.number("max-buckets", 1, 10000)
    request.number("part-number-marker", 0, 2**31 - 1)
    request.number("partNumber", 1, 10000)
    if request.query.get("encoding-type", "url") != "url":
        raise invalid("InvalidArgument", f'encoding-type: must be "url", got "{request.query["encoding-type"]}"')
    _access(request)


def ignored(request: Request) -> set[str]:
    """Name the headers that S3 ignores, because they can't be understood."""
    headers = {name for name in _DATES if name in request.headers and not _is_date(request.headers[name])}
    if not re.fullmatch(r"bytes=([0-9]+-[0-9]*|-[0-9]+)", request.headers.get("range", "").strip()):
        headers.add("range")
    return headers


def _operation(request: Request) -> None:
    if request.method not in _OF_BUCKETS:
        raise _not_allowed(request)
    if not request.bucket:
        if request.method not in {"GET", "HEAD"} or request.query.keys() & _OF_S3:
            raise _not_allowed(request)
        return
    has = _OF_OBJECTS if request.key else _OF_BUCKETS
    asked = request.query.keys() & _OF_S3
    lacking = asked - set(chain(*has.values()))
    if lacking == {"website"}:
        not_implemented("websites of buckets: Spaces has them, the sandbox has not")
    if lacking:
        what = "objects" if request.key else "buckets"
        not_implemented(f"{', '.join(sorted(lacking))} of {what}: Spaces has no such thing")
    if request.method == "POST" and not request.key and not asked:
        not_implemented("uploads by a form: the sandbox has none")
    if asked - has[request.method] or (request.method == "POST" and not asked):
        raise _not_allowed(request)
    if request.method == "PUT" and ("uploadId" in asked) != ("partNumber" in asked):
        raise invalid("InvalidArgument", "uploadId and partNumber: a part needs both")


def _not_allowed(request: Request) -> S3Error:
    return S3Error(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", f"{request.method}: not for this")


def _access(request: Request) -> None:
    acl = request.headers.get("x-amz-acl") or request.query.get("x-amz-acl")
    if acl is not None and acl not in _ACLS:
        raise invalid("InvalidArgument", f'x-amz-acl: must be one of {", ".join(sorted(_ACLS))}, got "{acl}"')
    for name, value in request.headers.items():
        if name.startswith("x-amz-grant-"):
            known = name.removeprefix("x-amz-grant-") in {"read", "write", "read-acp", "write-acp", "full-control"}
            if not known or not all(_GRANT.fullmatch(item) for item in value.split(",")):
                raise invalid("InvalidArgument", f'{name}: must be like id="…", got "{value}"')


def _is_date(text: str) -> bool:
    try:
        parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return False
    return True
