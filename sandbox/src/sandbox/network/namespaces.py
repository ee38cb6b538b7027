"""Namespaces, links, routes and the uplink of a full world: routed, so that every packet crosses one forward hook."""

import contextlib
import ipaddress
import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sandbox.model.topology import Topology
from sandbox.network import forwarding
from sandbox.world.world import GATEWAY, INTERNET_SIDE, METADATA, PUBLIC_RANGE, RESOLVER, World, WorldError

ROUTER = "dosb"  # the namespace of router and services; a machine's is dosb-<name>
INTERNET = "dosb-internet"
INTERNET_LINK = "internet"  # its name among the machines
UPLINK = "uplink"  # the router's end of the link to this machine
HOST_LINK = "dosb-up"  # this machine's end
SERVICES = "services"  # leads nowhere: the services' addresses are on it, and routes of reserved addresses end there
HOST_TABLE = "dosb"  # nftables table of this machine that lets the world out
PUBLIC_PREFIX = 24
FIRST_TABLE = 1000  # of the router's routing tables for VPCs with a way out, and of the rules that lead there
LOCAL_RULE = 32000
NETNS_FOLDER = Path("/run/netns")
NETNS_ETC = Path("/etc/netns")
UPLINK_CANDIDATES = tuple(f"10.98.{third}.0/30" for third in range(2, 255))


class NetworkError(WorldError):
    """The world's network could not be made; the text has the command and what it said."""


def command(argv: list[str], *, text: str | None = None) -> str:
    """Run a command of the network tools and return what it prints."""
    try:
        done = subprocess.run(argv, check=False, capture_output=True, text=True, input=text)
    except (FileNotFoundError, PermissionError) as error:
        raise NetworkError(f"`{' '.join(argv)}`: {argv[0]} can't be run: {error.strerror}; install it") from error
    if done.returncode:
        raise NetworkError(f"`{' '.join(argv)}` failed with {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def in_namespace(namespace: str, argv: list[str]) -> list[str]:
    """Prefix a command so that it runs in a network namespace, with this machine's mounts.

    Not `ip netns exec`: that mounts another /sys, where systemd-nspawn finds no control groups.
    """
    return ["nsenter", f"--net={NETNS_FOLDER / namespace}", "--", *argv]


def outside(process: int) -> list[str]:
    """Prefix of a command that must reach this machine's own network: a process outside of all namespaces leads there.

    Only the network namespace is entered; mounts are the caller's.
    """
    return ["nsenter", f"--net=/proc/{process}/ns/net", "--"]


def machine_namespace(name: str) -> str:
    """Name of a machine's network namespace."""
    return f"{ROUTER}-{name}"


def router_links(name: str) -> tuple[str, str]:
    """Names of the router's ends of a machine's public and private links (at most 15 characters)."""
    return f"p-{name}", f"v-{name}"


def mac_address(address: str) -> str:
    """Stable hardware address of a machine's link, derived from the address that it has there."""
    return "02:0d:" + ipaddress.ip_address(address).packed.hex(":")


def gateway_of(ip_range: str) -> str:
    """First address of a VPC's range."""
    return str(ipaddress.ip_network(ip_range)[1])


def namespaces() -> list[str]:
    """All network namespaces of a full world that exist on this machine."""
    if not NETNS_FOLDER.is_dir():
        return []
    return sorted(p.name for p in NETNS_FOLDER.iterdir() if p.name == ROUTER or p.name.startswith(f"{ROUTER}-"))


def upstream_resolvers() -> list[str]:
    """Name servers of this machine that a namespace can reach too."""
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if not path.is_file():
            continue
        servers = re.findall(r"(?m)^nameserver\s+([0-9.]+)\s*$", path.read_text())
        usable = [server for server in servers if not ipaddress.ip_address(server).is_loopback]
        if usable:
            return usable
    raise NetworkError(
        "/etc/resolv.conf: needs an IPv4 name server that is not on loopback, because namespaces can't reach that; "
        "name one there (with systemd-resolved: /run/systemd/resolve/resolv.conf is read too)"
    )


def host_uplink() -> tuple[str, int]:
    """Device of this machine's default route, and its MTU."""
    routes = json.loads(command(["ip", "-j", "-4", "route", "show", "default"]))
    if not routes:
        raise NetworkError("this machine has no default route; machines of a full world install packages through it")
    device = str(routes[0]["dev"])
    [link] = json.loads(command(["ip", "-j", "link", "show", device]))
    return device, int(link["mtu"])


def internet_side_files(etc: Path = Path("/etc")) -> dict[str, str]:
    """Files that take the place of this machine's for commands on the internet side: names are the world's only."""
    files = {"resolv.conf": f"nameserver {GATEWAY}\n"}
    switch = etc / "nsswitch.conf"
    if switch.is_file():
        # `hosts: resolve …` would ask this machine's systemd-resolved, over a socket that a namespace does not hide.
        files["nsswitch.conf"] = re.sub(r"(?m)^hosts:.*$", "hosts: files dns", switch.read_text())
    return files


def overlaps(answers: Iterable[str]) -> list[str]:
    """Those of a resolver's answers that lie in the world's public range, where they would lead to the wrong place."""
    public = ipaddress.ip_network(PUBLIC_RANGE)
    return [answer for answer in answers if ipaddress.ip_address(answer) in public]


def start(world: World) -> None:
    """Make router, internet side and uplink; what exists already is kept."""
    device, mtu = host_uplink()
    state = _state(world) or {"uplink": _free_uplink(), "device": device, "mtu": mtu, "sysctl": {}}
    _save(world, state)
    subnet = ipaddress.ip_network(state["uplink"])
    inside, outside = str(subnet[2]), str(subnet[1])
    if ROUTER not in namespaces():
        with _whole(ROUTER):
            _make_router(world.home, inside, outside, mtu)
    if INTERNET not in namespaces():
        with _whole(INTERNET):
            _make_internet_side(mtu)
    for path, content in internet_side_files().items():
        target = NETNS_ETC / INTERNET / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    _let_out(world, state)


def stop(world: World) -> None:
    """Remove every namespace, link, table and folder, and put this machine's settings back."""
    for namespace in namespaces():
        command(["ip", "netns", "del", namespace])
    shutil.rmtree(NETNS_ETC / INTERNET, ignore_errors=True)
    with contextlib.suppress(OSError):  # not there, or others have files in it
        NETNS_ETC.rmdir()
    command(["nft", "-f", "-"], text=f"table ip {HOST_TABLE} {{}}\ndelete table ip {HOST_TABLE}\n")
    forwarding.take_back()
    if _link_exists(HOST_LINK):  # goes with its namespace, but not at once
        subprocess.run(["ip", "link", "del", HOST_LINK], check=False, capture_output=True)
    state = _state(world)
    if state:
        for key, value in state["sysctl"].items():
            path = Path("/proc/sys", *key.split("/"))
            if path.exists():
                path.write_text(value)
        _state_file(world).unlink()


def owner() -> Path | None:
    """Find the home of the world whose network this machine has; None when it has none, or half of one."""
    if ROUTER not in namespaces():
        return None
    try:
        [link] = json.loads(command(["ip", "-n", ROUTER, "-j", "link", "show", SERVICES]))
    except NetworkError:
        return None
    return Path(link["ifalias"]) if "ifalias" in link else None


def add_machine(name: str, *, public_ip: str | None, private_ip: str, vpc_range: str, mtu: int) -> None:
    """Make a machine's namespace with a link into the router for each address: eth0 and eth1, or eth0 alone."""
    namespace = machine_namespace(name)
    if namespace in namespaces():
        return
    public_end, private_end = router_links(name)
    links = [(public_end, GATEWAY, public_ip)] if public_ip else []
    links += [(private_end, gateway_of(vpc_range), private_ip)]
    with _whole(namespace):
        command(["ip", "netns", "add", namespace])
        command(["ip", "-n", namespace, "link", "set", "lo", "up"])
        for index, (router_end, gateway, address) in enumerate(links):
            _link(
                namespace=namespace,
                name=f"eth{index}",
                mac=mac_address(address),
                router_end=router_end,
                gateway=gateway,
                address=address,
                mtu=mtu,
            )


def flush_machine(name: str) -> None:
    """Make a machine's links as they are at power-on: what its last systemd set outlives it, as they do."""
    links = json.loads(command(["ip", "-n", machine_namespace(name), "-j", "link", "show"]))
    for link in [one["ifname"] for one in links if one["ifname"].startswith("eth")]:
        for words in (["addr", "flush", "dev", link], ["link", "set", link, "down"]):
            command(["ip", "-n", machine_namespace(name), *words])


def remove_machine(name: str) -> None:
    """Remove a machine's namespace; its links go with it."""
    if machine_namespace(name) in namespaces():
        command(["ip", "netns", "del", machine_namespace(name)])


def apply(topology: Topology) -> None:
    """Make the router's routes of private ranges and reserved addresses equal to the topology."""
    wanted = {(vpc.ip_range, "unreachable") for vpc in topology.vpcs}
    wanted |= {(reserved.ip, "unicast") for reserved in topology.reserved_ips}
    routes = json.loads(command(["ip", "-n", ROUTER, "-j", "-4", "-d", "route", "show", "table", "main"]))
    present = {
        (route["dst"], route["type"])
        for route in routes
        if (route["type"] == "unreachable" and route["dst"] != PUBLIC_RANGE)
        or (route["type"] == "unicast" and route.get("dev") == SERVICES)
    }
    lines = [f"route del {_route(destination, kind)}" for destination, kind in sorted(present - wanted)]
    lines += [f"route replace {_route(destination, kind)}" for destination, kind in sorted(wanted - present)]
    if lines:
        command(["ip", "-n", ROUTER, "-batch", "-"], text="\n".join(lines) + "\n")


def lead_out(ways: Mapping[str, tuple[str, str]]) -> None:
    """Send what leaves each of these VPCs by their private links to a machine: its name, and its private address.

    Its rule comes before the router's own addresses, which are the internet to a VPC; the metadata service is not.
    """
    wanted = {(vpc, f"via {address} dev {router_links(name)[1]}") for vpc, (name, address) in ways.items()}
    present = {way: table for table, way in _ways_out()}
    lines = []
    for there, table in present.items():
        if there not in wanted:
            lines += [f"rule del pref {table}", f"route flush table {table}"]
    # A number that goes is not taken at once: what a rule leads to must be there before it.
    free = (table for table in range(FIRST_TABLE, LOCAL_RULE) if table not in present.values())
    for (vpc, way), table in zip(sorted(wanted - present.keys()), free, strict=False):
        lines += [
            f"route add throw {vpc} table {table}",
            f"route add throw {METADATA} table {table}",
            f"route add default {way} onlink table {table}",
            f"rule add pref {table} from {vpc} lookup {table}",
        ]
    if lines:
        command(["ip", "-n", ROUTER, "-batch", "-"], text="\n".join(lines) + "\n")


def _ways_out() -> Iterator[tuple[int, tuple[str, str]]]:
    """Find tables that lead out of a VPC: its range and the way, which may be gone with its link."""
    for rule in json.loads(command(["ip", "-n", ROUTER, "-j", "-4", "rule", "show"])):
        if not FIRST_TABLE <= rule["priority"] < LOCAL_RULE:
            continue
        show = ["ip", "-n", ROUTER, "-j", "-4", "route", "show", "table", rule["table"]]
        routes = [route for route in json.loads(command(show)) if route["dst"] == "default"]
        way = f"via {routes[0]['gateway']} dev {routes[0]['dev']}" if routes else ""
        yield rule["priority"], (f"{rule['src']}/{rule['srclen']}", way)


def uplink_mtu(world: World) -> int:
    """MTU of every link of the world: that of this machine's way out."""
    state = _state(world)
    if state is None:
        raise NetworkError(f"{world.home}: the network is not up; run `sandbox up --depth full`")
    return int(state["mtu"])


def _route(destination: str, kind: str) -> str:
    return f"unreachable {destination}" if kind == "unreachable" else f"{destination} dev {SERVICES}"


@contextlib.contextmanager
def _whole(namespace: str) -> Iterator[None]:
    """Remove a namespace whose making failed: half of one would be taken for whole the next time."""
    try:
        yield
    except NetworkError:
        subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)
        raise


def _make_router(home: Path, inside: str, outside: str, mtu: int) -> None:
    command(["ip", "netns", "add", ROUTER])
    command(
        ["ip", "-n", ROUTER, "-batch", "-"],
        text=(
            "link set lo up\n"
            # A link to nowhere: not every kernel has the dummy device, and veth is needed anyway.
            f"link add {SERVICES} type veth peer name {SERVICES}-end\n"
            f"link set {SERVICES}-end up\n"
            # Whose world it is, in a place that goes with it.
            f"link set {SERVICES} alias {home}\n"
            f"addr add {GATEWAY}/32 dev {SERVICES}\n"
            f"addr add {RESOLVER}/32 dev {SERVICES}\n"
            f"addr add {METADATA}/32 dev {SERVICES}\n"
            f"link set {SERVICES} up\n"
            # Addresses that nobody has: no proxy ARP for them, and no way out through the uplink.
            f"route add unreachable {PUBLIC_RANGE}\n"
            # Its own addresses after the rules of `lead_out`.
            f"rule add pref {LOCAL_RULE} lookup local\n"
            "rule del pref 0\n"
        ),
    )
    command(["ip", "link", "add", HOST_LINK, "mtu", str(mtu), "type", "veth", "peer", "name", UPLINK, "netns", ROUTER])
    command(["ip", "addr", "add", f"{outside}/30", "dev", HOST_LINK])
    command(["ip", "link", "set", HOST_LINK, "up"])
    command(
        ["ip", "-n", ROUTER, "-batch", "-"],
        text=(
            f"link set {UPLINK} mtu {mtu} up\n"
            f"addr add {inside}/30 dev {UPLINK}\n"
            f"route add default via {outside} dev {UPLINK}\n"
        ),
    )
    sysctl(ROUTER, {"net/ipv4/ip_forward": "1", "net/ipv4/conf/all/send_redirects": "0"})
    sysctl(ROUTER, {"net/ipv6/conf/all/disable_ipv6": "1", "net/ipv4/conf/default/send_redirects": "0"})


def _make_internet_side(mtu: int) -> None:
    command(["ip", "netns", "add", INTERNET])
    command(["ip", "-n", INTERNET, "link", "set", "lo", "up"])
    sysctl(INTERNET, {"net/ipv6/conf/all/disable_ipv6": "1"})
    _link(
        namespace=INTERNET,
        name="eth0",
        mac=mac_address(INTERNET_SIDE),
        router_end=f"p-{INTERNET_LINK}",
        gateway=GATEWAY,
        address=INTERNET_SIDE,
        mtu=mtu,
    )
    command(
        ["ip", "-n", INTERNET, "-batch", "-"],
        text=(
            f"addr add {INTERNET_SIDE}/{PUBLIC_PREFIX} dev eth0\n"
            "link set eth0 up\n"
            f"route add default via {GATEWAY} dev eth0\n"
        ),
    )


def _link(*, namespace: str, name: str, mac: str, router_end: str, gateway: str, address: str, mtu: int) -> None:
    """Make a point-to-point link: the router answers ARP for all its neighbours on it, at once."""
    command(
        ["ip", "-n", ROUTER, "-batch", "-"],
        text=(
            f"link add {router_end} mtu {mtu} type veth peer name {name} address {mac} mtu {mtu} netns {namespace}\n"
            # On each end, so that the router's own ARP requests carry the address that the machine knows.
            f"addr add {gateway}/32 dev {router_end}\n"
            f"link set {router_end} up\n"
            f"route replace {address}/32 dev {router_end} src {gateway}\n"
        ),
    )
    sysctl(
        ROUTER,
        {
            f"net/ipv4/conf/{router_end}/proxy_arp": "1",
            f"net/ipv4/neigh/{router_end}/proxy_delay": "0",
            f"net/ipv4/conf/{router_end}/send_redirects": "0",
        },
    )


def sysctl(namespace: str, values: dict[str, str]) -> None:
    """Set kernel parameters of a namespace, keys with slashes (device names may hold dots)."""
    script = "\n".join(f"echo {value} > /proc/sys/{key}" for key, value in values.items())
    # /proc/sys/net is the reader's own namespace's, whoever mounted /proc.
    command(in_namespace(namespace, ["sh", "-ec", script]))


def _let_out(world: World, state: dict[str, Any]) -> None:
    """Translate addresses on this machine's way out, and forward for the world only."""
    device = state["device"]
    closed = _host_forwarding(device) == "0"
    # A device that did not forward before must not begin to do so for others.
    others = f"iifname {device} drop\n" if closed or state["sysctl"] else ""
    command(
        ["nft", "-f", "-"],
        text=(
            f"table ip {HOST_TABLE} {{}}\ndelete table ip {HOST_TABLE}\n"
            f"table ip {HOST_TABLE} {{\n"
            "chain post { type nat hook postrouting priority srcnat; policy accept;\n"
            f"ip saddr {state['uplink']} oifname {device} masquerade\n"
            "}\n"
            "chain forw { type filter hook forward priority filter; policy accept;\n"
            f"iifname {HOST_LINK} oifname {device} accept\n"
            f"iifname {HOST_LINK} drop\n"
            f"oifname {HOST_LINK} ct state established,related accept\n"
            f"oifname {HOST_LINK} drop\n"
            f"{others}"
            "}\n}\n"
        ),
    )
    forwarding.let_out(HOST_LINK, device)
    for name in (device, HOST_LINK):
        if _host_forwarding(name) == "0":
            if name == device:
                state["sysctl"][f"net/ipv4/conf/{device}/forwarding"] = "0"
                _save(world, state)
            Path(f"/proc/sys/net/ipv4/conf/{name}/forwarding").write_text("1")


def _host_forwarding(device: str) -> str:
    return Path(f"/proc/sys/net/ipv4/conf/{device}/forwarding").read_text().strip()


def _free_uplink() -> str:
    """Choose a /30 that no route of this machine knows."""
    routes = json.loads(command(["ip", "-j", "-4", "route", "show", "table", "all"]))
    used = [
        ipaddress.ip_network(route["dst"], strict=False)
        for route in routes
        if route["dst"] != "default" and route["dst"] != "0.0.0.0/0"
    ]
    for candidate in UPLINK_CANDIDATES:
        network = ipaddress.ip_network(candidate)
        if not any(network.overlaps(other) for other in used):
            return candidate
    raise NetworkError("no free /30 in 10.98.0.0/16 for the link between this machine and the world")


def _link_exists(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def _state_file(world: World) -> Path:
    return world.run / "network.json"


def _state(world: World) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads(_state_file(world).read_text())
    except (FileNotFoundError, ValueError):  # none yet, or cut off by a full disk
        return None
    return state


def _save(world: World, state: dict[str, Any]) -> None:
    world.run.mkdir(parents=True, exist_ok=True)
    part = _state_file(world).with_suffix(".part")
    part.write_text(json.dumps(state, indent=2))
    part.rename(_state_file(world))
