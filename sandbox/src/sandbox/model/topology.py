"""What the network of a world must look like, derived from the API's store; realisers make it so."""

from dataclasses import dataclass, field
from typing import Literal


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
    public_ip: str
    private_ip: str
    vpc_id: str
    tags: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class FirewallRule:
    """One inbound or outbound rule of a Cloud Firewall."""

    protocol: Literal["tcp", "udp", "icmp"]
    ports: str  # "0" means all ports, "80", or "8000-8010"; empty for icmp
    addresses: frozenset[str]  # CIDRs or addresses, IPv4 and IPv6
    tags: frozenset[str]
    droplet_ids: frozenset[int]


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
class Cluster:
    """A managed database's addresses; no trusted source means that everybody may connect, as in the cloud."""

    id: str
    host: str
    private_host: str
    public_ip: str
    private_ip: str
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
class Topology:
    """Everything that names, addresses and packets of a world depend on."""

    vpcs: tuple[Vpc, ...] = field(default=())
    droplets: tuple[Droplet, ...] = field(default=())
    firewalls: tuple[Firewall, ...] = field(default=())
    clusters: tuple[Cluster, ...] = field(default=())
    reserved_ips: tuple[ReservedIp, ...] = field(default=())
    records: tuple[Record, ...] = field(default=())
    cdn_endpoints: tuple[CdnEndpoint, ...] = field(default=())
