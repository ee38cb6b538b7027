"""A request to Spaces as it arrived: its names decoded, and still the bytes that its signature covers."""

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Self
from urllib.parse import parse_qsl, unquote_to_bytes
from wsgiref.types import WSGIEnvironment

from sandbox.model.plans import SPACES_REGIONS
from sandbox.parts.spaces.errors import S3Error, invalid, missing, not_implemented
from sandbox.world.world import SPACES_DOMAIN

_REGIONS = "|".join(SPACES_REGIONS)
_HOST = re.compile(
    rf"((?P<bucket>[a-z0-9][a-z0-9.-]*[a-z0-9])\.)?(?P<region>{_REGIONS})(?P<kind>\.cdn|-static)?\.{re.escape(SPACES_DOMAIN)}"
)
_MAX_KEY = 1024  # bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a client asks for, and how it said so."""

    method: str
    host: str  # without port, lower case
    raw_path: str  # as signed: percent-encoded
    query_string: str
    pairs: list[tuple[str, str]]  # decoded query
    headers: dict[str, str]  # names in lower case
    region: str
    cdn: bool
    bucket: str
    key: str
    path_style: bool
    query: dict[str, str] = field(default_factory=dict)  # without what is part of a signature

    @classmethod
    def read(cls, environ: WSGIEnvironment) -> Self:
        """Understand what a server was given; names that can't be are S3's errors."""
        headers = _headers(environ)
        host = headers.get("host", "").partition(":")[0].lower()
        match = _HOST.fullmatch(host)
        if match is None:
            raise missing("NoSuchRegion", f"{host}: Spaces are in {', '.join(SPACES_REGIONS)}")
        if match["kind"] == "-static":
            not_implemented("websites of buckets: the sandbox has none")
        raw_path, _, query_string = str(environ["RAW_URI"]).partition("?")
        if not raw_path.startswith("/"):
            raise invalid("InvalidURI", f"{raw_path}: must begin with /")
        path = _text(raw_path)
        bucket, key = match["bucket"] or "", path[1:]
        if not bucket:
            bucket, _, key = key.partition("/")
        if len(key.encode()) > _MAX_KEY:
            raise invalid("KeyTooLongError", f"a key has {_MAX_KEY} bytes at most")
        pairs = parse_qsl(query_string, keep_blank_values=True)
        return cls(
            method=str(environ["REQUEST_METHOD"]),
            host=host,
            raw_path=raw_path,
            query_string=query_string,
            pairs=pairs,
            headers=headers,
            region=match["region"],
            cdn=match["kind"] == ".cdn",
            bucket=bucket,
            key=key,
            path_style=not match["bucket"],
            query={name: value for name, value in pairs if not _is_of_signature(name)},
        )

    def number(self, name: str, low: int, high: int) -> None:
        """See that a parameter, if it is there, is a whole number in this range."""
        value = self.query.get(name)
        if value is not None and not (re.fullmatch(r"[0-9]{1,10}", value) and low <= int(value) <= high):
            raise invalid("InvalidArgument", f'{name}: must be {low} to {high}, got "{value}"')


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    names = {"CONTENT_TYPE": "content-type", "CONTENT_LENGTH": "content-length"}
    # The server remembers user metadata whose names have underscores, which WSGI can't tell from dashes.
    names |= {key: str(name).lower() for key, name in environ.get("moto.preserved_header_names", {}).items()}
    found = {}
    for key, value in environ.items():
        if key.startswith("HTTP_") or (key in names and value):  # WSGI has "" for a Content-Type that was not sent
            found[names.get(key) or key[5:].lower().replace("_", "-")] = _utf8(str(value))
    return found


def _utf8(value: str) -> str:
    """Read a header's bytes as UTF-8, as clients sign them, where they are that."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _text(raw_path: str) -> str:
    try:
        return unquote_to_bytes(raw_path.encode("latin-1")).decode()
    except UnicodeError as error:
        raise invalid("InvalidURI", f"{raw_path!r}: must be UTF-8") from error


def _is_of_signature(name: str) -> bool:
    return name.lower() in _SIGNATURE_PARAMETERS


_SIGNATURE_PARAMETERS = {
    "awsaccesskeyid",
    "signature",
    "expires",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-security-token",
    "x-amz-content-sha256",
}


def check_bucket_name(name: str) -> None:
    """See that a new bucket may have this name."""
    rule = "3 to 63 lower-case letters, digits, dashes and periods, a letter or digit at both ends"
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name) or ".." in name:
        raise S3Error(HTTPStatus.BAD_REQUEST, "InvalidBucketName", f'bucket: must be {rule}, got "{name}"')
