"""The router's one nftables ruleset: Cloud Firewalls, trusted sources, VPC isolation and Reserved IPs of a topology."""

import ipaddress
from collections.abc import Iterable, Iterator

from sandbox.model.topology import (
    Cluster,
    Droplet,
    Firewall,
    FirewallRule,
    LoadBalancer,
    NatGateway,
    Topology,
    TrustedSource,
)
from sandbox.network import namespaces
from sandbox.world.world import GATEWAY, METADATA, RESOLVER

TABLE = "dosb"
POSTGRES_PORT = 25060
POOL_PORT = 25061
ANYWHERE = ipaddress.IPv4Network("0.0.0.0/0")


def droplet_machine(droplet_id: int) -> str:
    """Name of a Droplet's machine, of its namespace and its links."""
    return f"d{droplet_id}"


def cluster_machine(cluster_id: str, number: int = 1) -> str:
    """Name of a machine of a database cluster: the first part of its id, and the node's number but for the first."""
    name = f"c{cluster_id.split('-', maxsplit=1)[0][:8]}"
    return name if number == 1 else f"{name}-{number}"


def balancer_machine(balancer_id: str) -> str:
    """Name of a load balancer's namespace and links: the first part of its id."""
    return f"b{balancer_id.split('-', maxsplit=1)[0][:8]}"


def nat_machine(gateway_id: str) -> str:
    """Name of a NAT gateway's namespace and links: the first part of its id."""
    return f"n{gateway_id.split('-', maxsplit=1)[0][:8]}"


def droplet_links(droplet: Droplet) -> tuple[str, ...]:
    """Names of the router's ends of a Droplet's links: the public one, if it has one, and the private one."""
    links = namespaces.router_links(droplet_machine(droplet.id))
    return links if droplet.public_ip else links[1:]


def apply(topology: Topology) -> None:
    """Replace the router's ruleset, whole or not at all."""
    namespaces.command(namespaces.in_namespace(namespaces.ROUTER, ["nft", "-f", "-"]), text=render(topology))


def render(topology: Topology) -> str:
    """Text for `nft -f`: it replaces the table in one transaction; connections that exist go on."""
    blocks = [
        _chain("guard", "type filter hook prerouting priority raw; policy accept;", _spoofed(topology)),
        _chain("prerouting", "type nat hook prerouting priority dstnat; policy accept;", _reserved(topology)),
        # Local processes are strangers too: an ACME server that validates a domain, for example.
        _chain("output_nat", "type nat hook output priority -100; policy accept;", _reserved(topology)),
        _chain("postrouting", "type nat hook postrouting priority srcnat; policy accept;", _translations(topology)),
        _chain("private", "", _private(topology)),
        *_machine_chains(topology),
        _chain("forward", "type filter hook forward priority filter; policy drop;", _forward(topology)),
        _chain("input", "type filter hook input priority filter; policy drop;", _input(topology)),
        _chain("output", "type filter hook output priority filter; policy accept;", _output(topology)),
    ]
    # Named before it is deleted, so that deleting works the first time too.
    return f"table ip {TABLE} {{}}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\n" + "\n".join(blocks) + "\n}\n"


def firewalls_of(topology: Topology, droplet: Droplet) -> list[Firewall]:
    """Cloud Firewalls that a Droplet is behind, by id or by tag."""
    return [
        firewall
        for firewall in topology.firewalls
        if droplet.id in firewall.droplet_ids or droplet.tags & firewall.tags
    ]


def _spoofed(topology: Topology) -> list[str]:
    """Drop packets with a sender that isn't the link's: firewalls and the metadata service go by it."""
    machines = [
        (cluster_machine(cluster.id, node.number), node.public_ip, node.private_ip)
        for cluster in topology.clusters
        for node in cluster.nodes
    ]
    machines += [(balancer_machine(one.id), one.public_ip, one.private_ip) for one in topology.load_balancers]
    links = [link for one in topology.droplets for link in zip(droplet_links(one), one.addresses, strict=True)]
    links += [
        link for name, *addresses in machines for link in zip(namespaces.router_links(name), addresses, strict=True)
    ]
    return [
        *(f'iifname "{link}" ip saddr != {address} drop' for link, address in links),
        *(rule for gateway in topology.nat_gateways for rule in _translated(gateway)),
    ]


def _translated(gateway: NatGateway) -> list[str]:
    """Drop what a NAT gateway sends under a wrong name: it is its VPC to the internet, and the internet to its VPC."""
    public, private = namespaces.router_links(nat_machine(gateway.id))
    return [
        f'iifname "{public}" ip saddr != {gateway.public_ip} drop',
        f'iifname "{private}" ip saddr {gateway.vpc_range} ip saddr != {gateway.private_ip} drop',
    ]


def _reserved(topology: Topology) -> list[str]:
    droplets = {droplet.id: droplet for droplet in topology.droplets}
    return [
        f"ip daddr {reserved.ip} dnat to {droplets[reserved.droplet_id].public_ip}"
        for reserved in topology.reserved_ips
        if reserved.droplet_id in droplets and droplets[reserved.droplet_id].public_ip
    ]


def _translations(topology: Topology) -> list[str]:
    # A Droplet that asks for its own Reserved IP would else get its own address as the sender, and drop the packet.
    hairpins = [
        f"ct status dnat ip saddr {droplet.public_ip} ip daddr {droplet.public_ip} snat to {GATEWAY}"
        for droplet in topology.droplets
        if droplet.public_ip
    ]
    return [f'oifname "{namespaces.UPLINK}" masquerade', *hairpins]


def _private(topology: Topology) -> list[str]:
    """Return what stays within one VPC, or leaves it by its NAT gateway, drop the rest."""
    out = (
        f'ip saddr {gateway.vpc_range} oifname "{namespaces.router_links(nat_machine(gateway.id))[1]}" return'
        for gateway in topology.nat_gateways
    )
    return [*(f"ip saddr {vpc.ip_range} ip daddr {vpc.ip_range} return" for vpc in topology.vpcs), *out, "drop"]


def _forward(topology: Topology) -> list[str]:
    return [
        "ct state established,related accept",
        "ct state invalid drop",
        # A private link leads to machines of its VPC and nowhere else, and is reached from nowhere else.
        'iifname "v-*" jump private',
        'iifname != "v-*" oifname "v-*" drop',
        *(rule for cluster in topology.clusters for rule in _replication(cluster)),
        # Else a managed cluster begins no conversation, nor does a load balancer but with members, nor a NAT gateway.
        *(f'iifname "{link}" drop' for link in _cluster_chains(topology)),
        *(f'{side} "{link}" drop' for side, link in _closed_sides(topology)),
        *_verdicts("iifname", _droplet_chains(topology, "out")),
        *_verdicts("oifname", _droplet_chains(topology, "in") | _cluster_chains(topology) | _balancer_chains(topology)),
        *(
            f'oifname "{namespaces.router_links(nat_machine(gateway.id))[1]}" accept'
            for gateway in topology.nat_gateways
        ),
        f'iifname "p-*" oifname "{namespaces.UPLINK}" accept',
        f'oifname "p-{namespaces.INTERNET_LINK}" accept',
    ]


def _input(topology: Topology) -> list[str]:
    alone = ", ".join(f'"{droplet_links(one)[0]}"' for one in topology.droplets if not one.public_ip)
    return [
        'iifname "lo" accept',
        "ct state established,related accept",
        "ct state invalid drop",
        f'ip daddr {METADATA} iifname "p-*" iifname != "p-{namespaces.INTERNET_LINK}" tcp dport 80 accept',
        *([f"ip daddr {METADATA} iifname {{ {alone} }} tcp dport 80 accept"] if alone else []),
        f"ip daddr {METADATA} drop",
        # What a private link sends to the internet has to leave by a NAT gateway, also where that is this router.
        f'iifname "v-*" ip daddr {{ {GATEWAY}, {RESOLVER} }} drop',
        # Spaces, the API and the resolver are out in the internet for a Cloud Firewall.
        *_verdicts("iifname", _droplet_chains(topology, "out")),
        f"ip daddr {{ {GATEWAY}, {RESOLVER} }} meta l4proto {{ tcp, udp }} th dport 53 accept",
        f"ip daddr {GATEWAY} tcp dport {{ 80, 443 }} accept",
        "icmp type echo-request accept",
    ]


def _output(topology: Topology) -> list[str]:
    chains = _droplet_chains(topology, "in") | _balancer_chains(topology)
    return ["ct state established,related accept", *_verdicts("oifname", chains)]


def _machine_chains(topology: Topology) -> Iterator[str]:
    """Render what may reach each machine (accepted or dropped), and what may leave a Droplet (returned or dropped)."""
    for droplet in topology.droplets:
        name = droplet_machine(droplet.id)
        firewalls = firewalls_of(topology, droplet)
        for direction, verdict in (("in", "accept"), ("out", "return")):
            lines = []
            for firewall in firewalls:
                for rule in firewall.inbound if direction == "in" else firewall.outbound:
                    lines += _rule(topology, rule, "saddr" if direction == "in" else "daddr", verdict)
            yield _chain(f"{direction}_{name}", "", [*dict.fromkeys(lines), "drop" if firewalls else verdict])
    for cluster in topology.clusters:
        yield _chain(f"in_{cluster_machine(cluster.id)}", "", [*_cluster_rules(topology, cluster), "drop"])
    for balancer in topology.load_balancers:
        yield _chain(f"in_{balancer_machine(balancer.id)}", "", [*_balancer_rules(balancer), "drop"])


def _rule(topology: Topology, rule: FirewallRule, side: str, verdict: str) -> list[str]:
    peers = _addresses(topology, rule.addresses, rule.tags, rule.droplet_ids, rule.load_balancer_ids)
    if not peers:
        return []
    return [f"{_match(side, peers)}{_protocol(rule)} {verdict}"]


def _protocol(rule: FirewallRule) -> str:
    if rule.protocol == "icmp" or rule.ports in {"", "0", "all"}:
        return f"meta l4proto {rule.protocol}"
    return f"{rule.protocol} dport {rule.ports}"


def _cluster_rules(topology: Topology, cluster: Cluster) -> list[str]:
    service = f"tcp dport {{ {POSTGRES_PORT}, {POOL_PORT} }}"
    if not cluster.trusted_sources:
        return [f"{service} accept"]
    peers = _trusted(topology, cluster.trusted_sources)
    return [f"{_match('saddr', peers)}{service} accept"] if peers else []


def _replication(cluster: Cluster) -> list[str]:
    """Let the nodes of a cluster copy each other, in their private network."""
    links = [namespaces.router_links(cluster_machine(cluster.id, node.number))[1] for node in cluster.nodes]
    names = ", ".join(f'"{link}"' for link in links)
    among = f"iifname {{ {names} }} oifname {{ {names} }} tcp dport {POSTGRES_PORT} accept"
    return [among] if len(links) > 1 else []


def _balancer_rules(balancer: LoadBalancer) -> list[str]:
    """Let visitors reach the ports of the rules, as far as the balancer's own firewall lets them."""
    allowed = _ipv4(map(ipaddress.ip_network, balancer.allow)) if balancer.allow else [ANYWHERE]
    denied = _ipv4(map(ipaddress.ip_network, balancer.deny))
    ports = f"tcp dport {{ {', '.join(map(str, balancer.ports))} }}"
    lines = [f"{_match('saddr', denied)}drop"] if denied else []
    return lines + ([f"{_match('saddr', allowed)}{ports} accept"] if allowed else [])


def _trusted(topology: Topology, sources: Iterable[TrustedSource]) -> list[ipaddress.IPv4Network]:
    of_type = {
        kind: frozenset(source.value for source in sources if source.type == kind)
        for kind in ("ip_addr", "tag", "droplet")
    }
    return _addresses(topology, of_type["ip_addr"], of_type["tag"], frozenset(map(int, of_type["droplet"])))


def _addresses(
    topology: Topology,
    addresses: frozenset[str],
    tags: frozenset[str],
    droplet_ids: frozenset[int],
    load_balancer_ids: frozenset[str] = frozenset(),
) -> list[ipaddress.IPv4Network]:
    """All IPv4 peers that a rule names, without overlaps, which nftables refuses in a set."""
    networks = [ipaddress.ip_network(address, strict=False) for address in addresses]
    for droplet in topology.droplets:
        if droplet.id in droplet_ids or droplet.tags & tags:
            networks += map(ipaddress.ip_network, droplet.addresses)
    for balancer in topology.load_balancers:
        if balancer.id in load_balancer_ids:
            networks += [ipaddress.ip_network(balancer.public_ip), ipaddress.ip_network(balancer.private_ip)]
    return _ipv4(networks)


def _ipv4(networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> list[ipaddress.IPv4Network]:
    """Those that can be met: the world has no IPv6, so what a rule says about it is about no packet."""
    return list(ipaddress.collapse_addresses(net for net in networks if isinstance(net, ipaddress.IPv4Network)))


def _match(side: str, networks: list[ipaddress.IPv4Network]) -> str:
    if ANYWHERE in networks:
        return ""
    return f"ip {side} {{ {', '.join(map(str, networks))} }} "


def _droplet_chains(topology: Topology, direction: str) -> dict[str, str]:
    return {
        link: f"{direction}_{droplet_machine(droplet.id)}"
        for droplet in topology.droplets
        for link in droplet_links(droplet)
    }


def _cluster_chains(topology: Topology) -> dict[str, str]:
    """Chain of each link of a cluster's nodes: all of them have the same trusted sources."""
    return {
        link: f"in_{cluster_machine(cluster.id)}"
        for cluster in topology.clusters
        for node in cluster.nodes
        for link in namespaces.router_links(cluster_machine(cluster.id, node.number))
    }


def _balancer_chains(topology: Topology) -> dict[str, str]:
    """Chain of each load balancer's public link: visitors come by it only."""
    names = [balancer_machine(balancer.id) for balancer in topology.load_balancers]
    return {namespaces.router_links(name)[0]: f"in_{name}" for name in names}


def _closed_sides(topology: Topology) -> Iterator[tuple[str, str]]:
    """Return which way no conversation begins: of a load balancer out by the public link, in by the private one."""
    for balancer in topology.load_balancers:
        public, private = namespaces.router_links(balancer_machine(balancer.id))
        yield "iifname", public
        yield "oifname", private
    for gateway in topology.nat_gateways:  # the other way round
        public, private = namespaces.router_links(nat_machine(gateway.id))
        yield "oifname", public
        yield "iifname", private


def _verdicts(key: str, chains: dict[str, str]) -> list[str]:
    if not chains:
        return []
    verdicts = ", ".join(f'"{link}" : jump {chain}' for link, chain in chains.items())
    return [f"{key} vmap {{ {verdicts} }}"]


def _chain(name: str, hook: str, lines: list[str]) -> str:
    return "\n".join([f"  chain {name} {{", *(f"    {line}" for line in ([hook] if hook else []) + lines), "  }"])
