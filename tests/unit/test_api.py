"""The API's answers, refusals and silence told apart; the token goes nowhere else."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from provider import api
from provider.api import Api, UnreadableError
from tests.certificates import Authority

TOKEN = "dop_v1_secret"


class Server(HTTPServer):
    """On loopback; keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.sent: list[bytes] = []

    def handle_error(self, *_arguments: object) -> None:
        """Say nothing of a client that trusts it not."""


class Handler(BaseHTTPRequestHandler):
    """Answers each path with the status that its last part names."""

    server: Server

    def do_GET(self) -> None:
        """Answer."""
        self.server.asked.append(f"{self.command} {self.path}")
        self.send_response(int(urlsplit(self.path).path.rpartition("/")[2]))
        self.send_header("Location", "/elsewhere/200")
        self.end_headers()
        self.wfile.write(b"not JSON" if "text" in self.path else b'{"token": "%s"}' % self.token())

    def do_DELETE(self) -> None:
        """Answer."""
        self.do_GET()

    def do_POST(self) -> None:
        """Take a body, and answer."""
        self.server.sent.append(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.startswith("/v2/refused"):
            self.do_GET()
            return
        self.send_response(422)
        self.end_headers()
        self.wfile.write(b'{"id": "unprocessable_entity", "message": "size: is wrong"}')

    def do_PUT(self) -> None:
        """The same."""
        self.do_POST()

    def token(self) -> bytes:
        """What it was sent."""
        return self.headers["Authorization"].encode()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Let it answer."""
    with server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def server() -> Iterator[Server]:
    """One without TLS."""
    with serving(Server()) as server:
        yield server


def at(server: Server, *, token: str = TOKEN, scheme: str = "http") -> Api:
    """What asks it."""
    return Api(token, f"{scheme}://127.0.0.1:{server.server_port}/", 5)


def test_answers_are_told_from_refusals(server: Server) -> None:
    """404 is an answer; whatever else is not a success is what was not looked for, without the token."""
    asked = at(server)
    assert asked.get("200") == {"token": f"Bearer {TOKEN}"}
    assert asked.get(str(HTTPStatus.NOT_FOUND.value)) is None
    refusals = {"401": "401", "403": "403", "429": "429", "503": "503", "302": "302", "text/200": "JSON"}
    for path, words in refusals.items():
        with pytest.raises(UnreadableError, match=f"/v2/{path} is .*{words}") as refused:
            asked.get(f"{path}?page=1")
        assert TOKEN not in str(refused.value)
    assert [path for path in server.asked if "elsewhere" in path] == []


def test_what_is_gone_is_deleted(server: Server) -> None:
    """Others may have been faster; what may not be deleted is an error."""
    asked = at(server)
    asked.delete("keys/204")
    asked.delete("keys/404")
    with pytest.raises(UnreadableError, match="/v2/keys/403 is answered with 403"):
        asked.delete("keys/403")
    assert server.asked == ["DELETE /v2/keys/204", "DELETE /v2/keys/404", "DELETE /v2/keys/403"]


def test_what_is_made_and_changed_is_sent_as_json(server: Server) -> None:
    """Its answer is returned; a place that is not there is an error, where something was to be made."""
    asked = at(server)
    assert asked.post("keys/201", {"name": "a"}) == {"token": f"Bearer {TOKEN}"}
    asked.put("keys/202", {"size": 1})
    assert server.sent == [b'{"name": "a"}', b'{"size": 1}']
    with pytest.raises(UnreadableError, match=r"/v2/keys/404 is answered with 404$"):
        asked.post("keys/404", {})


def test_what_the_api_says_of_a_refusal_is_shown(server: Server) -> None:
    """Its own words, and not whatever else is in the answer."""
    with pytest.raises(UnreadableError, match=r"/v2/refused is answered with 422: size: is wrong$"):
        at(server).put("refused", {})


def test_no_network_is_no_answer() -> None:
    """By name of the place."""
    with pytest.raises(UnreadableError, match=r"http://127\.0\.0\.1:9 gives no answer: .*refused"):
        Api(TOKEN, "http://127.0.0.1:9", 5).get("vpcs")


def test_a_token_that_can_not_be_one_is_not_shown(server: Server) -> None:
    """Python's own error would."""
    with pytest.raises(UnreadableError) as refused:
        at(server, token=f"{TOKEN}\n{TOKEN}").get("vpcs")
    assert TOKEN not in str(refused.value)
    assert server.asked == []


@pytest.mark.parametrize("endpoint", ["api.example", "file:///etc"])
def test_a_place_that_is_none_is_no_answer(endpoint: str) -> None:
    """The provider will say more."""
    with pytest.raises(UnreadableError, match="can't be asked"):
        Api(TOKEN, endpoint, 5)


def test_a_trust_store_that_is_missing_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the environment's fault, and the provider will say more."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/bundle.pem")
    with pytest.raises(UnreadableError, match="can't be asked"):
        Api(TOKEN, "https://api.example", 5)


def test_who_is_not_trusted_is_not_told_the_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment's trust store says who is; without one, no private authority."""
    authority = Authority("ours")
    authority.write(tmp_path / "authority")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("127.0.0.1", tmp_path / "server"))
    server = Server()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.crt"))
        assert at(server, scheme="https").get("200") == {"token": f"Bearer {TOKEN}"}
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(UnreadableError, match="certificate verify failed"):
            at(server, scheme="https").get("200")
    assert server.asked == ["GET /v2/200"]


def test_the_environment_is_read_as_the_provider_does() -> None:
    """The first token that is there, and another place if one is named."""
    assert api.token({"DIGITALOCEAN_TOKEN": "", "DIGITALOCEAN_ACCESS_TOKEN": "second"}) == "second"
    assert api.token({"DIGITALOCEAN_TOKEN": "first", "DIGITALOCEAN_ACCESS_TOKEN": "second"}) == "first"
    assert api.token({}) is None
    assert api.endpoint({}) == "https://api.digitalocean.com"
    assert api.endpoint({"DIGITALOCEAN_API_URL": "https://api.example"}) == "https://api.example"
