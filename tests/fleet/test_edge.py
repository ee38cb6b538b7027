"""Behind the load balancer: what a Droplet believes, and of whom."""

from urllib.parse import urlsplit

import pytest

from sandbox.parts.databases import clusters
from sandbox.world.world import INTERNET_SIDE
from tests.fleet.fleet import Fleet
from tests.fleet.traffic import primary
from tests.internet_side import python
from tests.intruders.raw import CLAIMS, RAW, recording
from tests.intruders.visits import wait_for

pytestmark = pytest.mark.full

CURL = ["curl", "--silent", "--max-time", "3", "--output", "/dev/null", "--write-out", "%{http_code}"]


def test_the_visitors_address_and_https_come_from_the_balancer_alone(fleet: Fleet) -> None:
    """Whatever else a visitor claims is gone, and port 80 leads to HTTPS."""
    outputs = fleet.stack.outputs()
    host = str(urlsplit(outputs["url"]).hostname)
    [web] = fleet.machines()
    with recording(web):
        answer = python(
            fleet.world,
            RAW
            + """
claims = "".join(f"{name}: {value}\\r\\n" for name, value in given["claims"].items())
head = f"GET /polls/?x=1 HTTP/1.1\\r\\nHost: {given['host']}\\r\\n{claims}Connection: close\\r\\n\\r\\n"
answer = [json.loads(ask(head).partition("\\r\\n\\r\\n")[2]), ask(head, port=80)]
""",
            host=host,
            address=outputs["ip_address"],
            claims=CLAIMS,
        )
    (line, headers), plain = answer
    assert line == "GET /polls/?x=1 HTTP/1.1"
    found = sorted((name.lower(), value) for name, value in headers)  # a balancer may write names its own way
    [number] = [value for name, value in found if name == "x-request-id"]
    assert number != CLAIMS["X-Request-Id"]
    assert found == [
        ("connection", "close"),
        ("host", host),
        ("x-control", "there"),
        ("x-forwarded-for", INTERNET_SIDE),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", INTERNET_SIDE),
        ("x-request-id", number),
    ]
    assert f"location: {outputs['url']}/polls/?x=1" in plain.lower()


def test_a_droplet_answers_nobody_but_the_balancer(fleet: Fleet) -> None:
    """Else a neighbour in the VPC could claim any address, and a stranger go past the balancer."""
    [web] = fleet.machines()
    private, public = web.hardware.private_ip, web.hardware.public_ip
    own = web.run([*CURL, "--header", "X-Forwarded-For: 192.0.2.1", f"http://{private}/healthz"]).stdout
    assert own == "200", "the control: it does answer there"
    neighbour = primary(fleet.world)

    def lets_in(address: str, port: int) -> bool:
        connect = ["timeout", "3", "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"]
        return neighbour.run(connect, check=False).returncode == 0

    assert lets_in(neighbour.hardware.private_ip, clusters.PORT), "the control: it can connect"
    for port in (80, 443):
        assert not lets_in(private, port)
        assert not lets_in(public, port)
        strangers = python(
            fleet.world,
            "answer = subprocess.run(given['argv'], capture_output=True, text=True).stdout",
            argv=[*CURL, f"http://{public}:{port}/healthz"],
        )
        assert strangers == "000"


def test_who_serves_nothing_is_not_healthy(fleet: Fleet) -> None:
    """A Droplet that has no release yet has no Gunicorn; the balancer is told 503, not 502."""
    [web] = fleet.machines()
    healthz = [*CURL, "http://127.0.0.1/healthz"]
    web.run(["systemctl", "stop", "gunicorn.socket", "gunicorn.service"])
    said = web.run(healthz, check=False).stdout
    web.run(["systemctl", "start", "gunicorn.socket", "gunicorn.service"])
    assert said == "503"
    wait_for(lambda: web.run(healthz, check=False).stdout, "200")
