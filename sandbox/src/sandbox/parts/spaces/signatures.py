"""Signatures of versions 4 and 2, in a header or in a URL: read strictly, then made again by botocore and compared.

What can't be read is an error with S3's code, never a failure of the server.
"""

import hmac
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from botocore.auth import HmacV1Auth, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from sandbox.parts.spaces.errors import forbidden, invalid
from sandbox.parts.spaces.request import Request

_CLOCK_SKEW = 900  # seconds, as S3 allows
_MAX_EXPIRY = 604800  # seconds a signed URL of version 4 may live
_ALGORITHM = "AWS4-HMAC-SHA256"
_SCOPE = 5  # access key, date, region, service, "aws4_request"
UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """A request's signature, and what is needed to make it again."""

    version: int
    access_key: str
    given: str
    at: str  # version 4: the time as signed; version 2: the line of the date, or when a URL expires
    region: str = ""
    signed_headers: tuple[str, ...] = ()
    payload: str = UNSIGNED

    def verify(self, request: Request, secret: str) -> None:
        """Compare with our own."""
        own = _version_4(self, request, secret) if self.version == 4 else _version_2(self, request, secret)  # noqa: PLR2004
        if not hmac.compare_digest(own.encode(), self.given.encode()):
            raise forbidden("SignatureDoesNotMatch", "the secret key or what was signed differs")


def read(request: Request) -> Signature | None:
    """Read a request's signature; None for an anonymous request."""
    header = request.headers.get("authorization")
    query = {name.lower(): value for name, value in request.pairs}
    in_url = query.keys() & {"x-amz-algorithm", "x-amz-signature", "x-amz-credential", "awsaccesskeyid", "signature"}
    if header is not None and in_url:
        raise invalid("InvalidArgument", "Only one auth mechanism allowed: a header or a signed URL")
    if header is not None:
        scheme, _, rest = header.strip().partition(" ")
        if scheme == _ALGORITHM:
            return _header_4(request, rest)
        if scheme == "AWS":
            return _header_2(request, rest)
        raise invalid("InvalidArgument", f"Unsupported Authorization Type: {scheme}")
    if in_url & {"awsaccesskeyid", "signature"}:
        return _url_2(query)
    return _url_4(query) if in_url else None


def _header_4(request: Request, rest: str) -> Signature:
    fields: dict[str, str] = {}
    for item in rest.split(","):
        name, equals, value = item.strip().partition("=")
        if not equals or name in fields:
            raise invalid("AuthorizationHeaderMalformed", f'authorization: must be NAME=VALUE, got "{item.strip()}"')
        fields[name] = value
    lacking = [name for name in ("Credential", "SignedHeaders", "Signature") if not fields.get(name)]
    if lacking:
        raise invalid("AuthorizationHeaderMalformed", f"authorization: {', '.join(lacking)} missing")
    at = _signed_time(request)
    if abs(time.time() - at.timestamp()) > _CLOCK_SKEW:
        raise forbidden("RequestTimeTooSkewed", "the time of the request and the server's differ too much")
    return _scoped(
        "AuthorizationHeaderMalformed",
        fields,
        at=at,
        payload=request.headers.get("x-amz-content-sha256", UNSIGNED),
    )


def _url_4(query: dict[str, str]) -> Signature:
    code = "AuthorizationQueryParametersError"
    names = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
    fields = {name: query.get(f"x-amz-{name.lower()}", "") for name in names}
    lacking = [f"X-Amz-{name}" for name in names if not fields[name]]
    if lacking:
        raise invalid(code, f"{', '.join(lacking)} missing")
    if fields["Algorithm"] != _ALGORITHM:
        raise invalid(code, f'X-Amz-Algorithm: only {_ALGORITHM} is supported, got "{fields["Algorithm"]}"')
    if not re.fullmatch(r"[0-9]{1,9}", fields["Expires"]) or not 0 < int(fields["Expires"]) <= _MAX_EXPIRY:
        raise invalid(code, f'X-Amz-Expires: must be 1 to {_MAX_EXPIRY} seconds, got "{fields["Expires"]}"')
    at = _basic_time(fields["Date"])
    if at is None:
        raise invalid(code, f'X-Amz-Date: must be like 20260131T235959Z, got "{fields["Date"]}"')
    age = time.time() - at.timestamp()
    if age > int(fields["Expires"]):
        raise forbidden("AccessDenied", "Request has expired")
    if age < -_CLOCK_SKEW:
        raise forbidden("AccessDenied", "Request is not valid yet")
    return _scoped(code, fields, at=at, payload=query.get("x-amz-content-sha256", UNSIGNED))


def _scoped(code: str, fields: dict[str, str], *, at: datetime, payload: str) -> Signature:
    """Check what both places of version 4 have."""
    # Any region is taken: DigitalOcean's documentation names the slug, its examples for SDKs us-east-1.
    scope = fields["Credential"].rsplit("/", _SCOPE - 1)
    if len(scope) != _SCOPE or not all(scope):
        raise invalid(code, f'credential: must be KEY/DATE/REGION/s3/aws4_request, got "{fields["Credential"]}"')
    access_key, date, region, service, last = scope
    if (service, last) != ("s3", "aws4_request"):
        raise invalid(code, f'credential: must end with s3/aws4_request, got "{service}/{last}"')
    if date != at.strftime("%Y%m%d"):
        raise invalid(code, f'credential: its date and the request\'s must be the same, got "{date}"')
    signed = tuple(fields["SignedHeaders"].lower().split(";"))
    if "host" not in signed:
        raise invalid(code, "signed headers: host must be among them")
    return Signature(
        version=4,
        access_key=access_key,
        given=fields["Signature"],
        at=at.strftime("%Y%m%dT%H%M%SZ"),
        region=region,
        signed_headers=signed,
        payload=payload,
    )


def _signed_time(request: Request) -> datetime:
    date = request.headers.get("x-amz-date") or request.headers.get("date", "")
    at = _basic_time(date) or _mail_time(date)
    if at is None:
        raise forbidden("AccessDenied", f'AWS authentication requires a valid Date or x-amz-date header, got "{date}"')
    return at


def _header_2(request: Request, rest: str) -> Signature:
    access_key, colon, given = rest.strip().rpartition(":")
    if not (access_key and colon and given):
        raise invalid("InvalidArgument", f'authorization: must be "AWS KEY:SIGNATURE", got "AWS {rest}"')
    if abs(time.time() - _signed_time(request).timestamp()) > _CLOCK_SKEW:
        raise forbidden("RequestTimeTooSkewed", "the time of the request and the server's differ too much")
    # A time in x-amz-date is signed as every x-amz- header is; the line of the date is empty then.
    line = "" if "x-amz-date" in request.headers else request.headers["date"]
    return Signature(version=2, access_key=access_key, given=given, at=line)


def _url_2(query: dict[str, str]) -> Signature:
    lacking = [name for name in ("AWSAccessKeyId", "Signature", "Expires") if not query.get(name.lower())]
    if lacking:
        raise forbidden("AccessDenied", f"Query-string authentication requires {', '.join(lacking)}")
    if not re.fullmatch(r"[0-9]{1,12}", query["expires"]):
        raise forbidden("AccessDenied", f'Expires: must be seconds since 1970, got "{query["expires"]}"')
    if time.time() > int(query["expires"]):
        raise forbidden("AccessDenied", "Request has expired")
    return Signature(version=2, access_key=query["awsaccesskeyid"], given=query["signature"], at=query["expires"])


def _basic_time(text: str) -> datetime | None:
    if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", text):
        return None
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _mail_time(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# The same again, by botocore.


class _Version4(S3SigV4Auth):
    """Signs what the client says that it signed, instead of choosing."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        chosen = HTTPHeaders()
        for name in request.context["signed_headers"]:
            chosen[name] = request.headers.get(name, "")
        return chosen


def _version_4(signature: Signature, request: Request, secret: str) -> str:
    credentials = Credentials(signature.access_key, secret)
    auth = _Version4(credentials, "s3", signature.region)
    path = quote(unquote_to_bytes(request.raw_path.encode("latin-1")), safe="/-_.~")
    pairs = [pair for pair in request.pairs if pair[0].lower() != "x-amz-signature"]
    params: Any = pairs  # as pairs, for a name may be there twice; the stubs want a mapping
    again = AWSRequest(method=request.method, url=f"https://sandbox{path}", headers=request.headers, params=params)
    again.headers["X-Amz-Content-SHA256"] = signature.payload
    again.context = {"timestamp": signature.at, "signed_headers": signature.signed_headers}
    return str(auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again))


class _Version2(HmacV1Auth):
    """Signs the date that the client signed, instead of now."""

    def __init__(self, credentials: Credentials, date: str) -> None:
        super().__init__(credentials)
        self._date = date

    def _get_date(self) -> str:
        return self._date


def _version_2(signature: Signature, request: Request, secret: str) -> str:
    auth = _Version2(Credentials(signature.access_key, secret), signature.at)
    headers: Any = HTTPHeaders()
    # Headers of S3 that a URL carries are signed as if they had been sent as headers.
    carried = {name: value for name, value in request.query.items() if name.lower().startswith("x-amz-")}
    for name, value in (carried | request.headers).items():
        headers[name] = value
    query = "&".join(item.removesuffix("=") for item in request.query_string.split("&"))
    host = "" if request.path_style else f"/{request.bucket}"
    split: Any = urlsplit(f"https://sandbox/?{query}")
    return str(auth.get_signature(request.method, split, headers, auth_path=f"{host}{request.raw_path}"))
