"""The topology that a world's store implies."""

from collections.abc import Iterator
from ipaddress import ip_network

from sandbox.model import topology as shape
from sandbox.model.balancers import balancers, certificates
from sandbox.model.store import Body, Resource, Store

ADDRESS_RECORDS = ("A", "AAAA", "CNAME")


def fully_qualified(name: str, domain: str) -> str:
    """Join a record's name and its domain, without the final dot; "@" is the domain itself."""
    return domain if name == "@" else f"{name}.{domain}"


def cluster_nodes(cluster: Resource) -> tuple[shape.Node, ...]:
    """Return the nodes of a database cluster by number; of standby nodes the store has a list."""
    addresses = [cluster.private, *cluster.private.get("standbys", [])]
    return tuple(
        shape.Node(number=number, public_ip=one["public_ip"], private_ip=one["private_ip"])
        for number, one in enumerate(addresses, start=1)
    )


def primary_of(cluster: Resource) -> int:
    """Return the number of the node that is a cluster's primary."""
    return int(cluster.private.get("primary", 1))


def _rules(rules: list[Body], side: str) -> tuple[shape.FirewallRule, ...]:
    return tuple(
        shape.FirewallRule(
            protocol=rule["protocol"],
            ports="" if rule["protocol"] == "icmp" else rule["ports"],
            addresses=frozenset(rule[side].get("addresses", [])),
            tags=frozenset(rule[side].get("tags", [])),
            droplet_ids=frozenset(rule[side].get("droplet_ids", [])),
            load_balancer_ids=frozenset(rule[side].get("load_balancer_uids", [])),
        )
        for rule in rules
    )


def _nat_gateways(store: Store) -> Iterator[shape.NatGateway]:
    """Return those that are there, or about to be."""
    for gateway in store.list("vpc_nat_gateway"):
        if gateway.body["state"] not in {"NEW", "ACTIVE"}:
            continue
        [of_vpc] = gateway.body["vpcs"]
        vpc = store.get("vpc", of_vpc["vpc_uuid"])
        assert vpc is not None, "a VPC with a NAT gateway can't be deleted"
        yield shape.NatGateway(
            id=gateway.id,
            public_ip=gateway.private["public_ip"],
            private_ip=gateway.private["private_ip"],
            vpc_range=str(ip_network(vpc.body["ip_range"])),
            is_default=of_vpc["default_gateway"],
            udp_timeout=gateway.body["udp_timeout_seconds"],
            icmp_timeout=gateway.body["icmp_timeout_seconds"],
            tcp_timeout=gateway.body["tcp_timeout_seconds"],
        )


def topology(store: Store) -> shape.Topology:
    """Derive networks, machines, rules and names from what exists."""
    return shape.Topology(
        vpcs=tuple(
            shape.Vpc(id=vpc.id, region=vpc.body["region"], ip_range=str(ip_network(vpc.body["ip_range"])))
            for vpc in store.list("vpc")
        ),
        droplets=tuple(
            shape.Droplet(
                id=int(droplet.id),
                name=droplet.body["name"],
                public_ip=droplet.private["public_ip"],
                private_ip=droplet.private["private_ip"],
                vpc_id=droplet.body["vpc_uuid"],
                tags=frozenset(droplet.body["tags"]),
            )
            for droplet in store.list("droplet")
        ),
        firewalls=tuple(
            shape.Firewall(
                id=firewall.id,
                droplet_ids=frozenset(firewall.body["droplet_ids"]),
                tags=frozenset(firewall.body["tags"]),
                inbound=_rules(firewall.body["inbound_rules"], "sources"),
                outbound=_rules(firewall.body["outbound_rules"], "destinations"),
            )
            for firewall in store.list("firewall")
        ),
        clusters=tuple(
            shape.Cluster(
                id=cluster.id,
                host=cluster.private["host"],
                private_host=cluster.private["private_host"],
                nodes=cluster_nodes(cluster),
                primary=primary_of(cluster),
                vpc_id=cluster.body["private_network_uuid"],
                trusted_sources=tuple(
                    shape.TrustedSource(type=rule["type"], value=rule["value"]) for rule in cluster.private["rules"]
                ),
            )
            for cluster in store.list("database")
        ),
        reserved_ips=tuple(
            shape.ReservedIp(ip=ip.body["ip"], droplet_id=(ip.body["droplet"] or {}).get("id"))
            for ip in store.list("reserved_ip")
        ),
        records=tuple(
            shape.Record(
                name=fully_qualified(record.body["name"], record.private["domain"]),
                type=record.body["type"],
                data=record.body["data"],
                ttl=record.body["ttl"],
            )
            for record in store.list("domain_record")
            if record.body["type"] in ADDRESS_RECORDS
        ),
        cdn_endpoints=tuple(
            shape.CdnEndpoint(id=cdn.id, endpoint=cdn.body["endpoint"], origin=cdn.body["origin"], ttl=cdn.body["ttl"])
            for cdn in store.list("cdn_endpoint")
        ),
        load_balancers=balancers(store),
        certificates=certificates(store),
        nat_gateways=tuple(_nat_gateways(store)),
    )
