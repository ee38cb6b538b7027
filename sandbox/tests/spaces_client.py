"""Requests to Spaces as bytes, signed by botocore: for what no client would send, or has sent once."""

import http.client
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from botocore.auth import HmacV1Auth, HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sandbox.world import ports
from tests.api_client import Api

HOST = "nyc3.digitaloceanspaces.com"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """An answer."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def code(self) -> str:
        """The error's code, empty without one."""
        return self.body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Raw:
    """A request, before it is signed."""

    method: str = "GET"
    host: str = HOST
    path: str = "/"  # percent-encoded as it shall be sent
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def target(self) -> str:
        """Path and query; a name without a value has no = in it, as version 2 signs it."""
        pairs = [quote(name, safe="") + (f"={quote(value, safe='')}" if value else "") for name, value in self.query]
        return self.path + ("?" if pairs else "") + "&".join(pairs)

    def signed(self, api: Api, how: str, *, path_style: bool = False) -> "Raw":
        """Sign with the account's key: "v4", "v2", "v4-url", "v2-url", or "none"."""
        credentials = Credentials(api.world.spaces_access_key, api.world.spaces_secret_key)
        url = f"https://{self.host}{self.target}"
        bucket = "" if path_style else f"/{self.host.split('.')[0]}"
        data = b"" if how.endswith("-url") else self.body
        request = AWSRequest(method=self.method, url=url, headers=self.headers, data=data, auth_path=bucket + self.path)
        if self.headers.get("x-amz-content-sha256", "").startswith("STREAMING"):
            request.context["checksum"] = {"request_algorithm": {"in": "trailer"}}
        elif "x-amz-content-sha256" in self.headers:
            request.context["payload_signing_enabled"] = False
        if how == "v4":
            S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
        elif how == "v4-url":
            S3SigV4QueryAuth(credentials, "s3", "us-east-1", expires=60).add_auth(request)
        elif how == "v2":
            HmacV1Auth(credentials).add_auth(request)
        elif how == "v2-url":
            HmacV1QueryAuth(credentials, expires=60).add_auth(request)
        target = request.url.removeprefix(f"https://{self.host}")
        return replace(self, path=target, query=[], headers=dict(request.headers.items()))

    def send(self, api: Api) -> Sent:
        """Send it byte by byte as it is, without a look at what it says, and without TLS."""
        connection = http.client.HTTPConnection("127.0.0.1", ports.known(api.world)["spaces-http"], timeout=30)
        connection.putrequest(self.method, self.target, skip_host=True, skip_accept_encoding=True)
        headers = {"Host": self.host, "Content-Length": str(len(self.body))} | self.headers
        for name, value in headers.items():
            connection.putheader(name, value.encode())
        connection.endheaders(self.body)
        answer = connection.getresponse()
        sent = Sent(
            status=answer.status,
            headers={name.lower(): value for name, value in answer.getheaders()},
            body=answer.read(),
        )
        connection.close()
        return sent
