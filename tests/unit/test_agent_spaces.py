"""The agent's requests to Spaces: signed as S3 wants it, and tried again as long as that may help."""

import contextlib
import dataclasses
import hashlib
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.sax.saxutils import escape

import pytest

from agent import spaces
from agent.spaces import PATIENT, Answer, Spaces, SpacesError
from tests.unit import droplet_world
from tests.unit.spaces_server import Action, Handler, Request, SpacesServer, answer, half, hang_up, listening, trust

CONFIG = dataclasses.replace(droplet_world.CONFIG, endpoint="http://localhost", secret_key="the-agents-own+key/")
BODY = b"0123456789" * 1000
DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"
KEYS = ["desired.json", "static/admin/grüße & more+(x)~é'*!@=,;.css", "static/a%20b//c.js", "static/日本.svg"]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine is told about proxies does not count."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, in no time."""
    made: list[float] = []
    monkeypatch.setattr(spaces, "time", SimpleNamespace(sleep=made.append, monotonic=time.monotonic))
    return made


@pytest.fixture
def server() -> Iterator[SpacesServer]:
    """Spaces."""
    with listening(SpacesServer()) as server:
        yield server


def client(port: int, secret_key: str = CONFIG.secret_key) -> Spaces:
    """The agent's client; names below localhost are this machine's."""
    return Spaces(dataclasses.replace(CONFIG, endpoint=f"http://localhost:{port}", secret_key=secret_key))


def signed(request: Request, key: str, **query: str) -> bool:
    """Whether a request has the signature that botocore would make."""
    return request.is_signed_by(CONFIG.access_key, CONFIG.secret_key, key=key, query=query)


@pytest.mark.parametrize("key", KEYS)
def test_a_conditional_get_is_signed(server: SpacesServer, key: str) -> None:
    """With the ETag as Spaces gave it; 304 is an answer. With another secret the signature does not fit."""
    server.next = [answer(200, b"{}", ETag='"0f"'), answer(304, ETag='"0f"'), answer(200)]
    ours = client(server.server_port)
    first = ours.get("releases", key)
    assert first == Answer(200, '"0f"', b"{}")
    assert ours.get("releases", key, unless=first.etag) == Answer(304, '"0f"', b"")
    plain, conditional = server.requests
    assert (plain.method, plain.headers["host"]) == ("GET", f"releases.localhost:{server.server_port}")
    assert "if-none-match" not in plain.headers
    assert conditional.headers["if-none-match"] == '"0f"'
    assert signed(plain, key)
    assert signed(conditional, key)
    assert plain.connection == conditional.connection
    client(server.server_port, "another").get("releases", key)
    assert not signed(server.requests[-1], key)


def test_a_try_may_be_bounded(server: SpacesServer) -> None:
    """Even if Spaces send a byte now and then, which is not a stall."""
    ended = threading.Event()

    def trickle(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not ended.wait(0.05):
                handler.wfile.write(b"x")

    server.next = [trickle, trickle]
    config = dataclasses.replace(CONFIG, endpoint=f"http://localhost:{server.server_port}")
    began = time.monotonic()
    with pytest.raises(SpacesError, match="timed out"):
        Spaces(config, pauses=(0, 0), seconds=0.3).get("state", "key")
    assert time.monotonic() - began < 5
    assert len(server.requests) == 2
    ended.set()


def page(*keys: str, more: bool) -> Action:
    """A page of a list."""
    found = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in keys)
    head = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
    text = f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{head}{found}</ListBucketResult>'
    return answer(200, text.encode())


@pytest.mark.parametrize(
    ("last", "after"),
    [
        ("static/a b&c=d%/~é*'(x).css", "static/a b&c=d%/~é*'(x).css"),
        ("static/c++/a+b.css", "static/c*"),  # no `+`, which libcurl may sign wrongly in a query
    ],
)
def test_a_list_is_signed_page_by_page(server: SpacesServer, last: str, after: str) -> None:
    """Each page begins after the last key of the one before, or a little earlier, so that no key is missed."""
    assert after <= last
    server.next = [page("static/a", last, more=True), page(last, "static/é", more=False)]
    assert client(server.server_port).list("assets", "static/") == {"static/a", last, "static/é"}
    first, second = server.requests
    query = {"list-type": "2", "prefix": "static/"}
    assert signed(first, "", **query)
    assert signed(second, "", **query, **{"start-after": after})
    assert "%2B" not in second.target


def test_a_list_that_does_not_go_on_is_an_error(server: SpacesServer) -> None:
    """Nothing new on a page, but more to come: asking again would never end."""
    server.next = [page("static/a", more=True)] * 3
    with pytest.raises(SpacesError, match=r"^GET assets/\?prefix=static/: the list does not end, last key static/a$"):
        client(server.server_port).list("assets", "static/")
    assert len(server.requests) == 2


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("body", [b"", "body{} é".encode(), BODY])
def test_a_put_is_signed(server: SpacesServer, key: str, body: bytes) -> None:
    """With its access, its lifetime and its content, which arrives as it was, whatever bytes it has."""
    headers = {
        "content-type": "text/css; charset=utf-8",
        "cache-control": "public,max-age=1",
        "x-amz-acl": "public-read",
    }
    client(server.server_port).put("assets", key, body, headers)
    (request,) = server.requests
    assert request.method == "PUT"
    assert request.body == body
    assert headers.items() <= request.headers.items()
    assert request.headers["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
    assert request.headers["content-length"] == str(len(body))
    assert "expect" not in request.headers
    assert signed(request, key)


@pytest.mark.parametrize("status", [204, 404])
def test_a_removal_is_signed(server: SpacesServer, status: int) -> None:
    """What is not there is no error; what comes after it by the same connection is another kind of request."""
    server.next = [answer(status), answer(200, b"{}")]
    ours = client(server.server_port)
    ours.remove("assets", "a/b")
    ours.get("releases", "c")
    removal, plain = server.requests
    assert (removal.method, plain.method) == ("DELETE", "GET")
    assert signed(removal, "a/b")
    assert signed(plain, "c")


def test_an_idle_connection_that_was_closed_costs_no_pause(server: SpacesServer, pauses: list[float]) -> None:
    """Spaces close connections when they like, even when the next request is on its way."""
    server.next = [answer(200, b"1"), hang_up, answer(200, b"2")]
    ours = client(server.server_port)
    assert ours.read("releases", "a") == b"1"
    assert ours.read("releases", "a") == b"2"
    assert [request.connection for request in server.requests] == [0, 0, 1]
    assert pauses == []


@pytest.mark.parametrize("trouble", [answer(503), answer(500), answer(429), hang_up, half(BODY)])
def test_trouble_of_spaces_is_waited_for(server: SpacesServer, pauses: list[float], trouble: object) -> None:
    """Twice, a little longer the second time."""
    server.next = [trouble, trouble, answer(200, b"{}")]  # type: ignore[list-item]
    assert client(server.server_port).read("releases", "a") == b"{}"
    assert pauses == [0.5, 1]
    assert all(signed(request, "a") for request in server.requests)


def test_trouble_that_stays_ends_the_request(server: SpacesServer, pauses: list[float]) -> None:
    """After five tries, with the last answer."""
    server.next = [answer(503, b"<Code>SlowDown</Code>")] * 5
    with pytest.raises(SpacesError, match=r"^GET releases/a: 503 SlowDown$"):
        client(server.server_port).read("releases", "a")
    assert pauses == list(Spaces.PAUSES)


@pytest.mark.parametrize("size", [0, 1, 3 * 2**20 + 1])
def test_a_file_is_sent_in_pieces(server: SpacesServer, pauses: list[float], tmp_path: Path, size: int) -> None:
    """With the signature of its whole content, and from its beginning when it is sent again."""
    asked: list[int] = []

    class Watched(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            asked.append(-1 if size is None else size)
            return super().read(size)

        def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - any buffer
            asked.append(len(buffer))
            return super().readinto(buffer)

    (tmp_path / "file").write_bytes(content := (b"0123456789abcdef" * (size // 16 + 1))[:size])
    server.next = [answer(503), answer(200), answer(200)]
    ours = client(server.server_port)
    with Watched(tmp_path / "file") as file:
        ours.put("assets", KEYS[1], file, {"content-type": "video/mp4", "x-amz-acl": "public-read"})
    for request in server.requests:
        assert (request.method, request.headers["content-length"], request.body == content) == ("PUT", str(size), True)
        assert request.headers["content-type"] == "video/mp4"
        assert signed(request, KEYS[1])
    assert pauses == [0.5]
    assert min(asked) > 0
    assert max(asked) <= 2**20
    assert ours.get("assets", "what comes after") == Answer(200, "", b"")
    assert server.requests[-1].body == b""


@pytest.mark.parametrize(("status", "word"), [(403, "AccessDenied"), (404, "NoSuchKey")])
def test_a_refusal_is_final(server: SpacesServer, pauses: list[float], status: int, word: str) -> None:
    """Asking again would not help, once the bucket has accepted the key."""
    server.next = [answer(200), answer(status, DENIED.replace(b"AccessDenied", word.encode()))]
    ours = client(server.server_port)
    ours.get("state", "nodes/1.json")
    with pytest.raises(SpacesError, match=rf"^PUT state/nodes/1.json: {status} {word}$"):
        ours.put("state", "nodes/1.json", b"{}", {"content-type": "application/json"})
    assert len(server.requests) == 2
    assert pauses == []


def test_a_key_that_is_new_to_a_bucket_may_be_refused_for_a_moment(server: SpacesServer, pauses: list[float]) -> None:
    """As start.py has it: it was made just now. What one client has found out, those that share it know."""
    server.next = [answer(200), answer(403, DENIED), answer(403, DENIED), answer(200, b"{}"), answer(403, DENIED)]
    ours = client(server.server_port)
    ours.get("releases", "desired.json")
    assert ours.get("state", "nodes/1.json").body == b"{}"
    assert pauses == [0.5, 1]
    accepted = ours._accepted
    config = dataclasses.replace(CONFIG, endpoint=f"http://localhost:{server.server_port}")
    with pytest.raises(SpacesError, match=r"^GET state/nodes/1.json: 403 AccessDenied$"):
        Spaces(config, accepted=accepted).get("state", "nodes/1.json")
    assert pauses == [0.5, 1]


def test_a_key_that_stays_refused_is_an_error(server: SpacesServer, pauses: list[float]) -> None:
    """In Spaces' own words, when all tries are made."""
    server.next = [answer(403, DENIED)] * len(PATIENT)
    config = dataclasses.replace(CONFIG, endpoint=f"http://localhost:{server.server_port}")
    with pytest.raises(SpacesError, match=r"^GET releases/a: 403 AccessDenied$"):
        Spaces(config, pauses=PATIENT).read("releases", "a")
    assert (len(server.requests), sum(pauses)) == (15, 87.5)


def test_patience_ends_by_the_clock(server: SpacesServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a try takes long: the runner waits for an answer of this Droplet."""
    now = [0.0]

    def sleep(_seconds: float) -> None:
        now[0] += 60

    monkeypatch.setattr(spaces, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: now[0]))
    server.next = [answer(503)] * len(PATIENT)
    config = dataclasses.replace(CONFIG, endpoint=f"http://localhost:{server.server_port}")
    with pytest.raises(SpacesError, match=r"^GET releases/a: 503 $"):
        Spaces(config, pauses=PATIENT).read("releases", "a")
    assert len(server.requests) == 3


def test_a_refused_connection_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces that nobody reaches may be there a moment later; if not, the error says what was wrong."""
    with listening(SpacesServer()) as gone:
        port = gone.server_port
    made: list[float] = []
    monkeypatch.setattr(spaces, "time", SimpleNamespace(sleep=made.append, monotonic=time.monotonic))
    with pytest.raises(SpacesError, match=r"^GET releases/a: .*onnect"):
        client(port).read("releases", "a")
    assert made == list(Spaces.PAUSES)

    with contextlib.ExitStack() as stack:

        def pause(_seconds: float) -> None:
            stack.enter_context(listening(SpacesServer(port=port)))

        monkeypatch.setattr(spaces, "time", SimpleNamespace(sleep=pause, monotonic=time.monotonic))
        assert client(port).read("releases", "a") == b""


@pytest.mark.parametrize("chunked", [False, True])
def test_a_download_that_stops_is_begun_again(server: SpacesServer, pauses: list[float], *, chunked: bool) -> None:
    """The file holds the object and nothing else, neither what came first nor the text of an error."""
    server.next = [half(BODY * 20, chunked=chunked), answer(503, DENIED * 99), answer(200, BODY)]
    file = io.BytesIO(b"what was there before" * 9999)
    client(server.server_port).download("releases", "a", file)
    assert file.getvalue() == BODY
    assert pauses == [0.5, 1]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_download_that_always_stops_is_no_object(server: SpacesServer, pauses: list[float], *, chunked: bool) -> None:
    """A part never passes as whole."""
    server.next = [half(BODY, chunked=chunked)] * 5
    with pytest.raises(SpacesError, match=r"^GET releases/a: "):
        client(server.server_port).download("releases", "a", io.BytesIO())
    assert len(pauses) == len(server.requests) == 5


def test_an_error_is_not_the_object(server: SpacesServer) -> None:
    """What a refusal says goes into the error and not into the file."""
    server.next = [answer(404, b"<Code>NoSuchKey</Code>")]
    file = io.BytesIO()
    with pytest.raises(SpacesError, match=r"^GET releases/a: 404 NoSuchKey$"):
        client(server.server_port).download("releases", "a", file)
    assert file.getvalue() == b""


def test_a_long_download_is_a_sign_of_life_now_and_then(server: SpacesServer) -> None:
    """Of 16 MiB there are a thousand pieces, and each would be a message to systemd."""
    heard: list[None] = []
    spaces = Spaces(
        dataclasses.replace(CONFIG, endpoint=f"http://localhost:{server.server_port}"), lambda: heard.append(None)
    )
    server.next = [answer(200, bytes(16 * 2**20))]
    began = time.monotonic()
    spaces.download("releases", "a", io.BytesIO())
    assert 1 <= len(heard) <= 2 + time.monotonic() - began


def test_a_full_disk_is_said_at_once(server: SpacesServer, pauses: list[float]) -> None:
    """In the system's words: curl has none for it, and another try would not help."""

    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            raise OSError(28, "No space left on device")

    server.next = [answer(200, BODY)]
    with pytest.raises(OSError, match="No space left on device"):
        client(server.server_port).download("releases", "a", Full())
    assert pauses == []


def test_the_machines_proxy_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pauses: list[float]) -> None:
    """HTTPS_PROXY leads to Spaces; their certificate is checked all the same, and their answer counts, not its own."""
    ours = trust(tmp_path / "ours", "releases.nyc3.spaces.invalid")
    other = trust(tmp_path / "other", "releases.nyc3.spaces.invalid")
    config = dataclasses.replace(CONFIG, endpoint="https://nyc3.spaces.invalid")
    with listening(SpacesServer(ours.context)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.setattr(spaces, "TRUST", str(ours.bundle))
        proxy.next = [answer(404), answer(200, b"{}", ETag='"0f"')]
        connected = Spaces(config)
        assert connected.get("releases", "desired.json") == Answer(404, "", b"")
        assert connected.get("releases", "desired.json") == Answer(200, '"0f"', b"{}")
        assert proxy.tunnels == ["releases.nyc3.spaces.invalid:443"]
        assert signed(proxy.requests[0], "desired.json")

        monkeypatch.setattr(spaces, "TRUST", str(other.bundle))
        with pytest.raises(SpacesError, match="certificate"):
            Spaces(config).get("releases", "desired.json")
        assert len(proxy.requests) == 2
        assert len(pauses) == 5
