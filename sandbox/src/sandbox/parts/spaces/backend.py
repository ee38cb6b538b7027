"""moto's S3 as the place where buckets and objects are: in memory, of one account, of all regions."""

import io
import os
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode
from wsgiref.types import WSGIApplication, WSGIEnvironment

from werkzeug.test import run_wsgi_app

from sandbox.parts.spaces.errors import invalid
from sandbox.parts.spaces.request import Request

# moto reads both when it is imported: paths name buckets after our rewriting, and CORS is each bucket's own business.
_ENVIRONMENT = {"S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true", "MOTO_DISABLE_GLOBAL_CORS": "true"}
_AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=sandbox/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)
_OTHERS = re.compile(r"access-control-.*|server", re.IGNORECASE)  # CORS is ours
# What our checks have dealt with, and moto would deal with again.
_DONE = ("HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_MD5", "HTTP_X_AMZ_CONTENT_SHA256", "HTTP_X_AMZ_DECODED_CONTENT_LENGTH")


@dataclass(kw_only=True, slots=True)
class Answer:
    """What is sent back."""

    status: str
    headers: dict[str, str] = field(default_factory=dict)  # names as moto writes them
    body: bytes = b""

    @property
    def is_xml(self) -> bool:
        """Say whether the body is a document of S3, which an object's content never is."""
        return self.header("content-type").startswith(("application/xml", "text/xml"))

    def header(self, name: str) -> str:
        """Return a header's value, empty without one."""
        return next((value for key, value in self.headers.items() if key.lower() == name), "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A request after our checks, as moto shall see it."""

    request: Request
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)  # added or replaced
    without: frozenset[str] = frozenset()  # headers that moto shall not see
    query: dict[str, str] = field(default_factory=dict)
    is_document: bool = False


class Backend:
    """Buckets and objects."""

    def __init__(self) -> None:
        os.environ.update(_ENVIRONMENT)
        from moto.core.models import DEFAULT_ACCOUNT_ID  # noqa: PLC0415 - it reads its settings when imported
        from moto.moto_server.werkzeug_app import BackendRequest, create_backend_app  # noqa: PLC0415
        from moto.s3.models import s3_backends  # noqa: PLC0415

        class Uninterpreted(BackendRequest):
            """A form that is uploaded as an object is its content, not a form."""

            want_form_data_parsed = False

        app = create_backend_app("s3")
        app.request_class = Uninterpreted
        self._app: WSGIApplication = app.wsgi_app
        self._moto: Any = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]

    def region(self, bucket: str) -> str | None:
        """Return a bucket's region, or None."""
        found = self._moto.buckets.get(bucket)
        return found.region_name if found else None

    def bucket(self, name: str) -> Any:  # noqa: ANN401 - moto's
        """Return a bucket that exists."""
        return self._moto.buckets[name]

    def policy(self, bucket: str) -> bytes | None:
        """Return a bucket's policy, or None. It is ours: moto's own would be kept to without looking at whom."""
        return getattr(self._moto.buckets.get(bucket), "sandbox_policy", None)

    def put_policy(self, bucket: str, document: bytes | None) -> None:
        """Set or delete a bucket's policy."""
        self._moto.buckets[bucket].sandbox_policy = document

    def public_bucket(self, name: str) -> bool:
        """Say whether everybody may list a bucket."""
        found = self._moto.buckets.get(name)
        return bool(found and found.acl and found.acl.public_read)

    def object(self, bucket: str, key: str, version: str | None = None) -> Any:  # noqa: ANN401 - moto's
        """Return an object, or None."""
        return self._moto.get_object(bucket, key, version_id=version)

    def has_upload(self, request: Request, upload: str) -> bool:
        """Say whether an upload in parts is under way; to complete it twice is to complete it once."""
        if upload in self._moto.buckets[request.bucket].multiparts:
            return True
        made = self.object(request.bucket, request.key) if request.method == "POST" else None
        return bool(made and made.multipart and made.multipart.id == upload)

    def public_object(self, bucket: str, key: str, version: str | None) -> bool:
        """Say whether everybody may read an object."""
        stored = self.object(bucket, key, version)
        return bool(stored and stored.acl and stored.acl.public_read)

    def answer(self, call: Call, environ: WSGIEnvironment) -> Answer:
        """Let moto answer."""
        try:
            chunks, status, headers = run_wsgi_app(self._app, _environ(call, environ), buffered=True)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, AssertionError) as error:
            if not call.is_document:
                raise
            # Well-formed, but not what moto looks for in it.
            raise invalid("MalformedXML", f"the body is not as this request has it: {error!r}") from error
        kept = {name: value for name, value in headers.items() if not _OTHERS.fullmatch(name)}
        if kept.get("x-amz-version-id") == "null":  # of a bucket without versions
            del kept["x-amz-version-id"]
        return Answer(status=status, headers=kept, body=b"".join(chunks))


def _environ(call: Call, environ: WSGIEnvironment) -> WSGIEnvironment:
    request = call.request
    without = {f"HTTP_{name.upper().replace('-', '_')}" for name in call.without}
    seen = {name: value for name, value in environ.items() if name not in {*_DONE, *without}}
    carried = {name.lower(): value for name, value in request.query.items() if name.lower().startswith("x-amz-")}
    for name, value in (carried | call.headers).items():
        if name in call.headers or name not in request.headers:
            seen[f"HTTP_{name.upper().replace('-', '_')}"] = value
    query = {name: value for name, value in request.query.items() if name.lower() not in carried} | call.query
    query = {
        name: value for name, value in query.items() if name != "encoding-type" and (name, value) != ("versionId", "")
    }
    path = f"/{request.bucket}/{quote(request.key, safe='')}" if request.key else f"/{request.bucket}"
    return seen | {
        # moto's routes look at one path, to see that there is a key, and its methods at the other, to see which.
        "PATH_INFO": f"/{request.bucket}/key" if request.key else f"/{request.bucket}",
        "RAW_URI": path,
        "REQUEST_URI": path,
        "QUERY_STRING": urlencode(query),
        "HTTP_HOST": "localhost",
        "HTTP_AUTHORIZATION": _AUTHORIZATION,
        "CONTENT_LENGTH": str(len(call.body)),
        "wsgi.input": io.BytesIO(call.body),
        "wsgi.input_terminated": True,
    }
