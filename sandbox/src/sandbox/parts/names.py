"""The world's DNS: dnsmasq answers DigitalOcean's names and the topology's records, and passes other questions on."""

import re
import subprocess
from pathlib import Path

from sandbox.model.topology import Topology
from sandbox.network import inside, namespaces
from sandbox.world.supervisor import Program, Supervisor
from sandbox.world.waiting import until
from sandbox.world.world import ACME_HOST, API_HOST, CLOUD_HOST, GATEWAY, RESOLVER, SPACES_DOMAIN, World, WorldError

PROGRAM = "dns"
FRONT_NAMES = (API_HOST, CLOUD_HOST, ACME_HOST, SPACES_DOMAIN)  # and all names below each
PORT = 53
DEADLINE = 10.0  # seconds
FILTER_AAAA_SINCE = (2, 87)  # https://thekelleys.org.uk/dnsmasq/CHANGELOG


def start(world: World, supervisor: Supervisor) -> None:
    """Start dnsmasq in the router's namespace and wait until it answers; records come with the first topology."""
    hosts = _hosts(world)
    if not hosts.exists():
        hosts.write_text("")
    configuration = world.run / "dnsmasq.conf"
    configuration.write_text(render_configuration(hosts, namespaces.upstream_resolvers(), _version()))
    command = ["dnsmasq", "--keep-in-foreground", f"--conf-file={configuration}"]
    supervisor.put(Program(name=PROGRAM, command=namespaces.in_namespace(namespaces.ROUTER, command), priority=20))
    until(
        # It listens by TCP and UDP at the same time.
        lambda: None if inside.listens(namespaces.ROUTER, GATEWAY, PORT) else "does not answer",
        DEADLINE,
        lambda last: WorldError(f"dnsmasq {last} after {DEADLINE:.0f} s; see {world.logs / PROGRAM}.log"),
    )


def apply(world: World, supervisor: Supervisor, topology: Topology) -> None:
    """Make the records equal to the topology's."""
    text = render_hosts(topology)
    if _hosts(world).read_text() != text:
        _hosts(world).write_text(text)
        supervisor.signal(PROGRAM, "HUP")


def render_configuration(hosts: Path, upstream: list[str], version: tuple[int, ...]) -> str:
    """Contents of dnsmasq's configuration."""
    lines = [
        "no-resolv",
        "no-hosts",
        "user=root",  # the world's folder is readable by its owner only
        "bind-interfaces",
        f"listen-address={GATEWAY},{RESOLVER},127.0.0.1",
        "cache-size=1000",
        f"addn-hosts={hosts}",
        *(f"server={server}" for server in upstream),
        *(f"address=/{name}/{GATEWAY}" for name in FRONT_NAMES),
    ]
    if version >= FILTER_AAAA_SINCE:
        lines.append("filter-AAAA")  # the world has no IPv6; without this, clients try it first and fail at once
    return "\n".join(lines) + "\n"


def render_hosts(topology: Topology) -> str:
    """Address records of domains and clusters, in the form of /etc/hosts."""
    pairs = [(record.data, record.name) for record in topology.records if record.type == "A"]
    for cluster in topology.clusters:
        pairs += [(cluster.public_ip, cluster.host), (cluster.private_ip, cluster.private_host)]
    return "".join(f"{address} {name}\n" for address, name in pairs)


def _hosts(world: World) -> Path:
    return world.run / "hosts"


def _version() -> tuple[int, ...]:
    text = subprocess.run(["dnsmasq", "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else (0,)
