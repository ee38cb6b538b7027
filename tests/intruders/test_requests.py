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
from tests.intruders.raw import CLAIMS, RAW, recording
from tests.intruders.visits import status, wait_for
from tests.worlds import Deployment

pytestmark = pytest.mark.full


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


@pytest.fixture
def recorder(deployed: Deployment, web: Machine) -> Iterator[None]:
    """In Gunicorn's place, something that answers with the request that it got from Nginx."""
    with recording(web):
        wait_for(lambda: status(deployed), "200")
        yield
    wait_for(lambda: status(deployed), "200")


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
