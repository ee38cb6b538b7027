"""The agent's client of Spaces: libcurl, which signs the requests and keeps the connection between two of them."""

import hashlib
import http
import io
import os
import re
import time
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from typing import IO, NamedTuple

import pycurl

from agent.config import Config
from agent.errors import AgentError

# Debian's; SSL_CERT_FILE as everywhere.
TRUST = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
CONNECT_SECONDS = 10
STALLED_SECONDS = 30  # for so long nothing may arrive
PATIENCE = 90  # seconds after which there is no further try, as in start.py
PATIENT = (0.5, 1, 2, 4, *[8] * 10, 0)  # seconds after each try of what a release would end with
NO_BODY = hashlib.sha256(b"").hexdigest()


class SpacesError(AgentError):
    """Spaces refused, or could not be reached."""


class Answer(NamedTuple):
    """One answer of Spaces; 304 and 404 are answers too."""

    status: int
    etag: str
    body: bytes


class Spaces:
    """The few S3 requests that the agent makes. Not for several threads: each makes its own.

    `alive` is called while a request lasts, about every second. `seconds` bounds one try as a whole; without, a try
    lasts as long as something arrives. `accepted` has the buckets that have accepted the key: one that was made just
    now may be refused for a moment, by one bucket longer than by another (docs/releases.md).
    """

    PAUSES = (0.5, 1, 2, 4, 0)  # seconds after each try; where it failed, there will be another one soon

    def __init__(
        self,
        config: Config,
        alive: Callable[[], None] = lambda: None,
        *,
        pauses: tuple[float, ...] = PAUSES,
        seconds: float = 0,
        accepted: set[str] | None = None,
    ) -> None:
        self._config = config
        self._alive = alive
        self._pauses = pauses
        self._seconds = seconds
        self._accepted = set() if accepted is None else accepted
        self._said = 0.0  # when `alive` was called last, by the monotonic clock
        self._curl = pycurl.Curl()  # its connections outlive a reset

    def get(self, bucket: str, key: str, *, unless: str = "") -> Answer:
        """Return an object, 304 if its ETag is still `unless`, or 404."""
        return self._request("GET", bucket, key, {200, 304, 404}, headers={"if-none-match": unless} if unless else {})

    def read(self, bucket: str, key: str) -> bytes:
        """Return an object that must exist."""
        return self._request("GET", bucket, key, {200}).body

    def download(self, bucket: str, key: str, file: IO[bytes]) -> None:
        """Write an object that must exist into a file, which holds nothing else afterwards."""
        self._request("GET", bucket, key, {200}, sink=file)

    def put(self, bucket: str, key: str, body: bytes | IO[bytes], headers: Mapping[str, str]) -> None:
        """Write an object; `headers` must have a content-type. A file is sent piece by piece."""
        self._request("PUT", bucket, key, {200}, body=body, headers=headers)

    def remove(self, bucket: str, key: str) -> None:
        """Delete an object; one that isn't there is no error."""
        self._request("DELETE", bucket, key, {204, 404})

    def list(self, bucket: str, prefix: str) -> set[str]:
        """Return all keys under a prefix."""
        keys: set[str] = set()
        query = {"list-type": "2", "prefix": prefix}
        while True:
            # Not input from strangers: our own bucket, over TLS.
            page = ET.fromstring(self._request("GET", bucket, "", {200}, query=query).body)  # noqa: S314
            found = [element.text or "" for element in page.iterfind("{*}Contents/{*}Key")]
            more = page.findtext("{*}IsTruncated") == "true"
            if more and keys.issuperset(found):
                raise SpacesError(
                    f"GET {bucket}/?prefix={prefix}: the list does not end, last key {max(keys, default='')}"
                )
            keys.update(found)
            if not more:
                return keys
            # Before 8.19 (Debian 13 has 8.14.1) libcurl signs a query with `+` wrongly: curl's commit ee3a4dff1a. So no
            # token, which may have one, and what comes right before all keys with `+` in this place.
            before, plus, _ = max(found).partition("+")
            query["start-after"] = before + "*" if plus else before

    def _request(
        self,
        method: str,
        bucket: str,
        key: str,
        allowed: set[int],
        *,
        body: bytes | IO[bytes] = b"",
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        sink: IO[bytes] | None = None,
    ) -> Answer:
        scheme, host, *_ = urllib.parse.urlsplit(self._config.endpoint)
        url = f"{scheme}://{bucket}.{host}/{urllib.parse.quote(key, safe='/~')}"
        if query:
            url += "?" + "&".join(f"{name}={urllib.parse.quote(query[name], safe='~')}" for name in sorted(query))
        problem = ""
        end = time.monotonic() + PATIENCE
        for pause in self._pauses:
            try:
                answer = self._once(method, url, body, headers or {}, sink)
            except pycurl.error as error:
                problem = f"curl: {[*error.args][-1]}"
            else:
                if answer.status in allowed:
                    self._accepted.add(bucket)
                    return answer
                code = re.search(rb"<Code>(\w+)", answer.body)
                problem = f"{answer.status} {(code[1] if code else answer.body[:200]).decode(errors='replace')}"
                soon = {429} if bucket in self._accepted else {403, 429}
                if answer.status < 500 and answer.status not in soon:  # noqa: PLR2004
                    break
            if time.monotonic() > end:
                break
            self._alive()
            time.sleep(pause)
        raise SpacesError(f"{method} {bucket}/{key}: {problem}")

    def _once(
        self, method: str, url: str, body: bytes | IO[bytes], headers: Mapping[str, str], sink: IO[bytes] | None
    ) -> Answer:
        """Make one request; an answer that isn't the object never goes to the sink."""
        received, status, etag = io.BytesIO(), 0, ""
        trouble: OSError | None = None  # of this machine: curl would only say that it could not write
        if sink:
            sink.seek(0)
            sink.truncate()

        def header(line: bytes) -> None:
            nonlocal status, etag
            name, _, value = line.decode("latin-1").partition(":")
            if name.startswith("HTTP/"):  # of a proxy, then of Spaces
                status, etag = int(name.split()[1]), ""
            elif name.lower() == "etag":
                etag = value.strip()

        def write(data: bytes) -> int:
            nonlocal trouble
            try:
                return (sink if sink and status == http.HTTPStatus.OK else received).write(data)
            except OSError as error:
                trouble = error
                return -1

        curl = self._curl
        curl.reset()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.CAINFO, TRUST)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.CONNECTTIMEOUT, CONNECT_SECONDS)
        curl.setopt(pycurl.TIMEOUT_MS, round(self._seconds * 1000))  # 0: none
        curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        curl.setopt(pycurl.LOW_SPEED_TIME, STALLED_SECONDS)
        curl.setopt(pycurl.NOPROGRESS, 0)
        curl.setopt(pycurl.XFERINFOFUNCTION, self._progress)
        curl.setopt(pycurl.AWS_SIGV4, f"aws:amz:{self._config.region}:s3")
        curl.setopt(pycurl.USERNAME, self._config.access_key)
        curl.setopt(pycurl.PASSWORD, self._config.secret_key)
        if method == "DELETE":
            curl.setopt(pycurl.CUSTOMREQUEST, method)
        sent = {**headers, "x-amz-content-sha256": self._give(body) if method == "PUT" else NO_BODY}
        curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in sent.items()] + ["expect:"])
        curl.setopt(pycurl.HEADERFUNCTION, header)
        curl.setopt(pycurl.WRITEFUNCTION, write)
        try:
            curl.perform()
        except pycurl.error:
            if trouble:
                raise trouble from None
            raise
        return Answer(status, etag, received.getvalue())

    def _give(self, body: bytes | IO[bytes]) -> str:
        """Let curl send a body by PUT; return its SHA-256, which is a part of the signature."""
        curl = self._curl
        if isinstance(body, bytes):
            curl.setopt(pycurl.CUSTOMREQUEST, "PUT")
            curl.setopt(pycurl.POSTFIELDS, body)
            return hashlib.sha256(body).hexdigest()

        def seek(offset: int, origin: int) -> int:
            body.seek(offset, origin)
            return pycurl.SEEKFUNC_OK

        size = body.seek(0, os.SEEK_END)
        body.seek(0)
        digest = hashlib.file_digest(body, "sha256").hexdigest()  # type: ignore[arg-type]  # any binary file
        body.seek(0)
        curl.setopt(pycurl.UPLOAD, 1)
        curl.setopt(pycurl.INFILESIZE_LARGE, size)
        curl.setopt(pycurl.READFUNCTION, body.read)
        curl.setopt(pycurl.SEEKFUNCTION, seek)  # when a connection that was kept turns out to be closed
        return digest

    def _progress(self, *_counts: int) -> None:
        """Say that a request goes on; curl calls this for each piece, and systemd need not hear of all of them."""
        if (now := time.monotonic()) >= self._said + 1:
            self._said = now
            self._alive()
