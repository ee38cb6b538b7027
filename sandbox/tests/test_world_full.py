"""A full world's machines and packets: what boots, what reaches what, and what doesn't."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.machines import cgroups, config_drive, machine, meminfo
from sandbox.machines.machine import Machine
from sandbox.network.packet_filter import cluster_machine, droplet_machine
from sandbox.world import world as worlds
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import World
from tests.commands import run

pytestmark = pytest.mark.full

RANGE = "10.99.0.0/20"
# Two listeners, one of which the firewall lets nobody reach.
USER_DATA = """#cloud-config
runcmd:
  - [systemd-run, --unit=allowed, python3, -m, http.server, --directory, /var/empty, "80"]
  - [systemd-run, --unit=closed, python3, -m, http.server, --directory, /var/empty, "8080"]
  - [touch, /root/made-by-cloud-init]
bootcmd:
  - [mkdir, -p, /var/empty]
"""


class Api:
    """Calls to the API as any client makes them: from the internet side, by name, over TLS."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, method: str, path: str, body: dict[str, Any] | None = None, *, refused: bool = False) -> Any:  # noqa: ANN401 - JSON
        """Return what the API answers; anything but a success fails the test, or a success where it shall refuse."""
        url = f"https://api.digitalocean.com/v2{path}"
        argv = ["curl", "-sS", "--fail-with-body", "-X", method, "-H", f"Authorization: Bearer {self.world.token}", url]
        if body is not None:
            argv += ["-H", "Content-Type: application/json", "--data", json.dumps(body)]
        done = run("sandbox", "exec", *argv, home=self.world.home, check=not refused)
        assert (done.returncode != 0) is refused, done.stdout
        return json.loads(done.stdout) if done.stdout else None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two Droplets of one VPC: the first is behind a Cloud Firewall that admits everybody to port 80 only."""

    api: Api
    world: World
    vpc_id: str
    first: Machine
    second: Machine
    first_id: int


def eventually(what: str, check: Callable[[], object], timeout: float = 30) -> None:
    """Poll until a check is true; timeout in seconds."""
    deadline = time.monotonic() + timeout
    while not (last := check()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not so after {timeout:.0f} s, last seen {last!r}")
        time.sleep(0.1)


def fetch(where: Machine | World, address: str, seconds: int = 2) -> str:
    """Status of an HTTP request from inside a machine, or from the internet side; "000" means no connection."""
    argv = ["curl", "-sS", "-o", "/dev/null", "-m", str(seconds), "-w", "%{http_code}", f"http://{address}/"]
    if isinstance(where, Machine):
        return where.run(argv, check=False).stdout
    return run("sandbox", "exec", *argv, home=where.home, check=False).stdout


@pytest.fixture(scope="module")
def pair(full_world: World) -> Iterator[Pair]:
    """Two Droplets, and what they need; destroyed at the end."""
    api = Api(full_world)

    def statuses() -> dict[int, str]:
        return {droplet["id"]: droplet["status"] for droplet in api("GET", "/droplets")["droplets"]}

    vpc = api("POST", "/vpcs", {"name": "pair", "region": "nyc3", "ip_range": RANGE})["vpc"]
    ids = []
    for name in ("first", "second"):
        api("POST", "/tags", {"name": f"test-{name}"})
        fields: dict[str, Any] = {"name": name, "region": "nyc3", "size": "s-1vcpu-1gb", "image": "debian-13-x64"}
        fields |= {"vpc_uuid": vpc["id"], "user_data": USER_DATA, "tags": [f"test-{name}"]}
        ids.append(api("POST", "/droplets", fields)["droplet"]["id"])
    everybody = {"addresses": ["0.0.0.0/0", "::/0"]}
    rules = {
        "name": "pair",
        "tags": ["test-first"],
        "inbound_rules": [{"protocol": "tcp", "ports": "80", "sources": everybody}],
        "outbound_rules": [
            {"protocol": protocol, "ports": "0", "destinations": everybody} for protocol in ("tcp", "udp")
        ],
    }
    firewall = api("POST", "/firewalls", rules)["firewall"]
    eventually("both are active", lambda: [statuses().get(number) for number in ids] == ["active", "active"])
    first, second = (machine.load_machine(full_world, droplet_machine(number)) for number in ids)
    for each in (first, second):
        each.wait_booted()
        assert "status: done" in each.run(["cloud-init", "status", "--wait"], timeout=120).stdout
    eventually("first serves", lambda: fetch(full_world, first.hardware.public_ip) == "200")
    eventually("second serves", lambda: fetch(full_world, second.hardware.public_ip) == "200")
    yield Pair(api=api, world=full_world, vpc_id=vpc["id"], first=first, second=second, first_id=ids[0])
    for number in ids:
        api("DELETE", f"/droplets/{number}")
    eventually("both are gone", lambda: not statuses().keys() & set(ids))
    api("DELETE", f"/firewalls/{firewall['id']}")
    api("DELETE", f"/vpcs/{vpc['id']}")
    for name in ("first", "second"):
        api("DELETE", f"/tags/test-{name}")


def test_droplet_is_made_by_its_user_data(pair: Pair) -> None:
    """The config drive reaches cloud-init: user data ran, the name is set, no unit failed."""
    assert pair.first.run(["ls", "/root/made-by-cloud-init"]).stdout.strip() == "/root/made-by-cloud-init"
    assert pair.first.run(["hostname"]).stdout.strip() == "first"
    assert pair.first.run(["systemctl", "is-system-running", "--wait"], check=False).stdout.strip() == "running"
    status = json.loads(pair.first.run(["cloud-init", "status", "--long", "--format", "json"]).stdout)
    assert (status["errors"], status["recoverable_errors"]) == ([], {})


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"image": "ubuntu-24-04-x64"}, 'image: at depth `full` machines have debian-13-x64, got "ubuntu-24-04-x64"'),
        ({"ipv6": True}, "ipv6: at depth `full` machines have IPv4 alone"),
    ],
)
def test_what_no_machine_has_is_refused_before_there_is_one(pair: Pair, wanted: dict[str, Any], said: str) -> None:
    """Another system than Debian, and IPv6; depth `api` has both."""
    droplet = {"name": "third", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "debian-13-x64"}
    answer = pair.api("POST", "/droplets", droplet | wanted, refused=True)
    assert (answer["id"], said in answer["message"]) == ("not_implemented", True), answer


def test_user_data_is_roots(pair: Pair) -> None:
    """It may hold secrets, so no other user of a Droplet reads it on its disk."""
    readable = ["find", "/var/lib/cloud", "/run/cloud-init", "-type", "f", "-perm", "/o+r", "-name", "*user*data*"]
    assert pair.first.run(["find", f"/{config_drive.FOLDER}", "-name", "user_data"]).stdout.strip() != ""
    assert pair.first.run(readable).stdout == ""


def test_taking_down_another_world_leaves_this_one(pair: Pair, tmp_path: Path) -> None:
    """A stopped world whose machines have the same names is removed without touching those that run."""
    other = worlds.create(tmp_path / "other", "full", proxy_port=1)
    machine.folder(other, pair.first.name).mkdir(parents=True)
    before = pair.first.leader()
    run("sandbox", "down", home=other.home)
    assert not other.home.exists()
    assert pair.first.leader() == before is not None
    assert fetch(pair.world, pair.first.hardware.public_ip) == "200"


def test_base_image_has_nothing_of_the_stack(pair: Pair) -> None:
    """What the site needs is brought by our own cloud-init alone."""
    for tool in ("nginx", "certbot", "uv", "gunicorn"):
        assert pair.first.run(["sh", "-c", f"command -v {tool}"], check=False).returncode != 0, tool
    assert pair.first.run(["python3", "-c", "import django"], check=False).returncode != 0


def test_droplet_reaches_package_mirrors(pair: Pair) -> None:
    """Names are resolved by the world, and packets leave it by this machine."""
    assert pair.second.run(["apt-get", "update", "--error-on=any"], timeout=120).returncode == 0
    assert pair.second.run(["curl", "-sSf", "-o", "/dev/null", "https://pypi.org/simple/pip/"]).returncode == 0


def test_droplet_trusts_the_worlds_services(pair: Pair) -> None:
    """DigitalOcean's names lead into the world, and a Droplet's own trust store verifies them."""
    argv = [
        "curl",
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{ssl_verify_result}",
        "https://api.digitalocean.com/",
    ]
    done = pair.first.run(["env", "-u", "SSL_CERT_FILE", "-u", "CURL_CA_BUNDLE", *argv])
    assert done.stdout.split()[1] == "0"


def test_metadata_tells_a_droplet_about_itself(pair: Pair) -> None:
    """The service knows each Droplet by its address; strangers and other machines can't reach it."""
    url = "http://169.254.169.254/metadata/v1"
    assert pair.first.run(["curl", "-sS", f"{url}/id"]).stdout == str(pair.first_id)
    assert pair.second.run(["curl", "-sS", f"{url}/hostname"]).stdout == "second"
    assert pair.first.run(["curl", "-sS", f"{url}/user-data"]).stdout == USER_DATA
    assert fetch(pair.world, "169.254.169.254/metadata/v1") == "000"


def test_firewall_admits_what_its_rules_allow(pair: Pair) -> None:
    """Port 80 is open to strangers and to the VPC, with replies passing through."""
    assert fetch(pair.world, pair.first.hardware.public_ip) == "200"
    assert fetch(pair.second, pair.first.hardware.private_ip) == "200"


def test_firewall_drops_the_rest(pair: Pair) -> None:
    """Port 8080 listens, and nobody reaches it: neither strangers nor a neighbour in the VPC."""
    assert fetch(pair.first, "127.0.0.1:8080") == "200"
    assert fetch(pair.world, f"{pair.first.hardware.public_ip}:8080") == "000"
    assert fetch(pair.second, f"{pair.first.hardware.private_ip}:8080") == "000"
    assert fetch(pair.second, f"{pair.first.hardware.public_ip}:8080") == "000"


def test_droplet_without_firewall_is_reachable(pair: Pair) -> None:
    """The control of the test above: the same port answers where no firewall is."""
    assert fetch(pair.world, f"{pair.second.hardware.public_ip}:8080") == "200"
    assert fetch(pair.first, f"{pair.second.hardware.private_ip}:8080") == "200"


def test_private_addresses_are_private(pair: Pair) -> None:
    """Strangers don't reach a VPC."""
    assert fetch(pair.world, f"{pair.second.hardware.private_ip}:8080") == "000"


def test_reserved_ip_leads_to_its_droplet(pair: Pair) -> None:
    """From the internet, a neighbour and the Droplet itself; through the firewall; nowhere once unassigned."""
    made = pair.api("POST", "/reserved_ips", {"region": "nyc3"})["reserved_ip"]
    address = made["ip"]
    try:
        assert fetch(pair.world, address) == "000"
        pair.api("POST", f"/reserved_ips/{address}/actions", {"type": "assign", "droplet_id": pair.first_id})
        eventually("the address answers", lambda: fetch(pair.world, address) == "200")
        assert fetch(pair.second, address) == "200"
        assert fetch(pair.first, address) == "200"
        assert fetch(pair.world, f"{address}:8080") == "000"
        pair.api("POST", f"/reserved_ips/{address}/actions", {"type": "unassign"})
        eventually("the address is silent", lambda: fetch(pair.world, address) == "000")
    finally:
        pair.api("DELETE", f"/reserved_ips/{address}")


def reaches(where: Machine | World, address: str, port: int) -> bool:
    """Say whether a TCP connection opens within two seconds."""
    argv = ["timeout", "2", "bash", "-c", f"< /dev/tcp/{address}/{port}"]
    if isinstance(where, Machine):
        return where.run(argv, check=False).returncode == 0
    return run("sandbox", "exec", *argv, home=where.home, check=False).returncode == 0


def test_trusted_sources_close_a_cluster(pair: Pair) -> None:
    """A new cluster is open to all on its public address; with a trusted tag, to that tag's Droplets only."""
    fields = {"name": "trusted", "engine": "pg", "version": "17", "size": "db-s-1vcpu-1gb", "region": "nyc3"}
    made = pair.api("POST", "/databases", fields | {"num_nodes": 1, "private_network_uuid": pair.vpc_id})["database"]
    path = f"/databases/{made['id']}"
    try:
        eventually("it is online", lambda: pair.api("GET", path)["database"]["status"] == "online", timeout=90)
        cluster = machine.load_machine(pair.world, cluster_machine(made["id"])).hardware
        for port in (25060, 25061):
            assert reaches(pair.world, cluster.public_ip, port)
            assert reaches(pair.second, cluster.private_ip, port)
        assert not reaches(pair.world, cluster.private_ip, 25060)

        pair.api("PUT", f"{path}/firewall", {"rules": [{"type": "tag", "value": "test-first"}]})
        eventually("it is closed", lambda: not reaches(pair.world, cluster.public_ip, 25060))
        assert reaches(pair.first, cluster.private_ip, 25060)
        assert reaches(pair.first, cluster.private_ip, 25061)
        assert not reaches(pair.second, cluster.private_ip, 25060)
        assert not reaches(pair.second, cluster.public_ip, 25060)
    finally:
        pair.api("DELETE", path)


def test_reboot_from_inside_keeps_disk_and_network(pair: Pair) -> None:
    """A machine that reboots comes back with its files and addresses, and runs its user data once only."""
    pair.second.run(["rm", "/root/made-by-cloud-init"])
    leader = pair.second.leader()
    pair.second.run(["systemctl", "reboot"], check=False)
    eventually("the machine is another", lambda: pair.second.leader() not in {None, leader})
    pair.second.wait_booted()
    pair.second.run(["cloud-init", "status", "--wait"])
    assert pair.second.run(["ls", "/root"], check=False).stdout == ""
    eventually("it answers", lambda: reaches(pair.world, pair.second.hardware.public_ip, 22))
    links = ["networkctl", "--no-legend"]
    eventually("links are configured", lambda: pair.second.run(links).stdout.count("configured") == 2)


def test_power_off_and_on_by_the_api(pair: Pair) -> None:
    """A Droplet that is off is off, and comes back with its disk."""
    path = f"/droplets/{int(pair.second.name[1:])}"
    pair.second.run(["touch", "/root/kept"])
    pair.api("POST", f"{path}/actions", {"type": "power_off"})
    eventually("it is off", lambda: pair.api("GET", path)["droplet"]["status"] == "off")
    assert not pair.second.running()
    pair.api("POST", f"{path}/actions", {"type": "power_on"})
    eventually("it is on", lambda: pair.api("GET", path)["droplet"]["status"] == "active")
    pair.second.wait_booted()
    assert pair.second.run(["ls", "/root"]).stdout == "kept\n"


def test_memory_limit_of_the_plan_holds(pair: Pair) -> None:
    """A process that takes more memory than the plan has is ended; one within it is not."""
    take = "x = b'x' * ({} << 20); print(len(x) >> 20)"
    assert pair.first.run(["python3", "-c", take.format(300)]).stdout == "300\n"
    before = cgroups.kills(pair.first.name)
    assert pair.first.run(["python3", "-c", take.format(1500)], check=False).returncode == -signal.SIGKILL
    assert cgroups.kills(pair.first.name) == before + 1


def test_a_droplet_sees_its_own_memory(pair: Pair) -> None:
    """As a VM does: the memory of its plan, and less of it while a program has some; its writer may die."""

    def mebibytes(name: str) -> int:
        text = pair.first.run(["sed", "-n", f"s/^{name}: *\\([0-9]*\\) kB$/\\1/p", "/proc/meminfo"]).stdout
        return int(text) // 1024

    assert mebibytes("MemTotal") == pair.first.hardware.memory_mib
    seen = [0]

    def settled() -> bool:
        """Whether what the last test has left is gone."""
        time.sleep(1)
        seen.append(mebibytes("MemAvailable"))
        return abs(seen[-1] - seen[-2]) < 10

    eventually("nothing changes", settled)
    before = seen[-1]
    assert 200 < before < pair.first.hardware.memory_mib
    [writer] = [status.pid for status in Supervisor(pair.world).status() if status.name == meminfo.PROGRAM]
    os.kill(writer, signal.SIGKILL)
    take = "import time; x = b'x' * (300 << 20); time.sleep(600)"
    pair.first.run(["systemd-run", "--quiet", "--unit=heavy", "python3", "-c", take])
    eventually("it is less", lambda: mebibytes("MemAvailable") < before - 250)
    pair.first.run(["systemctl", "stop", "heavy.service"])
    eventually("it is there again", lambda: mebibytes("MemAvailable") > before - 50)
    # A service with a /proc of its own, as the release agent is, sees the same.
    confined = [
        "systemd-run",
        "--quiet",
        "--pipe",
        "--wait",
        "--property=ProtectProc=invisible",
        "cat",
        "/proc/meminfo",
    ]
    assert f"MemTotal:       {pair.first.hardware.memory_mib * 1024:>8} kB\n" in pair.first.run(confined).stdout


def test_status_names_the_droplets(pair: Pair) -> None:
    """`sandbox status` shows product, state, address and memory of what runs."""
    shown = json.loads(run("sandbox", "status", "--json", home=pair.world.home).stdout)
    rows = {row["name"]: row for row in shown["parts"]}
    assert rows["first"]["product"] == "Droplet"
    assert rows["first"]["state"] == "active"
    assert pair.first.hardware.public_ip in rows["first"]["address"]
    assert rows["first"]["memory_mib"] > 0
    assert rows["api"]["state"] == "running"
