"""Spaces at depth `api`: DigitalOcean's names, keys, grants and limits of S3 before moto's; kept in memory."""

import itertools
import logging
import ssl
import threading
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote
from wsgiref.types import StartResponse, WSGIEnvironment

import click
from werkzeug.serving import BaseWSGIServer, make_server

from sandbox.model.plans import SPACES_REGIONS
from sandbox.model.store import Store
from sandbox.parts.spaces import bodies, cors, documents, permissions, signatures, supported
from sandbox.parts.spaces.backend import Answer, Backend, Call
from sandbox.parts.spaces.errors import S3Error, forbidden, invalid, missing
from sandbox.parts.spaces.request import Request, check_bucket_name
from sandbox.world import certificates, ports, program
from sandbox.world.world import SPACES_DOMAIN, World, load

logger = logging.getLogger("sandbox.spaces")

_Grants = list[dict[str, str]]
_MAX_KEYS = 1000
# Root of the document that a request to a bucket has as its body.
_ROOTS = {
    "cors": "CORSConfiguration",
    "delete": "Delete",
    "lifecycle": "LifecycleConfiguration",
    "tagging": "Tagging",
    "uploadId": "CompleteMultipartUpload",
    "versioning": "VersioningConfiguration",
}


class Spaces:
    """A WSGI application: checks names, keys, signatures and grants, and lets moto do the rest."""

    def __init__(self, world: World, backend: Backend) -> None:
        self._world = world
        self._backend = backend
        self._store = Store(world.database, read_only=True)
        self._numbers = itertools.count(1)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request_id = f"tx{next(self._numbers):021x}-sandbox"
        request = None
        try:
            request = Request.read(environ)
            answer = self._answer(request, environ)
        except S3Error as error:
            status = f"{error.status} {error.status.phrase}"
            answer = Answer(status=status, headers={"Content-Type": "application/xml"}, body=error.document(request_id))
        headers = dict(answer.headers)
        if request and request.method != "OPTIONS" and self._backend.region(request.bucket):
            headers |= cors.headers(request, self._backend.bucket(request.bucket).cors)
        headers["x-amz-request-id"] = request_id
        if answer.body or environ["REQUEST_METHOD"] != "HEAD":
            headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
            headers["Content-Length"] = str(len(answer.body))
        start_response(answer.status, list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, request: Request, environ: WSGIEnvironment) -> Answer:
        if request.cdn and request.host not in {cdn.body["endpoint"] for cdn in self._store.list("cdn_endpoint")}:
            raise missing("NoSuchEndpoint", f"{request.host}: no CDN endpoint of this account")
        if request.method == "OPTIONS":  # a preflight has no credentials
            self._see_bucket(request)
            return Answer(status="200 OK", headers=cors.preflight(request, self._backend.bucket(request.bucket).cors))
        grants = self._grants(request)
        supported.check(request)
        creates = request.method == "PUT" and request.bucket and not request.key and not _is_configuration(request)
        if not creates:
            self._see_bucket(request)
        self._authorise(request, grants)
        upload = request.query.get("uploadId")
        if request.key and upload is not None and not self._backend.has_upload(request, upload):
            raise missing("NoSuchUpload", f"{upload}: unknown, or completed, or aborted")
        if request.key and request.query.keys() & {"acl", "tagging"}:
            version = request.query.get("versionId")
            if self._backend.object(request.bucket, request.key, version) is None:
                raise missing("NoSuchKey", f"{request.key}: not in {request.bucket}")
        body, trailer = bodies.read(environ, request)
        if creates:
            return self._create(request, body, environ)
        if "policy" in request.query:
            return self._policy(request, body)
        if "logging" in request.query and request.method == "PUT":
            return self._log(request, body)
        return self._finish(request, self._backend.answer(self._call(request, body, trailer, grants), environ))

    def _see_bucket(self, request: Request) -> None:
        if request.bucket and self._backend.region(request.bucket) != request.region:
            # The official provider knows that a policy has no bucket by this code.
            code = "NoSuchKey" if "policy" in request.query and request.method != "GET" else "NoSuchBucket"
            raise missing(code, f"{request.bucket}: not in {request.region}")

    def _grants(self, request: Request) -> _Grants | None:
        """Return the grants of the key that a request is signed with; None for an anonymous one."""
        signature = signatures.read(request)
        if signature is None:
            return None
        if request.cdn:
            raise forbidden("AccessDenied", "the CDN serves public objects only")
        secret, grants = self._key(signature.access_key)
        signature.verify(request, secret)
        return grants

    def _key(self, access_key: str) -> tuple[str, _Grants]:
        """Return the secret and the grants of a key."""
        if access_key == self._world.spaces_access_key:
            return self._world.spaces_secret_key, [{"bucket": "", "permission": "fullaccess"}]
        key = self._store.get("spaces_key", access_key)
        if key is None:
            raise forbidden("InvalidAccessKeyId", "no key of this account")
        return key.private["secret_key"], key.body["grants"]

    def _authorise(self, request: Request, grants: _Grants | None) -> None:
        if request.cdn and request.method not in {"GET", "HEAD"}:
            raise forbidden("AccessDenied", "the CDN serves public objects only")
        says = permissions.policy_says(self._backend.policy(request.bucket), request)
        if says == "Deny":
            raise forbidden("AccessDenied", "the policy of the bucket denies it")
        if grants is None:
            if says != "Allow" and not self._public(request):
                raise forbidden("AccessDenied", "anonymous: neither object nor bucket is public")
        elif not permissions.granted(request, grants):
            raise forbidden("AccessDenied", f"this key's grants don't cover {request.method} {request.bucket}")

    def _public(self, request: Request) -> bool:
        chosen = request.query.keys() & (permissions.CONFIGURATION | {"location", "uploads", "uploadId", "versions"})
        if request.method not in {"GET", "HEAD"} or chosen:
            return False
        if not request.key:
            return self._backend.public_bucket(request.bucket)
        if self._backend.public_object(request.bucket, request.key, request.query.get("versionId")):
            return True
        # Who may list a bucket is told that an object isn't there.
        missing_one = self._backend.object(request.bucket, request.key) is None
        return missing_one and self._backend.public_bucket(request.bucket)

    def _create(self, request: Request, body: bytes, environ: WSGIEnvironment) -> Answer:
        """Make a bucket of the host name's region; another one in the body is an error."""
        check_bucket_name(request.bucket)
        named = documents.location(body)
        if named not in {"", request.region}:
            raise invalid("InvalidLocationConstraint", f"{named}: this is {request.region}")
        existing = self._backend.region(request.bucket)
        if existing == request.region:  # as Ceph answers it
            return Answer(status="200 OK")
        if existing:
            raise S3Error(HTTPStatus.CONFLICT, "BucketAlreadyExists", f"{request.bucket}: exists in {existing}")
        return self._backend.answer(Call(request=request, body=documents.creation(request.region)), environ)

    def _policy(self, request: Request, body: bytes) -> Answer:
        if request.method == "GET":
            policy = self._backend.policy(request.bucket)
            if policy is None:
                raise missing("NoSuchBucketPolicy", f"{request.bucket}: has no policy")
            return Answer(status="200 OK", headers={"Content-Type": "application/json"}, body=policy)
        if request.method == "PUT":
            permissions.check_policy(body)
        self._backend.put_policy(request.bucket, body if request.method == "PUT" else None)
        return Answer(status="204 No Content")

    def _log(self, request: Request, body: bytes) -> Answer:
        """Keep where the access log goes; nothing is written there."""
        target = documents.logging(body)
        if target and self._backend.region(target["TargetBucket"]) != request.region:
            raise invalid("InvalidTargetBucketForLogging", f"{target['TargetBucket']}: not in {request.region}")
        if target and target["TargetBucket"] == request.bucket:
            raise invalid("InvalidTargetBucketForLogging", "TargetBucket: must be another bucket")
        self._backend.bucket(request.bucket).logging = target or {}
        return Answer(status="200 OK")

    def _call(self, request: Request, body: bytes, trailer: dict[str, str], grants: _Grants | None) -> Call:
        """Turn a request into what moto understands as it was meant."""
        root = next((root for name, root in _ROOTS.items() if name in request.query), None)
        is_document = root is not None and request.method == (
            "POST" if root in {"Delete", "CompleteMultipartUpload"} else "PUT"
        )
        headers = dict(trailer)
        if "uploads" in request.query:
            body = b""  # nothing is said there
        if is_document and root:
            documents.parse(body, root)
        encoding = request.headers.get("content-encoding", "")
        if "aws-chunked" in encoding:
            headers["content-encoding"] = ",".join(e for e in encoding.split(",") if e.strip() != "aws-chunked")
        if "acl" in request.query and request.method == "PUT" and body:
            headers["x-amz-acl"], body = documents.canned_acl(body), b""
        elif request.method == "PUT" and request.key and not _has_access(request):
            headers["x-amz-acl"] = "private"  # not the bucket's, as moto has it
        if "x-amz-copy-source" in request.headers:
            headers["x-amz-copy-source"] = self._source(request, grants)
        query = {} if request.bucket else {"bucket-region": request.region}
        if int(request.query.get("max-keys", 0)) > _MAX_KEYS:
            query["max-keys"] = str(_MAX_KEYS)
        if request.query.get("versionId") == "null" and self._backend.bucket(request.bucket).versioning_status is None:
            query["versionId"] = ""  # moto knows the one version that there is by no name
        return Call(
            request=request,
            body=body,
            headers=headers,
            without=frozenset(supported.ignored(request)),
            query=query,
            is_document=is_document,
        )

    def _source(self, request: Request, grants: _Grants | None) -> str:
        """See that the source of a copy is in this region and may be read; return it as moto reads it."""
        path, _, query = request.headers["x-amz-copy-source"].partition("?")
        bucket, _, key = unquote(path).removeprefix("/").partition("/")
        version = dict(parse_qsl(query)).get("versionId")
        if not key:
            raise invalid("InvalidArgument", f'x-amz-copy-source: must be BUCKET/KEY, got "{path}"')
        if self._backend.region(bucket) != request.region:
            raise missing("NoSuchBucket", f"{bucket}: not in {request.region}")
        readable = (
            self._backend.public_object(bucket, key, version)
            if grants is None
            else permissions.may_read(bucket, grants)
        )
        if not readable:
            raise forbidden("AccessDenied", f"this key's grants don't cover {bucket}")
        found = self._backend.object(bucket, key, version)
        conditions = (("x-amz-copy-source-if-match", True), ("x-amz-copy-source-if-none-match", False))
        for name, wanted in conditions:
            given = request.headers.get(name)
            if found and given and (given.strip('"') == found.etag.strip('"')) != wanted:
                raise S3Error(HTTPStatus.PRECONDITION_FAILED, "PreconditionFailed", name)
        return f"/{bucket}/{quote(key, safe='')}" + (f"?versionId={quote(version)}" if version else "")

    def _finish(self, request: Request, answer: Answer) -> Answer:
        """Put moto's documents right."""
        is_content = (
            request.key and request.method == "GET" and not request.query.keys() & {"acl", "uploadId", "tagging"}
        )
        if not answer.is_xml or not answer.body or (is_content and answer.status.startswith("2")):
            return answer
        answer.body = documents.owned(answer.body, f"{request.region}.{SPACES_DOMAIN}")
        if "encoding-type" in request.query and not request.key and answer.status.startswith("200"):
            answer.body = documents.encoded(answer.body)
        return answer


def _is_configuration(request: Request) -> bool:
    return bool(request.query.keys() & (permissions.CONFIGURATION | {"uploads"}))


def _has_access(request: Request) -> bool:
    names = {*request.headers, *(name.lower() for name in request.query)}
    return any(name == "x-amz-acl" or name.startswith("x-amz-grant-") for name in names)


def application(world: World) -> Spaces:
    """Build the application."""
    return Spaces(world, Backend())


@click.command()
@program.home_option
def main(home: Path) -> None:
    """Serve Spaces of the world in HOME."""
    program.log_to_output()
    world = load(home)
    names = [name for r in SPACES_REGIONS for name in _names(r)]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates.issue(world, names, world.ca / "spaces"))
    served = application(world)
    from moto.moto_server.werkzeug_app import MotoRequestHandler  # noqa: PLC0415 - only after its settings are set

    class Handler(MotoRequestHandler):
        """Hands paths on as they came: Python's server takes two slashes at the beginning for one."""

        def make_environ(self) -> WSGIEnvironment:
            return super().make_environ() | {"RAW_URI": self.requestline.split()[1]}

    def listen(name: str, tls: ssl.SSLContext | None) -> BaseWSGIServer:
        port = ports.reserve(world, name)
        logger.info("serving %s on 127.0.0.1:%d, %s", SPACES_DOMAIN, port, "with TLS" if tls else "plain")
        return make_server("127.0.0.1", port, served, threaded=True, request_handler=Handler, ssl_context=tls)

    threading.Thread(target=listen("spaces-http", None).serve_forever, daemon=True).start()
    listen("spaces", context).serve_forever()


def _names(region: str) -> list[str]:
    return [f"{prefix}{region}{kind}.{SPACES_DOMAIN}" for prefix, kind in _HOSTS]


_HOSTS = (("", ""), ("*.", ""), ("*.", ".cdn"), ("*.", "-static"))


if __name__ == "__main__":
    main()
