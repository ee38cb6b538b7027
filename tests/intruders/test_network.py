"""What answers whom: the internet, a foreign Droplet in the same VPC, and the web Droplet itself."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sandbox.machines import machine
from sandbox.machines.machine import Machine
from sandbox.network import namespaces
from sandbox.parts.databases import clusters
from tests.internet_side import python
from tests.worlds import Deployment

pytestmark = pytest.mark.full

SCAN = Path(__file__).with_name("scan.py")
WEB = {"open": [80, 443], "refused": [], "udp": []}
NOTHING: dict[str, list[int]] = {"open": [], "refused": [], "udp": []}

# Prints what came of a login: the role, or libpq's complaint.
LOGIN = """
import psycopg, sys
try:
    with psycopg.connect(sys.argv[1], connect_timeout=2) as connection:
        print(connection.execute("SELECT current_user").fetchone()[0])
except psycopg.OperationalError as error:
    print(str(error).splitlines()[0])
"""


@pytest.fixture(scope="module")
def foreign(deployed: Deployment, web: Machine) -> Iterator[Machine]:
    """A Droplet of somebody else's in the same VPC: without our tags, so behind no Cloud Firewall."""
    identifier = python(
        deployed.world,
        """
vpc = api("GET", "/v2/droplets/" + given["neighbour"])["droplet"]["vpc_uuid"]
answer = api("POST", "/v2/droplets", {
    "name": "foreign", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "debian-13-x64", "vpc_uuid": vpc,
})["droplet"]["id"]
while api("GET", f"/v2/droplets/{answer}")["droplet"]["status"] != "active":
    time.sleep(0.1)
""",
        neighbour=web.name.removeprefix("d"),
    )
    here = machine.load_machine(deployed.world, f"d{identifier}")
    here.wait_booted()
    yield here
    python(
        deployed.world,
        """
api("DELETE", f"/v2/droplets/{given['id']}")
while any(droplet["id"] == given["id"] for droplet in api("GET", "/v2/droplets?per_page=200")["droplets"]):
    time.sleep(0.1)
answer = None
""",
        id=identifier,
    )


def seen_from_the_internet(deployed: Deployment, host: object) -> Any:  # noqa: ANN401 - JSON
    """Scan a host as a stranger."""
    return json.loads(deployed.exec(sys.executable, str(SCAN), str(host)).stdout)


def seen_from(here: Machine, host: str) -> Any:  # noqa: ANN401 - JSON
    """Scan a host from a machine."""
    return json.loads(here.run(["python3", "-", host], input=SCAN.read_text()).stdout)


def login_from(here: Machine, url: str, address: str) -> str:
    """Log in to PostgreSQL by this machine's client, from another machine's place in the network."""
    port = urlsplit(url).port
    conninfo = url.replace("verify-full", "require").partition("&sslrootcert")[0] + f"&hostaddr={address}"
    argv = namespaces.in_namespace(namespaces.machine_namespace(here.name), [sys.executable, "-c", LOGIN, conninfo])
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30)
    return f"{port} {done.stdout.strip()}"


def test_the_scan_misses_no_port(deployed: Deployment, foreign: Machine) -> None:
    """The control: of a Droplet without any wall every TCP port answers, and UDP too, as often as the kernel likes."""
    seen = seen_from_the_internet(deployed, foreign.hardware.public_ip)
    assert sorted([*seen["open"], *seen["refused"]]) == [*range(1, 2**16)]
    assert 22 in seen["open"]
    assert seen["udp"]


def test_the_internet_reaches_80_and_443_only(deployed: Deployment, web: Machine) -> None:
    """Of all ports, at the Droplet's own address and at the Reserved IP; its VPC is nowhere from there."""
    hosts = (web.hardware.public_ip, deployed.outputs["ip_address"], web.hardware.private_ip)
    with ThreadPoolExecutor() as pool:
        assert [*pool.map(partial(seen_from_the_internet, deployed), hosts)] == [WEB, WEB, NOTHING]


def test_another_droplet_of_the_vpc_reaches_no_more(web: Machine, foreign: Machine) -> None:
    """A VPC is not a circle of friends: the Cloud Firewall stands in front of the private address too."""
    hosts = (web.hardware.private_ip, web.hardware.public_ip)
    with ThreadPoolExecutor() as pool:
        assert [*pool.map(partial(seen_from, foreign), hosts)] == [WEB, WEB]


@pytest.fixture
def open_firewall(deployed: Deployment, web: Machine) -> Iterator[None]:
    """A second Cloud Firewall that lets everything in, and a service that nobody should see."""
    identifier = python(
        deployed.world,
        """
everywhere = {"addresses": ["0.0.0.0/0"]}
answer = api("POST", "/v2/firewalls", {
    "name": "open-to-all", "droplet_ids": [given["id"]],
    "inbound_rules": [{"protocol": kind, "ports": "0", "sources": everywhere} for kind in ("tcp", "udp")],
    "outbound_rules": [{"protocol": "tcp", "ports": "0", "destinations": everywhere}],
})["firewall"]["id"]
""",
        id=int(web.name.removeprefix("d")),
    )
    web.run(["systemd-run", "--unit=careless", "python3", "-m", "http.server", "--directory", "/usr/share/doc", "8000"])
    web.run(["sh", "-c", "for i in $(seq 50); do curl -so /dev/null localhost:8000 && exit; sleep 0.1; done; exit 1"])
    yield
    web.run(["systemctl", "stop", "careless.service"])
    python(deployed.world, "answer = api('DELETE', '/v2/firewalls/' + given['id'])", id=identifier)


@pytest.mark.usefixtures("open_firewall")
def test_the_droplet_has_a_wall_of_its_own(web: Machine, foreign: Machine) -> None:
    """With the Cloud Firewall wide open, what listens besides SSH and the site stays unseen."""
    assert 8000 in seen_from(web, web.hardware.private_ip)["open"]
    assert seen_from(foreign, web.hardware.private_ip) == {"open": [22, 80, 443], "refused": [], "udp": []}


def test_the_cluster_answers_the_web_droplet_only(
    deployed: Deployment, web: Machine, cluster: Machine, foreign: Machine
) -> None:
    """Nothing of it answers the internet or the foreign Droplet; for ours it is two ports."""
    public, private = cluster.hardware.public_ip, cluster.hardware.private_ip
    with ThreadPoolExecutor() as pool:
        outside = pool.submit(seen_from_the_internet, deployed, public)
        assert [*pool.map(partial(seen_from, foreign), (public, private))] == [NOTHING, NOTHING]
        assert outside.result() == NOTHING
    assert seen_from(web, private)["open"] == [clusters.PORT, clusters.POOL_PORT]


def test_right_credentials_open_the_database_to_the_web_droplet_only(
    deployed: Deployment, environment: dict[str, Any], web: Machine, cluster: Machine, foreign: Machine
) -> None:
    """Both roles log in from the web Droplet; elsewhere the same login gets no answer at all."""
    urls = {role: environment[part]["DATABASE_URL"] for role, part in (("app", "env"), ("migrator", "release_env"))}
    private, public = cluster.hardware.private_ip, cluster.hardware.public_ip
    assert [login_from(web, url, private) for url in urls.values()] == ["25061 app", "25060 migrator"]

    def outside(way: tuple[str, str]) -> str:
        url, address = way
        conninfo = url.partition("?")[0] + f"?sslmode=require&hostaddr={address}"
        return deployed.exec(sys.executable, "-c", LOGIN, conninfo).stdout

    ways = [(url, address) for url in urls.values() for address in (private, public)]
    with ThreadPoolExecutor(2 * len(ways)) as pool:  # each waits for its own time-out
        answers = [*pool.map(outside, ways), *pool.map(lambda way: login_from(foreign, *way), ways)]
    assert ["timeout" in answer for answer in answers] == [True] * 8, answers
