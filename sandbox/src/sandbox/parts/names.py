"""The world's DNS: dnsmasq answers DigitalOcean's names and the topology's records, and passes other questions on."""

import re
import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.model.topology import Topology, standby_name
from sandbox.network import inside, namespaces
from sandbox.world.supervisor import Program, Supervisor
from sandbox.world.waiting import until
from sandbox.world.world import ACME_HOST, API_HOST, CLOUD_HOST, GATEWAY, RESOLVER, SPACES_DOMAIN, World, WorldError

PROGRAM = "dns"
FRONT_NAMES = (API_HOST, CLOUD_HOST, ACME_HOST, SPACES_DOMAIN)  # and all names below each
PORT = 53
CHALLENGES = "dns-challenges"  # a second dnsmasq, while an ACME server asks: only a new one learns TXT records
CHALLENGES_PORT = 5355
DEADLINE = 10.0  # seconds
FILTER_AAAA_SINCE = (2, 87)  # https://thekelleys.org.uk/dnsmasq/CHANGELOG


def start(world: World, supervisor: Supervisor) -> None:
    """Start dnsmasq in the router's namespace and wait until it answers; records come with the first topology."""
    hosts = _hosts(world)
    if not hosts.exists():
        hosts.write_text("")
    _servers(world).write_text("")
    configuration = world.run / "dnsmasq.conf"
    text = render_configuration(hosts, _servers(world), namespaces.upstream_resolvers(), _version())
    configuration.write_text(text)
    command = ["dnsmasq", "--keep-in-foreground", f"--conf-file={configuration}"]
    supervisor.put(Program(name=PROGRAM, command=namespaces.in_namespace(namespaces.ROUTER, command), priority=20))
    _wait(world, PROGRAM, GATEWAY, PORT)


def apply(world: World, supervisor: Supervisor, topology: Topology) -> None:
    """Make the records equal to the topology's."""
    text = render_hosts(topology)
    if _hosts(world).read_text() != text:
        _hosts(world).write_text(text)
        supervisor.signal(PROGRAM, "HUP")


@contextmanager
def challenges(world: World, supervisor: Supervisor, records: Iterable[tuple[str, str]]) -> Iterator[None]:
    """Answer these names with these texts for a while, to whoever asks; one caller at a time."""
    records = list(records)
    configuration = world.run / f"{CHALLENGES}.conf"
    lines = ["no-resolv", "no-hosts", "user=root", "bind-interfaces", "listen-address=127.0.0.1"]
    lines += [f"port={CHALLENGES_PORT}", *(f"txt-record={name},{text}" for name, text in records)]
    configuration.write_text("\n".join(lines) + "\n")
    command = ["dnsmasq", "--keep-in-foreground", f"--conf-file={configuration}"]
    supervisor.put(Program(name=CHALLENGES, command=namespaces.in_namespace(namespaces.ROUTER, command), priority=20))
    try:
        _wait(world, CHALLENGES, "127.0.0.1", CHALLENGES_PORT)
        names = sorted({name for name, _ in records})
        _lead(world, supervisor, [f"server=/{name}/127.0.0.1#{CHALLENGES_PORT}" for name in names])
        for name, text in records:
            _wait_answered(world, name, text)
        yield
    finally:
        _lead(world, supervisor, [])
        supervisor.remove(CHALLENGES)


def _lead(world: World, supervisor: Supervisor, lines: list[str]) -> None:
    """Ask other servers for some names; dnsmasq reads that file again, and forgets what it knows."""
    _servers(world).write_text("".join(f"{line}\n" for line in lines))
    supervisor.signal(PROGRAM, "HUP")


def _wait(world: World, program: str, address: str, port: int) -> None:
    until(
        # It listens by TCP and UDP at the same time.
        lambda: None if inside.listens(namespaces.ROUTER, address, port) else "does not answer",
        DEADLINE,
        lambda last: WorldError(f"dnsmasq {last} after {DEADLINE:.0f} s; see {world.logs / program}.log"),
    )


def _wait_answered(world: World, name: str, text: str) -> None:
    """Wait until the world's resolver has a TXT record: it was told to read a file again, and does so by and by."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 16, 1)  # RFC 1035, 4.1

    def missing() -> str | None:
        with socket.socket(type=socket.SOCK_DGRAM) as resolver:
            resolver.settimeout(1)
            resolver.sendto(question, (GATEWAY, PORT))
            try:
                return None if text.encode() in resolver.recv(4096) else "another answer"
            except TimeoutError:
                return "no answer"

    late = f"the world's DNS has {{}} for {name} after {DEADLINE:.0f} s; see {world.logs / CHALLENGES}.log"
    until(lambda: inside.call(namespaces.ROUTER, missing), DEADLINE, lambda last: WorldError(late.format(last)))


def render_configuration(hosts: Path, servers: Path, upstream: list[str], version: tuple[int, ...]) -> str:
    """Contents of dnsmasq's configuration."""
    lines = [
        "no-resolv",
        "no-hosts",
        "user=root",  # the world's folder is readable by its owner only
        "bind-interfaces",
        f"listen-address={GATEWAY},{RESOLVER},127.0.0.1",
        "cache-size=1000",
        f"addn-hosts={hosts}",
        f"servers-file={servers}",
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
        for node in cluster.nodes:
            names = (cluster.host, cluster.private_host)
            host, private_host = names if node.number == cluster.primary else map(standby_name, names)
            pairs += [(node.public_ip, host), (node.private_ip, private_host)]
    return "".join(f"{address} {name}\n" for address, name in pairs)


def _hosts(world: World) -> Path:
    return world.run / "hosts"


def _servers(world: World) -> Path:
    return world.run / "dns-servers"


def _version() -> tuple[int, ...]:
    text = subprocess.run(["dnsmasq", "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else (0,)
