"""What the network of a world must look like, derived from the API's store; realisers make it so."""

from dataclasses import dataclass, field
from typing import Literal


def standby_name(name: str) -> str:
    """Return the name that leads to a database cluster's standby nodes, of one that leads to its primary."""
    return f"replica-{name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Vpc:
    """A private network; Droplets and clusters of other VPCs can't reach it."""

    id: str
    region: str
    ip_range: str  # CIDR, for example "10.10.0.0/20"; its first address is the gateway


@dataclass(frozen=True, kw_only=True, slots=True)
class Droplet:
    """A Droplet's addresses and tags."""

    id: int
    name: str
    public_ip: str | None  # None: it has no public networking
    private_ip: str
    vpc_id: str
    tags: frozenset[str]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Those that it has: the public one, if any, and the private one."""
        return (self.private_ip,) if self.public_ip is None else (self.public_ip, self.private_ip)


@dataclass(frozen=True, kw_only=True, slots=True)
class FirewallRule:
    """One inbound or outbound rule of a Cloud Firewall."""

    protocol: Literal["tcp", "udp", "icmp"]
    ports: str  # "0" means all ports, "80", or "8000-8010"; empty for icmp
    addresses: frozenset[str]  # CIDRs or addresses, IPv4 and IPv6
    tags: frozenset[str]
    droplet_ids: frozenset[int]
    load_balancer_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Firewall:
    """A Cloud Firewall: what isn't allowed is dropped, for its Droplets only."""

    id: str
    droplet_ids: frozenset[int]
    tags: frozenset[str]
    inbound: tuple[FirewallRule, ...]
    outbound: tuple[FirewallRule, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustedSource:
    """One rule of a database cluster's firewall."""

    type: Literal["ip_addr", "droplet", "tag"]
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A machine of a managed database; a cluster begins with number 1."""

    number: int
    public_ip: str
    private_ip: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A managed database's addresses; no trusted source means that everybody may connect, as in the cloud."""

    id: str
    host: str
    private_host: str
    nodes: tuple[Node, ...]
    primary: int = 1  # number of the node that the names lead to
    vpc_id: str
    trusted_sources: tuple[TrustedSource, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReservedIp:
    """A public address that leads to one Droplet, or nowhere."""

    ip: str
    droplet_id: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """An address record of a domain managed by the API."""

    name: str  # fully qualified, no trailing dot
    type: str
    data: str
    ttl: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CdnEndpoint:
    """A CDN host name in front of a Space."""

    id: str
    endpoint: str
    origin: str
    ttl: int  # seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """A certificate of the account, as a server needs it; PEM, the certificate itself before those that signed it."""

    id: str
    chain: str
    key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class ForwardingRule:
    """What a load balancer listens for, and how its members are asked; protocols are http, https, http2 and tcp."""

    entry_protocol: str
    entry_port: int
    target_protocol: str
    target_port: int
    certificate_id: str  # empty where TLS doesn't end here
    passthrough: bool  # TLS goes through, unread


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthCheck:
    """How a load balancer sees which members are healthy. Interval and timeout in seconds."""

    protocol: str  # http, https or tcp
    port: int
    path: str  # empty for tcp
    interval: int
    timeout: int
    unhealthy_threshold: int  # failures in a row
    healthy_threshold: int  # successes in a row


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadBalancer:
    """A regional load balancer, with its members by their private addresses. Idle timeout in seconds."""

    id: str
    name: str
    public_ip: str
    private_ip: str
    vpc_id: str
    vpc_range: str
    members: tuple[str, ...]
    rules: tuple[ForwardingRule, ...]
    health_check: HealthCheck
    algorithm: str  # round_robin or least_connections
    cookie: tuple[str, int] | None  # name and seconds, of sticky sessions
    redirects: bool  # http on port 80 to https
    proxy_protocol: bool
    backend_keepalive: bool
    idle_timeout: int
    strong_ciphers: bool
    allow: tuple[str, ...]  # networks that may connect; all, if there is none
    deny: tuple[str, ...]

    @property
    def ports(self) -> tuple[int, ...]:
        """Ports that it listens at."""
        return tuple(sorted({rule.entry_port for rule in self.rules} | ({80} if self.redirects else set())))


@dataclass(frozen=True, kw_only=True, slots=True)
class NatGateway:
    """The way out of a VPC: what is sent to the VPC's own gateway leaves by the default one of these."""

    id: str
    public_ip: str
    private_ip: str
    vpc_range: str
    is_default: bool
    udp_timeout: int  # seconds that a connection may be idle, as the others
    icmp_timeout: int
    tcp_timeout: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Topology:
    """Everything that names, addresses and packets of a world depend on."""

    vpcs: tuple[Vpc, ...] = field(default=())
    droplets: tuple[Droplet, ...] = field(default=())
    firewalls: tuple[Firewall, ...] = field(default=())
    clusters: tuple[Cluster, ...] = field(default=())
    reserved_ips: tuple[ReservedIp, ...] = field(default=())
    records: tuple[Record, ...] = field(default=())
    cdn_endpoints: tuple[CdnEndpoint, ...] = field(default=())
    load_balancers: tuple[LoadBalancer, ...] = field(default=())
    certificates: tuple[Certificate, ...] = field(default=())
    nat_gateways: tuple[NatGateway, ...] = field(default=())
