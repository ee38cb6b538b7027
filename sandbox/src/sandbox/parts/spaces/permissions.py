"""Who may do what: a key's grants, a bucket's policy, and what is public."""

import fnmatch
import json
from http import HTTPStatus
from typing import Any, Literal

from sandbox.parts.spaces.errors import S3Error, invalid, not_implemented
from sandbox.parts.spaces.request import Request

_READ_SUBRESOURCES = {"location", "versions", "uploads", "uploadId"}
_WRITE_SUBRESOURCES = {"uploads", "uploadId", "partNumber", "delete", "acl"}
# Query parameters that select configuration of a bucket or an object rather than content.
CONFIGURATION = {"acl", "cors", "lifecycle", "logging", "policy", "tagging", "versioning"}
_ACTIONS = {
    ("GET", True): "s3:GetObject",
    ("HEAD", True): "s3:GetObject",
    ("PUT", True): "s3:PutObject",
    ("POST", True): "s3:PutObject",
    ("DELETE", True): "s3:DeleteObject",
    ("GET", False): "s3:ListBucket",
    ("HEAD", False): "s3:ListBucket",
}


def granted(request: Request, grants: list[dict[str, str]]) -> bool:
    """Say whether a key's grants allow a request."""
    permissions = _permissions(request.bucket, grants)
    if "fullaccess" in permissions:
        return True
    configuration = request.query.keys() & CONFIGURATION
    if request.method in {"GET", "HEAD"}:
        return bool(permissions) and not configuration - _READ_SUBRESOURCES
    if "readwrite" not in permissions:
        return False
    if request.method == "POST" and not request.key:
        return "delete" in request.query
    return bool(request.key) and not configuration - _WRITE_SUBRESOURCES


def may_read(bucket: str, grants: list[dict[str, str]]) -> bool:
    """Say whether a key's grants allow to read from a bucket, as the source of a copy."""
    return bool(_permissions(bucket, grants))


def _permissions(bucket: str, grants: list[dict[str, str]]) -> set[str]:
    return {grant["permission"] for grant in grants if grant["bucket"] in {"", bucket}}


Word = Literal["Allow", "Deny"]


def check_policy(document: bytes) -> None:
    """See that a bucket's policy can be understood, and that the sandbox can keep to it."""
    try:
        policy = json.loads(document)
        statements = _statements(policy)
        for statement in statements:
            if statement["Effect"] not in {"Allow", "Deny"}:
                raise S3Error(HTTPStatus.BAD_REQUEST, "MalformedPolicy", f"Effect: got {statement['Effect']!r}")
            for name in ("Action", "Resource"):
                if not (_list(statement.get(name)) or _list(statement.get(f"Not{name}"))):
                    raise S3Error(HTTPStatus.BAD_REQUEST, "MalformedPolicy", f"{name}: missing")
            statement["Principal"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise invalid("MalformedPolicy", f"a policy is JSON with statements: {error}") from error
    for statement in statements:
        lacking = statement.keys() & {"Condition", "NotAction", "NotResource", "NotPrincipal"}
        if lacking:
            not_implemented(f"policy: the sandbox does not play {', '.join(sorted(lacking))}")


def policy_says(document: bytes | None, request: Request) -> Word | None:
    """Return what a bucket's policy says to everybody about a request, None when it says nothing."""
    action = _ACTIONS.get((request.method, bool(request.key)))
    if document is None or action is None or request.query.keys() & CONFIGURATION:
        return None
    resource = f"arn:aws:s3:::{request.bucket}" + (f"/{request.key}" if request.key else "")
    said: Word | None = None
    for statement in _statements(json.loads(document)):
        if not _matches(action, statement["Action"]) or not _matches(resource, statement["Resource"]):
            continue
        principal = statement["Principal"]
        everybody = _list(principal.get("AWS")) if isinstance(principal, dict) else _list(principal)
        if "*" not in everybody:
            continue
        if statement["Effect"] == "Deny":
            return "Deny"
        said = "Allow"
    return said


def _statements(policy: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON
    statements = policy["Statement"]
    return statements if isinstance(statements, list) else [statements]


def _matches(value: str, patterns: Any) -> bool:  # noqa: ANN401 - JSON
    return any(fnmatch.fnmatchcase(value.lower(), str(pattern).lower()) for pattern in _list(patterns))


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - JSON
    return value if isinstance(value, list) else [] if value is None else [value]
