"""Bodies of requests: read whole, taken out of their chunks, and compared with every digest that was sent along."""

import base64
import binascii
import hashlib
import hmac
import io
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import BinaryIO
from wsgiref.types import WSGIEnvironment

from sandbox.parts.spaces.errors import S3Error, invalid
from sandbox.parts.spaces.request import Request
from sandbox.parts.spaces.signatures import UNSIGNED

_MAX_PUT = 5 * 2**30  # bytes
_MD5_BYTES = 16
# Checksums that this machine can make; others are kept as they were sent.
_CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "x-amz-checksum-crc32": lambda body: binascii.crc32(body).to_bytes(4, "big"),
    "x-amz-checksum-sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
}


def read(environ: WSGIEnvironment, request: Request) -> tuple[bytes, dict[str, str]]:
    """Return the content and the headers that followed it."""
    body = _all(environ)
    trailer: dict[str, str] = {}
    payload = request.headers.get("x-amz-content-sha256", UNSIGNED)
    if payload.startswith("STREAMING-"):
        # The signatures of single chunks are not checked: that of the request is, and TLS keeps the rest together.
        body, trailer = _unchunked(body)
        if request.headers.get("x-amz-decoded-content-length", "") != str(len(body)):
            raise invalid("IncompleteBody", f"x-amz-decoded-content-length: must be {len(body)}")
    elif payload != UNSIGNED and not hmac.compare_digest(payload.lower().encode(), _sha256(body).encode()):
        raise invalid("XAmzContentSHA256Mismatch", "x-amz-content-sha256: the content has another")
    md5 = request.headers.get("content-md5")
    if md5 is not None:
        if len(_base64("content-md5", md5)) != _MD5_BYTES:
            raise invalid("InvalidDigest", f'content-md5: must be 16 bytes in Base64, got "{md5}"')
        if _base64("content-md5", md5) != hashlib.md5(body, usedforsecurity=False).digest():
            raise invalid("BadDigest", "content-md5: the content has another")
    if request.method == "PUT":
        for name, checksum in _CHECKSUMS.items():
            value = request.headers.get(name) or trailer.get(name)
            if value is not None and _base64(name, value) != checksum(body):
                raise invalid("BadDigest", f"{name}: the content has another")
    return body, trailer


def _all(environ: WSGIEnvironment) -> bytes:
    stream: BinaryIO = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        return stream.read()
    length = str(environ.get("CONTENT_LENGTH") or "0")
    if not re.fullmatch(r"[0-9]{1,15}", length):
        raise invalid("InvalidArgument", f'content-length: must be a number, got "{length}"')
    if int(length) > _MAX_PUT:
        raise invalid("EntityTooLarge", f"a request has {_MAX_PUT} bytes at most")
    body = stream.read(int(length))
    if len(body) < int(length):
        raise invalid("IncompleteBody", f"{length} bytes were announced, {len(body)} came")
    return body


def _unchunked(body: bytes) -> tuple[bytes, dict[str, str]]:
    """Take an aws-chunked body apart: SIZE[;chunk-signature=…], bytes, …, 0, and header lines."""
    stream, content = io.BytesIO(body), bytearray()
    while True:
        size, _, _ = stream.readline().strip().partition(b";")
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,12}", size):
            raise invalid("IncompleteBody", "aws-chunked: a chunk begins with its size in hexadecimal")
        if int(size, 16) == 0:
            break
        chunk = stream.read(int(size, 16))
        if len(chunk) < int(size, 16) or stream.readline().strip():
            raise invalid("IncompleteBody", "aws-chunked: a chunk is not as long as it says")
        content += chunk
    trailer = {}
    for line in stream.read().decode("latin-1").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            trailer[name.strip().lower()] = value.strip()
    return bytes(content), trailer


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _base64(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text.encode(), validate=True)
    except binascii.Error as error:
        raise S3Error(HTTPStatus.BAD_REQUEST, "InvalidDigest", f'{name}: must be Base64, got "{text}"') from error
