"""The NAT gateways of a full world: a namespace each, to which the router leads what leaves its VPC."""

import re

from sandbox.model.topology import NatGateway, Topology
from sandbox.network import legs, namespaces
from sandbox.network.packet_filter import nat_machine
from sandbox.world.world import World

_NAMESPACE = re.compile(rf"{namespaces.ROUTER}-(n[0-9a-f]{{8}})")
_RULES = """\
table ip nat {
  chain post {
    type nat hook postrouting priority srcnat; policy accept;
    oifname "eth0" masquerade
  }
}
"""


def apply(world: World, topology: Topology) -> None:
    """Make namespaces and routes equal to the topology: a way out is there before it is taken, and goes after it."""
    for gateway in topology.nat_gateways:
        _make(gateway, namespaces.uplink_mtu(world))
    namespaces.lead_out(
        {
            gateway.vpc_range: (nat_machine(gateway.id), gateway.private_ip)
            for gateway in topology.nat_gateways
            if gateway.is_default
        }
    )
    wanted = {nat_machine(gateway.id) for gateway in topology.nat_gateways}
    for found in filter(None, map(_NAMESPACE.fullmatch, namespaces.namespaces())):
        if found[1] not in wanted:
            namespaces.remove_machine(found[1])


def _make(gateway: NatGateway, mtu: int) -> None:
    """Let what comes by the private link leave by the public one, under that address."""
    name = nat_machine(gateway.id)
    namespace, (_, private) = namespaces.machine_namespace(name), namespaces.router_links(name)
    is_new = namespace not in namespaces.namespaces()
    legs.add(name, public_ip=gateway.public_ip, private_ip=gateway.private_ip, vpc_range=gateway.vpc_range, mtu=mtu)
    try:
        if is_new:
            namespaces.command(namespaces.in_namespace(namespace, ["nft", "-f", "-"]), text=_RULES)
            # The router's own addresses are the internet's: they come back from there as senders.
            namespaces.sysctl(namespaces.ROUTER, {f"net/ipv4/conf/{private}/accept_local": "1"})
        namespaces.sysctl(
            namespace,
            {
                "net/ipv4/ip_forward": "1",
                "net/netfilter/nf_conntrack_udp_timeout": str(gateway.udp_timeout),
                "net/netfilter/nf_conntrack_udp_timeout_stream": str(gateway.udp_timeout),
                "net/netfilter/nf_conntrack_icmp_timeout": str(gateway.icmp_timeout),
                "net/netfilter/nf_conntrack_tcp_timeout_established": str(gateway.tcp_timeout),
            },
        )
    except namespaces.NetworkError:
        namespaces.remove_machine(name)  # half of one would be taken for whole the next time
        raise
