"""The router's ruleset says what the topology says; whether packets obey is test_world_full's business."""

import re
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.model.topology import (
    Cluster,
    Droplet,
    Firewall,
    FirewallRule,
    NatGateway,
    Node,
    ReservedIp,
    Topology,
    TrustedSource,
    Vpc,
)
from sandbox.network import packet_filter
from sandbox.tests.test_balancer_configuration import PLAIN

ANYWHERE = frozenset({"0.0.0.0/0", "::/0"})


def vpc() -> Vpc:
    """Make the one VPC of most tests."""
    return Vpc(id="v", region="nyc3", ip_range="10.10.0.0/20")


def droplet(number: int = 1, *tags: str) -> Droplet:
    """Make a Droplet with addresses by its number."""
    return Droplet(
        id=number,
        name=f"web-{number}",
        public_ip=f"198.51.100.{9 + number}",
        private_ip=f"10.10.0.{9 + number}",
        vpc_id="v",
        tags=frozenset(tags),
    )


def rule(
    protocol: str = "tcp", ports: str = "443", addresses: frozenset[str] = ANYWHERE, tags: frozenset[str] = frozenset()
) -> FirewallRule:
    """Make a rule that admits everybody to HTTPS, unless told otherwise."""
    return FirewallRule(
        protocol=protocol,  # type: ignore[arg-type]
        ports=ports,
        addresses=addresses,
        tags=tags,
        droplet_ids=frozenset(),
    )


def firewall(*inbound: FirewallRule, tags: frozenset[str] = frozenset({"web"})) -> Firewall:
    """Make a Cloud Firewall that lets everything out."""
    return Firewall(id="f", droplet_ids=frozenset(), tags=tags, inbound=inbound, outbound=(rule(ports="0"),))


def cluster(*sources: TrustedSource) -> Cluster:
    """Make a database cluster with these trusted sources."""
    return Cluster(
        id="12345678-0000-0000-0000-000000000000",
        host="db.db.ondigitalocean.com",
        private_host="private-db.db.ondigitalocean.com",
        nodes=(Node(number=1, public_ip="198.51.100.100", private_ip="10.10.0.20"),),
        vpc_id="v",
        trusted_sources=sources,
    )


def chain(text: str, name: str) -> list[str]:
    """Find the lines of a chain in a rendered ruleset."""
    found = re.search(rf"(?ms)^  chain {name} {{\n(.*?)^  }}", text)
    assert found, f"no chain {name} in:\n{text}"
    return [line.strip() for line in found[1].splitlines()]


def test_droplet_without_firewall_is_open() -> None:
    """As in the cloud: a Droplet behind no Cloud Firewall accepts and sends everything."""
    text = packet_filter.render(Topology(vpcs=(vpc(),), droplets=(droplet(),)))
    assert chain(text, "in_d1") == ["accept"]
    assert chain(text, "out_d1") == ["return"]


def test_firewall_drops_what_no_rule_allows() -> None:
    """Rules of all firewalls add up, and the end is a drop."""
    topology = Topology(droplets=(droplet(1, "web"),), firewalls=(firewall(rule()), firewall(rule(ports="80"))))
    assert chain(packet_filter.render(topology), "in_d1") == ["tcp dport 443 accept", "tcp dport 80 accept", "drop"]


def test_firewall_applies_to_its_droplets_only() -> None:
    """A tag that a Droplet doesn't carry leaves it open."""
    topology = Topology(droplets=(droplet(1, "web"), droplet(2)), firewalls=(firewall(rule()),))
    text = packet_filter.render(topology)
    assert chain(text, "in_d1")[-1] == "drop"
    assert chain(text, "in_d2") == ["accept"]


def test_source_tag_means_both_addresses_of_its_droplets() -> None:
    """A rule from a tag admits its Droplets by their public and their private address."""
    inbound = rule(ports="8000-8010", addresses=frozenset(), tags=frozenset({"proxy"}))
    topology = Topology(droplets=(droplet(1, "web"), droplet(2, "proxy")), firewalls=(firewall(inbound),))
    expected = "ip saddr { 10.10.0.11/32, 198.51.100.11/32 } tcp dport 8000-8010 accept"
    assert chain(packet_filter.render(topology), "in_d1") == [expected, "drop"]


def test_source_tag_of_nobody_admits_nobody() -> None:
    """A rule whose tag no Droplet has must not become a rule without a source."""
    inbound = rule(addresses=frozenset(), tags=frozenset({"nobody"}))
    topology = Topology(droplets=(droplet(1, "web"),), firewalls=(firewall(inbound),))
    assert chain(packet_filter.render(topology), "in_d1") == ["drop"]


def test_ipv6_source_admits_no_ipv4() -> None:
    """A rule from ::/0 alone must not open IPv4."""
    topology = Topology(droplets=(droplet(1, "web"),), firewalls=(firewall(rule(addresses=frozenset({"::/0"}))),))
    assert chain(packet_filter.render(topology), "in_d1") == ["drop"]


def test_cluster_without_trusted_sources_is_open_on_its_ports_only() -> None:
    """A new cluster accepts everybody, but nothing beside PostgreSQL and its pools."""
    text = packet_filter.render(Topology(clusters=(cluster(),)))
    assert chain(text, "in_c12345678") == ["tcp dport { 25060, 25061 } accept", "drop"]


def test_a_cluster_begins_no_conversation() -> None:
    """What it sends first is dropped before the rules of the one it is sent to are asked."""
    text = packet_filter.render(Topology(droplets=(droplet(),), clusters=(cluster(),)))
    forward = chain(text, "forward")
    dropped = [forward.index(f'iifname "{link}-c12345678" drop') for link in "pv"]
    assert max(dropped) < min(index for index, line in enumerate(forward) if "vmap" in line)


def test_nodes_of_a_cluster_copy_each_other() -> None:
    """In private, before it is said that a cluster begins no conversation; trusted sources are those of all nodes."""
    second = Node(number=2, public_ip="198.51.100.101", private_ip="10.10.0.21")
    source = TrustedSource(type="ip_addr", value="198.51.100.2")
    several = replace(cluster(source), nodes=(*cluster().nodes, second))
    text = packet_filter.render(Topology(clusters=(several,)))
    links = '{ "v-c12345678", "v-c12345678-2" }'
    forward = chain(text, "forward")
    dropped = [forward.index(f'iifname "{link}-c12345678{node}" drop') for link in "pv" for node in ("", "-2")]
    assert forward.index(f"iifname {links} oifname {links} tcp dport 25060 accept") < min(dropped)
    [verdicts] = [line for line in forward if line.startswith("oifname vmap")]
    assert verdicts.count("jump in_c12345678") == 4
    assert 'iifname "v-c12345678-2" ip saddr != 10.10.0.21 drop' in chain(text, "guard")


def test_trusted_sources_close_a_cluster_to_others() -> None:
    """Addresses, Droplets and tags are admitted; the rest is dropped."""
    sources = (
        TrustedSource(type="ip_addr", value="198.51.100.2"),
        TrustedSource(type="droplet", value="1"),
        TrustedSource(type="tag", value="jobs"),
    )
    topology = Topology(droplets=(droplet(1), droplet(3, "jobs"), droplet(5)), clusters=(cluster(*sources),))
    [first, last] = chain(packet_filter.render(topology), "in_c12345678")
    assert set(re.findall(r"[\d.]+/32", first)) == {
        "198.51.100.2/32",
        "198.51.100.10/32",
        "10.10.0.10/32",
        "198.51.100.12/32",
        "10.10.0.12/32",
    }
    assert last == "drop"


def test_trusted_source_that_is_gone_keeps_the_cluster_closed() -> None:
    """A cluster that trusts a Droplet which doesn't exist trusts nobody, and not everybody."""
    text = packet_filter.render(Topology(clusters=(cluster(TrustedSource(type="droplet", value="9")),)))
    assert chain(text, "in_c12345678") == ["drop"]


def test_reserved_ip_leads_to_its_droplet() -> None:
    """Strangers' and local packets alike are translated; an address of nobody isn't mentioned."""
    reserved = (ReservedIp(ip="198.51.100.200", droplet_id=1), ReservedIp(ip="198.51.100.201", droplet_id=None))
    text = packet_filter.render(Topology(droplets=(droplet(),), reserved_ips=reserved))
    for name in ("prerouting", "output_nat"):
        assert chain(text, name)[1:] == ["ip daddr 198.51.100.200 dnat to 198.51.100.10"]


def test_sender_that_is_not_the_links_is_dropped() -> None:
    """Firewalls and the metadata service know Droplets by address, so nobody may take another's."""
    text = packet_filter.render(Topology(droplets=(droplet(),)))
    assert 'iifname "p-d1" ip saddr != 198.51.100.10 drop' in chain(text, "guard")
    assert 'iifname "v-d1" ip saddr != 10.10.0.10 drop' in chain(text, "guard")


def test_private_traffic_stays_in_its_vpc() -> None:
    """What comes from a private link passes within one VPC's range only."""
    other = Vpc(id="w", region="nyc3", ip_range="10.20.0.0/20")
    assert chain(packet_filter.render(Topology(vpcs=(vpc(), other))), "private") == [
        "ip saddr 10.10.0.0/20 ip daddr 10.10.0.0/20 return",
        "ip saddr 10.20.0.0/20 ip daddr 10.20.0.0/20 return",
        "drop",
    ]


def test_a_load_balancer_is_reached_at_its_ports_and_reaches_its_vpc() -> None:
    """By visitors that its own firewall lets in, deny first; it begins nothing outside, and nobody something inside."""
    balancer = replace(PLAIN, allow=("192.0.2.0/24", "2001:db8::/32"), deny=("192.0.2.7/32",))
    text = packet_filter.render(Topology(vpcs=(vpc(),), load_balancers=(balancer,)))
    assert chain(text, "in_b12345678") == [
        "ip saddr { 192.0.2.7/32 } drop",
        "ip saddr { 192.0.2.0/24 } tcp dport { 80, 443, 5432 } accept",
        "drop",
    ]
    forward = chain(text, "forward")
    assert forward.index('iifname "p-b12345678" drop') < forward.index(
        'oifname vmap { "p-b12345678" : jump in_b12345678 }'
    )
    assert 'oifname "v-b12345678" drop' in forward
    assert 'iifname "v-b12345678" ip saddr != 10.10.0.30 drop' in chain(text, "guard")


def test_an_open_load_balancer_takes_everybody() -> None:
    """One that lets in only IPv6 lets in nobody, since the world has none."""
    ports = "tcp dport { 80, 443, 5432 } accept"
    for allow, lines in (((), [ports, "drop"]), (("2001:db8::/32",), ["drop"])):
        text = packet_filter.render(Topology(load_balancers=(replace(PLAIN, allow=allow),)))
        assert chain(text, "in_b12345678") == lines


def test_a_firewall_knows_a_load_balancer() -> None:
    """By its addresses, of which it sends from the private one; another's id admits nobody."""
    for balancer_id, lines in (
        (PLAIN.id, ["ip saddr { 10.10.0.30/32, 198.51.100.150/32 } tcp dport 443 accept", "drop"]),
        ("other", ["drop"]),
    ):
        inbound = replace(rule(addresses=frozenset()), load_balancer_ids=frozenset({balancer_id}))
        topology = Topology(droplets=(droplet(1, "web"),), firewalls=(firewall(inbound),), load_balancers=(PLAIN,))
        assert chain(packet_filter.render(topology), "in_d1") == lines


addresses = st.sampled_from(["0.0.0.0/0", "::/0", "10.0.0.0/8", "10.10.0.10", "198.51.100.0/25", "198.51.100.10/32"])
rules = st.builds(
    FirewallRule,
    protocol=st.sampled_from(["tcp", "udp", "icmp"]),
    ports=st.sampled_from(["0", "80", "8000-9000"]),
    addresses=st.frozensets(addresses, max_size=4),
    tags=st.frozensets(st.sampled_from(["web", "proxy"])),
    droplet_ids=st.frozensets(st.sampled_from([1, 2, 9])),
)
firewalls = st.builds(
    Firewall,
    id=st.just("f"),
    droplet_ids=st.frozensets(st.sampled_from([1, 2])),
    tags=st.frozensets(st.sampled_from(["web", "proxy"])),
    inbound=st.lists(rules, max_size=4).map(tuple),
    outbound=st.lists(rules, max_size=4).map(tuple),
)


@given(firewalls=st.lists(firewalls, max_size=3))
def test_a_droplet_behind_a_firewall_always_ends_in_a_drop(firewalls: list[Firewall]) -> None:
    """Whatever the rules are, what none of them allows is dropped, in both directions."""
    topology = Topology(droplets=(droplet(1, "web"), droplet(2)), firewalls=tuple(firewalls))
    text = packet_filter.render(topology)
    for machine in topology.droplets:
        covered = bool(packet_filter.firewalls_of(topology, machine))
        assert chain(text, f"in_d{machine.id}")[-1] == ("drop" if covered else "accept")
        assert chain(text, f"out_d{machine.id}")[-1] == ("drop" if covered else "return")


@pytest.mark.full
@given(firewalls=st.lists(firewalls, max_size=3))
def test_nftables_takes_every_ruleset(firewalls: list[Firewall]) -> None:
    """No combination of rules renders something that nft refuses: overlapping sets, empty sets, keywords."""
    topology = Topology(
        vpcs=(vpc(),),
        droplets=(droplet(1, "web"), droplet(2, "proxy")),
        firewalls=tuple(firewalls),
        clusters=(cluster(TrustedSource(type="tag", value="web")),),
        reserved_ips=(ReservedIp(ip="198.51.100.200", droplet_id=1),),
        load_balancers=(replace(PLAIN, allow=("192.0.2.0/24", "192.0.2.0/25"), deny=("0.0.0.0/0",)),),
    )
    done = subprocess.run(
        ["unshare", "--net", "nft", "--check", "--file", "-"],
        check=False,
        capture_output=True,
        text=True,
        input=packet_filter.render(topology),
    )
    assert done.stderr == ""
    assert done.returncode == 0


def way_out() -> NatGateway:
    """Make the NAT gateway of the one VPC."""
    return NatGateway(
        id="87654321-0000-0000-0000-000000000000",
        public_ip="198.51.100.190",
        private_ip="10.10.0.30",
        vpc_range="10.10.0.0/20",
        is_default=True,
        udp_timeout=30,
        icmp_timeout=30,
        tcp_timeout=300,
    )


def test_a_droplet_without_public_address_has_one_link() -> None:
    """Rules know it by its private address, and it reaches the metadata service by its private link."""
    private = replace(droplet(1, "web"), public_ip=None)
    source = TrustedSource(type="tag", value="web")
    reserved = ReservedIp(ip="198.51.100.200", droplet_id=1)
    topology = Topology(vpcs=(vpc(),), droplets=(private,), clusters=(cluster(source),), reserved_ips=(reserved,))
    text = packet_filter.render(topology)
    assert "p-d1" not in text
    assert chain(text, "in_c12345678")[0] == "ip saddr { 10.10.0.10/32 } tcp dport { 25060, 25061 } accept"
    assert 'ip daddr 169.254.169.254 iifname { "v-d1" } tcp dport 80 accept' in chain(text, "input")
    assert chain(text, "prerouting")[1:] == []


def test_a_nat_gateway_is_a_one_way_street() -> None:
    """Its VPC leaves by it after the rules of each Droplet; nothing else begins there, on either side."""
    text = packet_filter.render(Topology(vpcs=(vpc(),), droplets=(droplet(),), nat_gateways=(way_out(),)))
    forward = chain(text, "forward")
    accepted = forward.index('oifname "v-n87654321" accept')
    assert max(number for number, line in enumerate(forward) if "vmap" in line) < accepted
    closed = {'oifname "p-n87654321" drop', 'iifname "v-n87654321" drop'}
    assert closed <= set(forward[:accepted])
    assert 'ip saddr 10.10.0.0/20 oifname "v-n87654321" return' in chain(text, "private")
    assert 'iifname "p-n87654321" ip saddr != 198.51.100.190 drop' in chain(text, "guard")


def test_what_a_private_link_sends_to_the_router_is_not_answered_there() -> None:
    """The internet is out by the NAT gateway, whose public link it comes by."""
    rules = chain(packet_filter.render(Topology(vpcs=(vpc(),), droplets=(droplet(),))), "input")
    refused = rules.index('iifname "v-*" ip daddr { 198.51.100.1, 67.207.67.2 } drop')
    assert refused < min(number for number, line in enumerate(rules) if "dport 53" in line)
