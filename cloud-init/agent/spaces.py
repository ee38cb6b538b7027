"""The agent's client of Spaces."""

import datetime as dt
import functools
import hashlib
import hmac
import http
import http.client
import re
import ssl
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import NamedTuple

from agent.config import Config
from agent.errors import AgentError


class SpacesError(AgentError):
    """Spaces refused, or could not be reached."""


def signed_headers(
    *, method: str, host: str, target: str, headers: Mapping[str, str], body: bytes, config: Config, now: dt.datetime
) -> dict[str, str]:
    """Return the headers of a request, signed by AWS Signature Version 4.

    `target` is the path and query as sent. Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    digest = hashlib.sha256(body).hexdigest()
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    sent = {name.lower(): value for name, value in headers.items()}
    sent |= {"host": host, "x-amz-date": moment, "x-amz-content-sha256": digest}
    names = ";".join(sorted(sent))
    path, _, query = target.partition("?")
    lines = [method, path, "&".join(sorted(query.split("&"))), *(f"{name}:{sent[name]}" for name in sorted(sent))]
    canonical = "\n".join([*lines, "", names, digest])
    scope = f"{moment[:8]}/{config.region}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4" + config.secret_key.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    credential = f"Credential={config.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return sent | {"authorization": f"AWS4-HMAC-SHA256 {credential}"}


class Answer(NamedTuple):
    """One answer of Spaces; 304 and 404 are answers too."""

    status: int
    etag: str
    body: bytes


class Spaces:
    """The few S3 requests that the agent makes, over one connection for each bucket."""

    PAUSES = (0.5, 1, 2, 4, 0)  # seconds after each try; a moment of trouble must not end a release

    def __init__(self, config: Config) -> None:
        self._config = config
        self._connections: dict[str, http.client.HTTPSConnection] = {}

    def get(self, bucket: str, key: str, *, unless: str = "") -> Answer:
        """Return an object, 304 if its ETag is still `unless`, or 404."""
        return self._request("GET", bucket, key, {200, 304, 404}, headers={"if-none-match": unless} if unless else {})

    def read(self, bucket: str, key: str) -> bytes:
        """Return an object that must exist."""
        return self._request("GET", bucket, key, {200}).body

    def put(self, bucket: str, key: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Write an object."""
        self._request("PUT", bucket, key, {200}, body=body, headers=headers)

    def list(self, bucket: str, prefix: str) -> set[str]:
        """Return all keys under a prefix."""
        keys: set[str] = set()
        query = {"list-type": "2", "prefix": prefix}
        while True:
            # Not input from strangers: our own bucket, over TLS.
            page = ET.fromstring(self._request("GET", bucket, "", {200}, query=query).body)  # noqa: S314
            keys.update(element.text or "" for element in page.iterfind("{*}Contents/{*}Key"))
            token = page.findtext("{*}NextContinuationToken")
            if not token:
                return keys
            query["continuation-token"] = token

    def _request(
        self,
        method: str,
        bucket: str,
        key: str,
        allowed: set[int],
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        host = f"{bucket}.{urllib.parse.urlsplit(self._config.endpoint).netloc}"
        target = "/" + urllib.parse.quote(key, safe="/~")
        if query:
            target += "?" + "&".join(f"{name}={urllib.parse.quote(query[name], safe='~')}" for name in sorted(query))
        if host not in self._connections:
            self._connections[host] = http.client.HTTPSConnection(host, timeout=30, context=trust())
        connection = self._connections[host]
        problem = ""
        for pause in self.PAUSES:
            sent = signed_headers(
                method=method, host=host, target=target, headers=headers or {}, body=body, config=self._config,
                now=dt.datetime.now(dt.UTC),
            )  # fmt: skip
            try:
                connection.request(method, target, body=body or None, headers=sent)
                response = connection.getresponse()
                answer = Answer(response.status, response.getheader("etag", ""), response.read())
            except (OSError, http.client.HTTPException) as error:
                connection.close()  # the next request opens it again
                problem = f"{type(error).__name__}: {error}"
            else:
                if answer.status in allowed:
                    return answer
                code = re.search(rb"<Code>(\w+)", answer.body)
                problem = f"{answer.status} {(code[1] if code else answer.body[:200]).decode(errors='replace')}"
                if answer.status < 500 and answer.status != http.HTTPStatus.TOO_MANY_REQUESTS:  # noqa: PLR2004
                    break
            time.sleep(pause)
        raise SpacesError(f"{method} {bucket}/{key}: {problem}")


@functools.cache
def trust() -> ssl.SSLContext:
    """Read the machine's authorities, once: it takes longer than a request."""
    return ssl.create_default_context()
