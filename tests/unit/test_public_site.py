"""The site's addresses, asked by the runner as visitors will come to them, with and without a proxy."""

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from protocol.health import mark
from provider.traffic import public_site
from tests.unit.site_server import ADDRESS, NAME, Site


def asked_at(wanted: public_site.Site) -> public_site.Answer:
    """Ask the address for a site."""
    return public_site.ask_at(wanted, ADDRESS, public_site.trust_for(wanted.host))


class Tunnels(BaseHTTPRequestHandler):
    """A proxy that lets who gives its password through to the site, wherever that says it wants to go."""

    protocol_version = "HTTP/1.1"
    site: Site
    port: int
    wanted: list[tuple[str, str]]  # where to, and by which right

    def do_CONNECT(self) -> None:  # the name is http.server's
        """Answer, then carry what comes from either side to the other."""
        self.wanted.append((self.path, self.headers.get("Proxy-Authorization", "")))
        if not self.wanted[-1][1]:
            self.send_error(407)
            return
        self.send_response(200)
        self.end_headers()
        with socket.create_connection(("127.0.0.1", self.site.https_port)) as way:
            back = threading.Thread(target=carry, args=(way, self.connection))
            back.start()
            carry(self.connection, way)
            back.join()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def carry(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends."""
    with contextlib.suppress(OSError):  # either may end it all at any time
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(site: Site) -> Iterator[type[Tunnels]]:
    """A proxy on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Tunnels)
    Tunnels.site, Tunnels.port, Tunnels.wanted = site, server.server_port, []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield Tunnels
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_address_is_asked_as_visitors_will(site: Site) -> None:
    """Over TLS, for the site's name, before that leads there; whoever else's certificate it has is no good."""
    site.resolved = False
    wanted = public_site.Site(url=f"https://{NAME}", release="r2")
    assert asked_at(wanted) == public_site.Answer(served_by=mark("101"))
    other = public_site.Site(url="https://other.example", release="r2")
    assert "not valid for 'other.example'" in asked_at(other).problem
    site.release = "r1"
    assert "serves release 'r1'" in asked_at(wanted).problem


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_an_address_is_asked_by_a_proxy_with_its_password(
    proxy: type[Tunnels], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """As the name is: a move would find no end where the runner has no other way out."""
    wanted = public_site.Site(url=f"https://{NAME}", release="r2")
    monkeypatch.setenv(variable, f"http://some%40one:pass%2Fword@127.0.0.1:{proxy.port}")
    assert asked_at(wanted) == public_site.Answer(served_by=mark("101"))
    assert proxy.wanted == [(f"{ADDRESS}:443", f"Basic {base64.b64encode(b'some@one:pass/word').decode()}")]
    monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
    refused = asked_at(wanted)
    assert "407" in refused.problem
    assert refused.fix == "see what HTTPS_PROXY on this machine leads to"


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
def test_a_proxy_without_a_port_has_its_schemes(
    site: Site, monkeypatch: pytest.MonkeyPatch, scheme: str, port: int
) -> None:
    """80 or 443, as everywhere else."""
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://proxy.example")
    assert asked_at(public_site.Site(url=f"https://{NAME}", release="r2")).problem
    assert site.asked[0] == ("proxy.example", port)
