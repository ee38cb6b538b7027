"""Stands for Spaces: remembers each request, does next what a test wants, and says whether a signature fits."""

import contextlib
import socketserver
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sandbox.world import certificates, world


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What came; header names in small letters."""

    method: str
    target: str  # path and query as they were sent
    headers: Mapping[str, str]
    body: bytes
    connection: int  # which of the client's connections it came by

    def is_signed_by(
        self, access_key: str, secret_key: str, *, key: str, query: Mapping[str, str] | None = None
    ) -> bool:
        """Tell whether botocore signs a request for this object, or this question to the bucket, in the same way."""
        authorization = self.headers["authorization"]
        signed = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        amazon = {name for name in self.headers if name.startswith("x-amz-")}
        assert {"host", "x-amz-content-sha256", "x-amz-date"} | amazon <= set(signed)
        expected = AWSRequest(
            self.method,
            f"https://{self.headers['host']}/{urllib.parse.quote(key, safe='/~')}",
            headers={name: self.headers[name] for name in signed if name != "host"},
            params=dict(query or {}),
            data=self.body,
        )
        expected.context["timestamp"] = self.headers["x-amz-date"]
        signer = S3SigV4Auth(Credentials(access_key, secret_key), "s3", "nyc3")
        text = signer.string_to_sign(expected, signer.canonical_request(expected))
        scope = f"Credential={access_key}/{signer.credential_scope(expected)},"
        return scope in authorization and authorization.endswith(f"Signature={signer.signature(text, expected)}")


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: "SpacesServer"

    def do_GET(self) -> None:
        """Remember a request, and do what is next."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(
            method=self.command, target=self.path, headers=headers, body=body, connection=self.server.number(self)
        )
        self.server.requests.append(request)
        action = self.server.next.pop(0) if self.server.next else answer(200)
        action(self)

    do_PUT = do_DELETE = do_GET  # noqa: N815

    def do_CONNECT(self) -> None:
        """Be the proxy, too, for any name."""
        assert self.server.tls
        self.server.tunnels.append(self.path)
        self.send_response(200, "Connection established")
        self.send_header("etag", "the proxy's own")
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = socketserver._SocketWriter(self.connection)  # type: ignore[attr-defined]
        self.close_connection = False

    def finish(self) -> None:
        """Close what CONNECT opened."""
        super().finish()
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - name of the base class
        """Say nothing."""


Action = Callable[[Handler], None]


class SpacesServer(ThreadingHTTPServer):
    """Listens on loopback; `next` is what it does for the next requests, then it answers 200 without a body."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None, *, port: int = 0, speaks_tls: bool = False) -> None:
        self.requests: list[Request] = []
        self.tunnels: list[str] = []
        self.next: list[Action] = []
        self.tls = tls
        self._connections: list[Handler] = []
        super().__init__(("127.0.0.1", port), Handler)
        if speaks_tls and tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def number(self, handler: Handler) -> int:
        """Return which connection this is, from 0 on."""
        if handler not in self._connections:
            self._connections.append(handler)
        return self._connections.index(handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - its own types
        """Say nothing of clients that hang up."""


@contextlib.contextmanager
def listening(server: SpacesServer) -> Iterator[SpacesServer]:
    """Let a server serve."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """A certificate for some names, and what clients trust it by."""

    context: ssl.SSLContext
    bundle: Path
    names: list[str] = field(default_factory=list)


def trust(home: Path, *names: str) -> Trust:
    """Make a certificate."""
    made = world.create(home, "api", proxy_port=1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates.issue(made, list(names), home / "server"))
    return Trust(context=context, bundle=certificates.write_bundle(made), names=list(names))


def answer(status: int, body: bytes = b"", **headers: str) -> Action:
    """Answer whole; names of headers have _ for -."""

    def act(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return act


def hang_up(handler: Handler) -> None:
    """Close the connection instead of an answer."""
    handler.close_connection = True


def half(body: bytes, *, chunked: bool = False) -> Action:
    """Begin to answer with a body, and close the connection half-way."""

    def act(handler: Handler) -> None:
        part = body[: len(body) // 2]
        handler.send_response(200)
        if chunked:
            handler.send_header("transfer-encoding", "chunked")
            part = b"%x\r\n%b\r\n" % (len(part), part)
        else:
            handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(part)
        handler.close_connection = True

    return act
