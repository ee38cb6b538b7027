"""A site on loopback for the tests of who asks it: two servers, and a name service that leads to them or not."""

import itertools
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from protocol.health import mark
from provider.traffic import probe
from tests.certificates import Authority

NAME = "polls.example"
ADDRESS = "203.0.113.7"


@dataclass(kw_only=True)
class Site:
    """Two servers on loopback, and a name service that leads to them or not."""

    https_port: int = 0
    http_port: int = 0
    release: str | None = "r2"
    health_status: int = 200
    location: str | None = f"https://{NAME}/"
    resolved: bool = True
    address: str = ADDRESS
    droplets: tuple[str, ...] = ("101",)  # that answer by turns
    redirects_all: bool = False  # from port 80, the health URL too, as a load balancer does
    asked: list[tuple[str, int]] = field(default_factory=list)  # whom a client wanted to find
    leaving: tuple[str, ...] = ()  # that answer by turns with the others, with the release of before
    turns: Iterator[int] = field(default_factory=itertools.count)
    waits: int = 0
    changes: list[dict[str, Any]] = field(default_factory=list)

    def getaddrinfo(self, host: str, port: int, *_: object, **__: object) -> list[Any]:
        """Resolve what a test needs; a socket is opened to loopback, whatever the address says."""
        self.asked.append((host, port))
        if host in {NAME, ADDRESS} and port in {80, 443} and (self.resolved or host == ADDRESS):
            local = self.https_port if port == 443 else self.http_port
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", Loopback((self.address, local)))]
        if host == "127.0.0.1":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def step(self, _seconds: float) -> None:
        """Change something instead of waiting."""
        self.waits += 1
        for name, value in (self.changes.pop(0) if self.changes else {}).items():
            setattr(self, name, value)


class Loopback(tuple[str, int]):
    """A socket address that shows a public address; `connect` gets loopback."""

    __slots__ = ()


def handler(site: Site, *, tls: bool) -> type[BaseHTTPRequestHandler]:
    """Answer as Nginx on the Droplet does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name is http.server's
            if not tls and site.redirects_all:
                self.send_response(307)
                self.send_header("Location", f"https://{self.headers['Host']}{self.path}")
                self.end_headers()
            elif self.path == "/healthz":
                droplets = (*site.leaving, *site.droplets)
                served_by = droplets[next(site.turns) % len(droplets)]
                release = "r1" if served_by in site.leaving else site.release
                document = {"status": "ok", "release": release, "served_by": mark(served_by)}
                self.answer(site.health_status, json.dumps(document))
            elif not tls and site.location:
                self.send_response(301)
                self.send_header("Location", site.location)
                self.end_headers()
            else:
                self.answer(200, "the site")

        def answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Serve polls.example with a certificate that only SSL_CERT_FILE makes trusted."""
    site = Site()
    authority = Authority("test CA")
    crt, key = authority.issue(NAME, tmp_path / "site")
    (tmp_path / "ca.pem").write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    https = ThreadingHTTPServer(("127.0.0.1", 0), handler(site, tls=True))
    https.socket = context.wrap_socket(https.socket, server_side=True)
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler(site, tls=False))
    site.https_port, site.http_port = https.server_port, http.server_port
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in (https, http)]
    for thread in threads:
        thread.start()

    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:  # noqa: ANN401  # as the standard library has it
        connect(self, ("127.0.0.1", address[1]) if isinstance(address, Loopback) else address)

    monkeypatch.setattr(socket.socket, "connect", connect_locally)
    monkeypatch.setattr(socket, "getaddrinfo", site.getaddrinfo)
    monkeypatch.setattr(probe, "pause", site.step)
    yield site
    for server in (https, http):
        server.shutdown()
        server.server_close()
    for thread in threads:
        thread.join()
