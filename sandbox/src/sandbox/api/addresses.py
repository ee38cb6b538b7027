"""Addresses and ids of new things: those that are free in a fixed order, so that two runs of one program agree."""

from collections.abc import Iterable
from ipaddress import IPv4Network, ip_network

from sandbox.api import errors
from sandbox.model.store import Resource, Store
from sandbox.model.topology_of import cluster_nodes
from sandbox.world.world import Depth

_PUBLIC = IPv4Network("198.51.100.0/24")
_MORE = IPv4Network("203.0.113.0/24")  # where no machine needs a way to its address
# Last octets in the public range; .1 is the gateway and .2 the internet side.
_DROPLETS = range(10, 100)
_CLUSTERS = range(100, 150)
_LOAD_BALANCERS = range(150, 190)
_NAT_GATEWAYS = range(190, 200)
_RESERVED = range(200, 250)
_FIRST_HOST = 10  # of a VPC: its first addresses are the gateway's and kept free, as in the cloud


def _first(candidates: Iterable[int], taken: set[str], what: str, network: IPv4Network = _PUBLIC) -> str:
    for number in candidates:
        address = str(network.network_address + number)
        if address not in taken:
            return address
    raise errors.unprocessable(f"{what}: this world has no free address left in {network}; delete some first")


def _clusters(store: Store) -> list[Resource]:
    """Return clusters, those included whose machine is just going away."""
    return store.list("database") + store.list("database_leaving")


def droplet(store: Store, depth: Depth) -> str:
    """Return a public address for a Droplet; at depth `api` there are more than a network has room for."""
    taken = {droplet.private["public_ip"] for droplet in store.list("droplet")}
    if depth == "api" and taken >= {str(_PUBLIC.network_address + number) for number in _DROPLETS}:
        return _first(range(1, _MORE.num_addresses - 1), taken, "droplets", _MORE)
    return _first(_DROPLETS, taken, "droplets")


def cluster(store: Store) -> str:
    """Return a public address for a node of a database cluster."""
    return _first(_CLUSTERS, {node.public_ip for c in _clusters(store) for node in cluster_nodes(c)}, "databases")


def load_balancer(store: Store) -> str:
    """Return a public address for a load balancer."""
    taken = {balancer.private["public_ip"] for balancer in store.list("load_balancer")}
    return _first(_LOAD_BALANCERS, taken, "load_balancers")


def nat_gateway(store: Store) -> str:
    """Return a public address for a NAT gateway."""
    taken = {gateway.private["public_ip"] for gateway in store.list("vpc_nat_gateway")}
    return _first(_NAT_GATEWAYS, taken, "vpc_nat_gateways")


def reserved(store: Store) -> str:
    """Return a Reserved IP; one that was given back comes again only after all others."""
    taken = {ip.id for ip in store.list("reserved_ip")}
    count = len(_RESERVED)
    # A store's numbers begin with one more than a multiple of this count.
    in_turn = (_RESERVED[(store.next_id("reserved_ip") - 1) % count] for _ in _RESERVED)
    return _first(in_turn, taken, "reserved_ips")


def private(store: Store, vpc_id: str, ip_range: str) -> str:
    """Return an address inside a VPC."""
    network = ip_network(ip_range)
    assert isinstance(network, IPv4Network)
    members = [m for kind in ("droplet", "load_balancer") for m in store.list(kind) if m.body["vpc_uuid"] == vpc_id]
    taken = {member.private["private_ip"] for member in members}
    clusters = [c for c in _clusters(store) if c.body["private_network_uuid"] == vpc_id]
    taken |= {node.private_ip for c in clusters for node in cluster_nodes(c)}
    gateways = [g for g in store.list("vpc_nat_gateway") if g.body["vpcs"][0]["vpc_uuid"] == vpc_id]
    taken |= {gateway.private["private_ip"] for gateway in gateways}
    return _first(range(_FIRST_HOST, network.num_addresses - 1), taken, "vpc", network)
