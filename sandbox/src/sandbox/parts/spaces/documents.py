"""S3's XML: what is read out of requests, and what is put right in moto's answers."""

import html
import re
from typing import Any
from urllib.parse import quote
from xml.parsers.expat import ExpatError
from xml.sax.saxutils import escape

import xmltodict  # type: ignore[import-untyped]

from sandbox.parts.spaces.errors import invalid, not_implemented

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_ALL_USERS, _AUTHENTICATED = (
    f"http://acs.amazonaws.com/groups/global/{name}" for name in ("AllUsers", "AuthenticatedUsers")
)
# The account as an owner; the real one is a number, too.
_OWNER = b"1000000"
_MOTO_OWNERS = re.compile(
    rb"bcaf1ffd86f41161ca5fb16fd081034f|75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a"
)
_MOTO_LOCATION = re.compile(rb"<Location>http://([^<]*?)\.s3\.amazonaws\.com/")
_NAMES = re.compile(
    r"<(Key|Prefix|Delimiter|Marker|NextMarker|StartAfter|KeyMarker|NextKeyMarker)>(.*?)</\1>", re.DOTALL
)


def parse(body: bytes, root: str) -> dict[str, Any]:
    """Read a document with this root; another, or none, is an error."""
    try:
        document = xmltodict.parse(body)
    except ExpatError as error:
        raise invalid("MalformedXML", f"the body must be XML: {error}") from error
    if root not in document:
        raise invalid("MalformedXML", f"the body must be a {root}")
    found = document[root]
    return found if isinstance(found, dict) else {}


def location(body: bytes) -> str:
    """Return the region that the creation of a bucket names, empty if none."""
    found = parse(body, "CreateBucketConfiguration") if body.strip() else {}
    unknown = found.keys() & {"Bucket", "Location", "Tags"}
    if unknown:
        not_implemented(f"CreateBucketConfiguration: Spaces has no {', '.join(sorted(unknown))}")
    return str(found.get("LocationConstraint") or "")


def creation(region: str) -> bytes:
    """Write the body that makes a bucket of a region."""
    return (
        f'<CreateBucketConfiguration xmlns="{_NAMESPACE}">'
        f"<LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
    ).encode()


def canned_acl(body: bytes) -> str:
    """Return the canned ACL that comes nearest to a list of grants: Spaces has private and public-read."""
    found = parse(body, "AccessControlPolicy")
    grants = (found.get("AccessControlList") or {}).get("Grant") or []
    given = set()
    for grant in grants if isinstance(grants, list) else [grants]:
        grantee, permission = grant.get("Grantee"), grant.get("Permission")
        if not isinstance(grantee, dict) or not isinstance(permission, str):
            raise invalid("MalformedACLError", "Grant: must have a Grantee and a Permission")
        given.add((grantee.get("URI"), permission))
    if (_ALL_USERS, "WRITE") in given:
        return "public-read-write"
    if (_ALL_USERS, "READ") in given:
        return "public-read"
    return "authenticated-read" if (_AUTHENTICATED, "READ") in given else "private"


def logging(body: bytes) -> dict[str, str] | None:
    """Return where a bucket's access log goes, None for no log."""
    enabled = parse(body, "BucketLoggingStatus").get("LoggingEnabled")
    if not enabled:
        return None
    if not isinstance(enabled, dict) or not enabled.get("TargetBucket"):
        raise invalid("MalformedXML", "LoggingEnabled: TargetBucket missing")
    return {"TargetBucket": str(enabled["TargetBucket"]), "TargetPrefix": str(enabled.get("TargetPrefix") or "")}


def owned(body: bytes, host: str) -> bytes:
    """Name the account as the owner, and the world's host as the place, of what moto calls its own."""
    body = _MOTO_OWNERS.sub(_OWNER, body).replace(b"<DisplayName>webfile<", b"<DisplayName>%b<" % _OWNER)
    return _MOTO_LOCATION.sub(rb"<Location>https://\1.%b/" % host.encode(), body)


def encoded(body: bytes) -> bytes:
    """Write the names in a listing as `encoding-type=url` has them."""

    def name(match: re.Match[str]) -> str:
        return f"<{match[1]}>{escape(quote(html.unescape(match[2]), safe='-_.~'))}</{match[1]}>"

    text = _NAMES.sub(name, body.decode())
    end = text.rindex("</")
    return f"{text[:end]}<EncodingType>url</EncodingType>{text[end:]}".encode()
