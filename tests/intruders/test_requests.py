"""Requests that pretend: other host names, forwarded headers from outside, one request in another."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from sandbox.machines.machine import Machine
from sandbox.world.world import INTERNET_SIDE
from tests.internet_side import python
from tests.intruders.visits import status, wait_for
from tests.worlds import Deployment

pytestmark = pytest.mark.full

# Handshakes and requests as no client library would send them.
RAW = """
def connection(name=None, port=443):
    plain = socket.create_connection((given["address"], port), timeout=20)
    if port != 443:
        return plain
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=name)

def ask(head, name=given["host"], port=443):
    "Status line and the rest of the answer to a request, sent byte by byte as it is."
    with connection(name, port) as link:
        link.sendall(head.encode())
        answer = b""
        while piece := link.recv(65536):
            answer += piece
    return answer.decode(errors="replace")

def status(head, **options):
    return ask(head + "Connection: close\\r\\n\\r\\n", **options).partition("\\r\\n")[0].split(" ")[1]
"""


def raw(deployed: Deployment, source: str, **given: object) -> Any:  # noqa: ANN401 - JSON
    """Run a piece of Python that uses RAW on the internet side."""
    host = urlsplit(deployed.url).hostname
    return python(deployed.world, RAW + source, host=host, address=deployed.outputs["ip_address"], **given)


def test_a_name_that_is_not_ours_is_rejected_in_the_handshake(deployed: Deployment) -> None:
    """An alert and no certificate: who asks by address or by another name does not learn whose server this is."""
    answer = raw(
        deployed,
        """
answer = {}
for name in (given["host"], "evil.example", "www." + given["host"], given["host"] + ".evil.example", None):
    try:
        with connection(name) as link:
            answer[str(name)] = link.version()
    except ssl.SSLError as error:
        answer[str(name)] = error.reason
""",
    )
    host = urlsplit(deployed.url).hostname
    refused = "TLSV1_UNRECOGNIZED_NAME"
    names = ("evil.example", f"www.{host}", f"{host}.evil.example", "None")
    assert answer == {host: "TLSv1.3", **dict.fromkeys(names, refused)}


def test_a_host_header_that_is_not_ours_reaches_no_app(deployed: Deployment) -> None:
    """Under our own name in TLS and on port 80; and no redirect leads to a name that the visitor sent."""
    answer = raw(
        deployed,
        """
ours, evil = given["host"], "evil.example"
get = "GET / HTTP/1.1\\r\\n"
answer = {
    "ours": status(f"{get}Host: {ours}\\r\\n"),
    "other": status(f"{get}Host: {evil}\\r\\n"),
    "longer": status(f"{get}Host: {ours}.{evil}\\r\\n"),
    "address": status(f"{get}Host: {given['address']}\\r\\n"),
    "user": status(f"{get}Host: {ours}@{evil}\\r\\n"),
    "absolute": status(f"GET https://{evil}/ HTTP/1.1\\r\\nHost: {ours}\\r\\n"),
    "two": status(f"{get}Host: {ours}\\r\\nHost: {evil}\\r\\n"),
    "none": status(get),
    "plain": status(f"{get}Host: {evil}\\r\\n", port=80),
    "places": [
        line
        for head, port in (
            (f"{get}Host: {ours}:8443\\r\\nX-Forwarded-Host: {evil}\\r\\n", 80),
            (f"GET //{evil}/ HTTP/1.1\\r\\nHost: {ours}\\r\\n", 80),
            (f"GET /%0d%0aLocation:%20https://{evil} HTTP/1.1\\r\\nHost: {ours}\\r\\n", 80),
            (f"GET /admin HTTP/1.1\\r\\nHost: {ours}:8443\\r\\nX-Forwarded-Host: {evil}\\r\\n", 443),
        )
        for line in ask(head + "Connection: close\\r\\n\\r\\n", port=port).splitlines()
        if line.lower().startswith("location:")
    ],
}
""",
    )
    url = deployed.url
    assert answer == {
        "ours": "200",
        **dict.fromkeys(("other", "longer", "address", "user", "absolute", "plain"), "421"),
        **dict.fromkeys(("two", "none"), "400"),
        "places": [
            f"Location: {url}/",
            f"Location: {url}//evil.example/",
            f"Location: {url}/%0d%0aLocation:%20https://evil.example",
            "Location: /admin/",
        ],
    }


# Answers every request with what it got.
RECORDER = """
import http.server, json, socketserver

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps([self.requestline, self.headers.items()]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def address_string(self):
        return "nginx"

server = socketserver.ThreadingUnixStreamServer("/run/gunicorn.sock", Handler)
__import__("os").chmod("/run/gunicorn.sock", 0o666)
server.serve_forever()
"""


@pytest.fixture
def recorder(deployed: Deployment, web: Machine) -> Iterator[None]:
    """In Gunicorn's place, something that answers with the request that it got from Nginx."""
    web.run(["systemctl", "stop", "gunicorn.socket", "gunicorn.service"])
    web.run(["rm", "-f", "/run/gunicorn.sock"])
    web.run(["systemd-run", "--unit=recorder", "python3", "-c", RECORDER])
    wait_for(lambda: status(deployed), "200")
    yield
    web.run(["systemctl", "stop", "recorder.service"])
    web.run(["rm", "-f", "/run/gunicorn.sock"])
    web.run(["systemctl", "start", "gunicorn.socket", "gunicorn.service"])
    wait_for(lambda: status(deployed), "200")


# Header -> what an intruder claims. Gunicorn and Django would believe these, or are asked to by many a setting.
CLAIMS = {
    "X-Forwarded-For": "192.0.2.1",
    "X-Real-IP": "192.0.2.1",
    "X-Request-Id": "forged",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "8443",
    "X-Forwarded-Protocol": "ssl",
    "X-Forwarded-Ssl": "on",
    "Forwarded": "for=192.0.2.1;host=evil.example;proto=http",
    "Proxy": "http://evil.example",
    # Gunicorn takes these for variables of WSGI when they come from a proxy that it trusts.
    "SCRIPT_NAME": "/evil",
    "PATH_INFO": "/evil",
    "X_Forwarded_Proto": "http",
    "X_FORWARDED_FOR": "192.0.2.1",
    # The control: a header that nobody believes comes through.
    "X-Control": "there",
}


@pytest.mark.usefixtures("recorder")
def test_forwarded_headers_from_outside_are_not_believed(deployed: Deployment) -> None:
    """What reaches the app is Nginx's own word, on both ports; whatever else was claimed is gone."""
    answer = raw(
        deployed,
        """
claims = "".join(f"{name}: {value}\\r\\n" for name, value in given["claims"].items())
head = f"GET /healthz?x=1 HTTP/1.1\\r\\nHost: {given['host']}\\r\\n{claims}Connection: close\\r\\n\\r\\n"
answer = {}
for port in (443, 80):
    text = ask(head, port=port)
    answer[port] = json.loads(text.partition("\\r\\n\\r\\n")[2])
""",
        claims=CLAIMS,
    )
    host = urlsplit(deployed.url).hostname
    for port, scheme in (("443", "https"), ("80", "http")):
        line, headers = answer[port]
        assert line == "GET /healthz?x=1 HTTP/1.1"
        [number] = [value for name, value in headers if name == "X-Request-Id"]
        assert re.fullmatch("[0-9a-f]{32}", number)
        assert sorted(map(tuple, headers)) == [
            ("Connection", "close"),
            ("Host", host),
            ("X-Control", "there"),
            ("X-Forwarded-For", INTERNET_SIDE),
            ("X-Forwarded-Proto", scheme),
            ("X-Real-IP", INTERNET_SIDE),
            ("X-Request-Id", number),
        ]


@pytest.mark.usefixtures("recorder")
def test_a_request_can_not_hide_in_another(deployed: Deployment) -> None:
    """Two lengths, or a length and chunks: Nginx refuses, and nothing of it reaches the app."""
    answer = raw(
        deployed,
        """
post = f"POST / HTTP/1.1\\r\\nHost: {given['host']}\\r\\n"
hidden = f"GET /hidden HTTP/1.1\\r\\nHost: {given['host']}\\r\\n\\r\\n"
answer = {
    name: ask(f"{post}{lengths}Connection: close\\r\\n\\r\\n0\\r\\n\\r\\n{hidden}")
    for name, lengths in {
        "both": "Content-Length: 5\\r\\nTransfer-Encoding: chunked\\r\\n",
        "two": "Content-Length: 5\\r\\nContent-Length: 0\\r\\n",
        "unknown": "Transfer-Encoding: xchunked\\r\\n",
    }.items()
}
""",
    )
    assert {name: text.split(" ")[1] for name, text in answer.items()} == {
        "both": "400",
        "two": "400",
        "unknown": "501",
    }
    assert "/hidden" not in json.dumps(answer)


@pytest.mark.parametrize("path", ["/readyz", "//readyz", "/./readyz", "/%72eadyz", "/x/../readyz?x", "/readyz#x"])
def test_readiness_is_not_shown(deployed: Deployment, path: str) -> None:
    """Each question opens a connection to the database; the release agent asks past Nginx."""
    answer = raw(
        deployed,
        """
head = f"GET {given['path']} HTTP/1.1\\r\\nHost: {given['host']}\\r\\nConnection: close\\r\\n\\r\\n"
answer = [ask(head), ask(head, port=80)]
""",
        path=path,
    )
    assert [text.split(" ")[1] for text in answer] == ["404", "404"]
    assert "database" not in "".join(answer)
