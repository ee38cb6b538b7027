"""Spaces at depth `api`: moto's S3 backend behind DigitalOcean's names, keys and grants; kept in memory."""

import hashlib
import hmac
import io
import logging
import os
import re
import ssl
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from xml.sax.saxutils import escape

import click
from werkzeug.serving import make_server

from sandbox.model.plans import SPACES_REGIONS
from sandbox.model.store import Store
from sandbox.world import certificates, ports
from sandbox.world.world import SPACES_DOMAIN, World, load

logger = logging.getLogger("sandbox.spaces")

# moto reads both when it is imported: paths name buckets after our rewriting, and CORS is each bucket's own business.
MOTO_ENVIRONMENT = {"S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true", "MOTO_DISABLE_GLOBAL_CORS": "true"}

_HOST = re.compile(
    rf"((?P<bucket>[a-z0-9][a-z0-9-]*[a-z0-9])\.)?(?P<region>[a-z0-9]+)(?P<cdn>\.cdn)?\.{re.escape(SPACES_DOMAIN)}"
)
_CLOCK_SKEW = 900  # seconds, as S3 allows
_MAX_EXPIRY = 604800  # seconds a signed URL may live
_LOCATION = re.compile(rb"<LocationConstraint>([^<]*)</LocationConstraint>")
_MOTO_AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=sandbox/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)
_READ_SUBRESOURCES = {"location", "versions", "uploads", "uploadId"}
_WRITE_SUBRESOURCES = {"uploads", "uploadId", "partNumber", "delete", "acl"}
# Query parameters that select configuration of a bucket or an object rather than content.
_CONFIGURATION = {
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "encryption",
    "inventory",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "tagging",
    "versioning",
    "website",
}


class _S3Error(Exception):
    """An answer other than success, with S3's code."""

    def __init__(self, status: str, code: str, message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, kw_only=True, slots=True)
class _Target:
    """What a request is about."""

    region: str
    bucket: str
    key: str
    cdn: bool
    query: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Signature:
    """A request's signature and what was signed."""

    access_key: str
    scope: tuple[str, str, str, str]  # date, region, service, "aws4_request"
    signed_headers: list[str]
    given: str
    at: str
    payload: str
    query: str  # canonical, without the signature


class Spaces:
    """A WSGI application: checks names, keys, signatures and grants, and lets moto do the rest."""

    def __init__(self, world: World, moto: WSGIApplication, buckets: "Buckets") -> None:
        self._world = world
        self._moto = moto
        self._buckets = buckets
        self._store = Store(world.database, read_only=True)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        try:
            target = self._target(environ)
            self._authorise(environ, target)
            self._prepare(environ, target)
        except _S3Error as error:
            text = f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
            body = f'<?xml version="1.0" encoding="UTF-8"?><Error>{text}</Error>'.encode()
            headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
            start_response(error.status, headers)
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
        return self._moto(environ, start_response)

    def _target(self, environ: WSGIEnvironment) -> _Target:
        host = environ.get("HTTP_HOST", "").partition(":")[0].lower()
        match = _HOST.fullmatch(host)
        if match is None or match["region"] not in SPACES_REGIONS:
            raise _S3Error("404 Not Found", "NoSuchRegion", f"{host}: Spaces are in {', '.join(SPACES_REGIONS)}")
        bucket, key = match["bucket"] or "", environ["PATH_INFO"].lstrip("/")
        if match["cdn"]:
            endpoints = {cdn.body["endpoint"] for cdn in self._store.list("cdn_endpoint")}
            if host not in endpoints:
                raise _S3Error("404 Not Found", "NoSuchEndpoint", f"{host}: no CDN endpoint of this account")
        if not bucket:  # path style
            bucket, _, key = key.partition("/")
        query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
        return _Target(region=match["region"], bucket=bucket, key=key, cdn=bool(match["cdn"]), query=query)

    def _authorise(self, environ: WSGIEnvironment, target: _Target) -> None:
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS":  # a preflight has no credentials
            return
        signature = _signature(environ, target.query)
        location = self._buckets.region(target.bucket)
        creates = method == "PUT" and not target.key and not target.query.keys() & _CONFIGURATION
        if target.bucket and not creates and location != target.region:
            raise _S3Error("404 Not Found", "NoSuchBucket", f"{target.bucket}: not in {target.region}")
        if signature is None:
            if not self._public(method, target):
                raise _S3Error("403 Forbidden", "AccessDenied", "anonymous: neither object nor bucket is public")
            return
        if target.cdn:
            raise _S3Error("403 Forbidden", "AccessDenied", "the CDN serves public objects only")
        secret, grants = self._key(signature.access_key)
        _verify(environ, signature, secret)
        if not _allowed(method, target, grants):
            raise _S3Error("403 Forbidden", "AccessDenied", f"this key's grants don't cover {method} {target.bucket}")

    def _key(self, access_key: str) -> tuple[str, list[dict[str, str]]]:
        """Return the secret and the grants of a key."""
        if access_key == self._world.spaces_access_key:
            return self._world.spaces_secret_key, [{"bucket": "", "permission": "fullaccess"}]
        key = self._store.get("spaces_key", access_key)
        if key is None:
            raise _S3Error("403 Forbidden", "InvalidAccessKeyId", "no key of this account")
        return key.private["secret_key"], key.body["grants"]

    def _public(self, method: str, target: _Target) -> bool:
        if method not in {"GET", "HEAD"} or target.query.keys() & _CONFIGURATION:
            return False
        if target.key:
            return self._buckets.public_object(target.bucket, target.key)
        return self._buckets.public(target.bucket)

    def _prepare(self, environ: WSGIEnvironment, target: _Target) -> None:
        """Turn a request into moto's form: path style, its own region, its own authorisation."""
        if environ["REQUEST_METHOD"] == "PUT" and target.bucket and not target.key and not target.query:
            self._locate(environ, target.region)
        path = f"/{target.bucket}/{target.key}" if target.key else f"/{target.bucket}"
        kept = {name: value for name, value in target.query.items() if not name.lower().startswith("x-amz-")}
        environ["PATH_INFO"] = path
        environ["QUERY_STRING"] = urlencode(kept)
        raw = quote(path.encode("latin-1"), safe="/-_.~")
        environ["RAW_URI"] = environ["REQUEST_URI"] = raw + (f"?{environ['QUERY_STRING']}" if kept else "")
        environ["HTTP_HOST"] = "localhost"
        environ["HTTP_AUTHORIZATION"] = _MOTO_AUTHORIZATION

    def _locate(self, environ: WSGIEnvironment, region: str) -> None:
        """Make a new bucket belong to the region of the host name; another one in the body is an error."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        match = _LOCATION.search(body)
        if match and match[1].decode() not in {"", region}:
            raise _S3Error("400 Bad Request", "InvalidLocationConstraint", f"{match[1].decode()}: this is {region}")
        body = (
            '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        ).encode()
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        for stale in ("HTTP_CONTENT_MD5", "HTTP_TRANSFER_ENCODING"):
            environ.pop(stale, None)


class Buckets:
    """What the checks need to know of moto's buckets."""

    def __init__(self, backend: Any) -> None:  # noqa: ANN401 - moto's S3Backend
        self._backend = backend

    def region(self, bucket: str) -> str | None:
        """Return a bucket's region, or None."""
        found = self._backend.buckets.get(bucket)
        return found.region_name if found else None

    def public(self, bucket: str) -> bool:
        """Say whether everybody may list a bucket."""
        found = self._backend.buckets.get(bucket)
        return bool(found and found.acl and found.acl.public_read)

    def public_object(self, bucket: str, key: str) -> bool:
        """Say whether everybody may read an object."""
        found = self._backend.buckets.get(bucket)
        stored = found.keys.get(key.encode("latin-1").decode("utf-8", "replace")) if found else None
        return bool(stored and stored.acl and stored.acl.public_read)


def _allowed(method: str, target: _Target, grants: list[dict[str, str]]) -> bool:
    permissions = {grant["permission"] for grant in grants if grant["bucket"] in {"", target.bucket}}
    if "fullaccess" in permissions:
        return True
    configuration = target.query.keys() & _CONFIGURATION
    if method in {"GET", "HEAD"}:
        return bool(permissions) and not configuration - _READ_SUBRESOURCES
    if "readwrite" not in permissions:
        return False
    if method == "POST" and not target.key:
        return "delete" in target.query
    return bool(target.key) and not configuration - _WRITE_SUBRESOURCES


def _signature(environ: WSGIEnvironment, query: dict[str, str]) -> _Signature | None:
    """Read a version 4 signature from the header or a signed URL; None for an anonymous request."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    if header:
        algorithm, _, rest = header.partition(" ")
        if algorithm != "AWS4-HMAC-SHA256":
            raise _S3Error("400 Bad Request", "InvalidArgument", f"{algorithm}: only AWS4-HMAC-SHA256 here")
        parts = dict(item.strip().partition("=")[::2] for item in rest.split(","))
        credential, signed, given = parts["Credential"], parts["SignedHeaders"], parts["Signature"]
        at = environ.get("HTTP_X_AMZ_DATE", "")
        payload = environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")
        _check_time(at, _CLOCK_SKEW)
        canonical = _canonical_query(environ, "")
    elif "X-Amz-Signature" in query:
        credential, signed, given = query["X-Amz-Credential"], query["X-Amz-SignedHeaders"], query["X-Amz-Signature"]
        at, payload = query["X-Amz-Date"], "UNSIGNED-PAYLOAD"
        _check_time(at, min(int(query["X-Amz-Expires"]), _MAX_EXPIRY))
        canonical = _canonical_query(environ, "X-Amz-Signature")
    else:
        return None
    access_key, date, region, service, last = credential.split("/")
    return _Signature(
        access_key=access_key,
        scope=(date, region, service, last),
        signed_headers=signed.split(";"),
        given=given,
        at=at,
        payload=payload,
        query=canonical,
    )


def _check_time(at: str, allowed: int) -> None:
    try:
        then = datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise _S3Error("403 Forbidden", "AccessDenied", f'x-amz-date: not a time: "{at}"') from error
    if not -_CLOCK_SKEW <= time.time() - then <= allowed:
        raise _S3Error("403 Forbidden", "AccessDenied", "Request has expired")


def _canonical_query(environ: WSGIEnvironment, without: str) -> str:
    pairs = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    encoded = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in pairs if name != without)
    return "&".join(f"{name}={value}" for name, value in encoded)


def _verify(environ: WSGIEnvironment, signature: _Signature, secret: str) -> None:
    """Compare with our own signature (docs.aws.amazon.com, Signature Version 4)."""
    raw = environ.get("RAW_URI") or environ["REQUEST_URI"]
    path = quote(unquote(raw.partition("?")[0], "latin-1").encode("latin-1"), safe="/-_.~")
    headers = "".join(f"{name}:{_header(environ, name)}\n" for name in signature.signed_headers)
    names = ";".join(signature.signed_headers)
    method = environ["REQUEST_METHOD"]
    request = f"{method}\n{path}\n{signature.query}\n{headers}\n{names}\n{signature.payload}"
    scope = "/".join(signature.scope)
    text = "\n".join(["AWS4-HMAC-SHA256", signature.at, scope, hashlib.sha256(request.encode("latin-1")).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in signature.scope:
        key = hmac.digest(key, part.encode(), "sha256")
    expected = hmac.digest(key, text.encode(), "sha256").hex()
    if not hmac.compare_digest(expected, signature.given):
        raise _S3Error("403 Forbidden", "SignatureDoesNotMatch", "the secret key or what was signed differs")


def _header(environ: WSGIEnvironment, name: str) -> str:
    plain = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
    value = environ.get(plain.get(name, "HTTP_" + name.upper().replace("-", "_")), "")
    return " ".join(str(value).split())


def application(world: World) -> Spaces:
    """Build the application; imports moto only now, since it reads its settings when imported."""
    os.environ.update(MOTO_ENVIRONMENT)
    from moto.core.models import DEFAULT_ACCOUNT_ID  # noqa: PLC0415 - see above
    from moto.moto_server.werkzeug_app import create_backend_app  # noqa: PLC0415
    from moto.s3.models import s3_backends  # noqa: PLC0415

    return Spaces(world, create_backend_app("s3").wsgi_app, Buckets(s3_backends[DEFAULT_ACCOUNT_ID]["aws"]))


@click.command()
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), required=True, help="Directory of the world.")
def main(home: Path) -> None:
    """Serve Spaces of the world in HOME."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stdout)
    world = load(home)
    names = [name for r in SPACES_REGIONS for name in _names(r)]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates.issue(world, names, world.ca / "spaces"))
    port = ports.reserve(world, "spaces")
    served = application(world)
    from moto.moto_server.werkzeug_app import MotoRequestHandler  # noqa: PLC0415 - only after its settings are set

    server = make_server(
        "127.0.0.1", port, served, threaded=True, request_handler=MotoRequestHandler, ssl_context=context
    )
    logger.info("serving %s on 127.0.0.1:%d", SPACES_DOMAIN, port)
    server.serve_forever()


def _names(region: str) -> list[str]:
    return [f"{region}.{SPACES_DOMAIN}", f"*.{region}.{SPACES_DOMAIN}", f"*.{region}.cdn.{SPACES_DOMAIN}"]


if __name__ == "__main__":
    main()
