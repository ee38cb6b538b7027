"""The seam between the API's models and the parts that make them real, one implementation per depth."""

from dataclasses import dataclass
from typing import Literal, Protocol

from sandbox.model.topology import Node, Topology
from sandbox.world.pem import Pair


@dataclass(frozen=True, kw_only=True, slots=True)
class DropletSpec:
    """All that a Droplet's machine needs to boot."""

    id: int
    name: str
    region: str
    size: str  # slug of the plan
    image: str  # slug, for example "debian-13-x64"
    memory_mib: int
    vcpus: int
    user_data: str
    public_keys: tuple[str, ...]
    tags: tuple[str, ...]
    public_ip: str | None  # None: it has no public networking
    private_ip: str
    vpc_id: str
    vpc_range: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterSpec:
    """All that a database cluster needs to start."""

    id: str
    name: str
    version: str  # major version of PostgreSQL
    memory_mib: int
    vcpus: int
    max_connections: int
    host: str
    private_host: str
    nodes: tuple[Node, ...]
    vpc_id: str
    vpc_range: str
    password: str  # of doadmin
    primary: int = 1  # number of the node that is writable
    engine: str = "pg"  # with a default: an older world's file of a machine has none


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolSpec:
    """One PgBouncer pool. An empty user means that clients keep their own."""

    name: str
    mode: Literal["transaction", "session", "statement"]
    size: int
    database: str
    user: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """What a Spaces key may do; an empty bucket with "fullaccess" means the whole account."""

    bucket: str
    permission: Literal["read", "readwrite", "fullaccess"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where clients reach a cluster: in a world with namespaces its own names, else this machine."""

    host: str
    private_host: str
    standby_host: str
    standby_private_host: str
    port: int
    pool_port: int


class RealiserError(Exception):
    """A part of the world could not be made or changed; the text says which and why."""


class Realiser(Protocol):
    """Makes real what the API was asked for. Every method is idempotent and blocking; callers use threads."""

    def start(self, droplets: list[DropletSpec], clusters: list[ClusterSpec]) -> None:
        """Bring up again what the store says exists, after a restart of the API."""

    def apply(self, topology: Topology) -> None:
        """Make packet filter, address translation, DNS, CDN and load balancers equal to the topology."""

    def create_droplet(self, spec: DropletSpec) -> None:
        """Create and start a machine; return as soon as it is powered on."""

    def power_off_droplet(self, droplet_id: int) -> None:
        """Shut the machine down and wait for it."""

    def power_on_droplet(self, droplet_id: int) -> None:
        """Start a machine that is off."""

    def resize_droplet(self, spec: DropletSpec) -> None:
        """Give a machine that is off the limits of another plan."""

    def destroy_droplet(self, droplet_id: int) -> None:
        """Remove the machine and its disk."""

    def create_cluster(self, spec: ClusterSpec) -> None:
        """Create and start a cluster; return when it accepts connections and its standby nodes follow."""

    def resize_cluster(self, spec: ClusterSpec) -> None:
        """Restart a cluster with another plan's limits."""

    def destroy_cluster(self, cluster_id: str) -> None:
        """Remove a cluster and its data."""

    def primary_answers(self, spec: ClusterSpec) -> bool:
        """Whether the primary of a cluster accepts connections."""

    def standbys_follow(self, spec: ClusterSpec) -> bool:
        """Whether all standby nodes of a cluster receive what its primary writes."""

    def retire_primary(self, spec: ClusterSpec, *, planned: bool) -> int:
        """End the primary, so that it can't serve any more, and return the number of the node to promote.

        Planned, it stops in order, and nothing that it wrote is lost.
        """

    def promote(self, spec: ClusterSpec) -> None:
        """Make the node that is primary from now on writable."""

    def endpoint(self, spec: ClusterSpec) -> Endpoint:
        """Host names and ports that the API must answer for this cluster."""

    def cluster_ca(self, cluster_id: str) -> str:
        """Return the PEM certificate that signs the cluster's server certificate."""

    def create_database(self, cluster_id: str, name: str) -> None:
        """Create a database owned by doadmin."""

    def drop_database(self, cluster_id: str, name: str) -> None:
        """Drop a database, ending its connections."""

    def create_user(self, cluster_id: str, name: str, password: str) -> None:
        """Create a login role without privileges, or give an existing one this password."""

    def drop_user(self, cluster_id: str, name: str) -> None:
        """Drop a role; raises RealiserError with PostgreSQL's text when it owns objects."""

    def put_pools(self, cluster_id: str, pools: list[PoolSpec]) -> None:
        """Make the cluster's connection pools equal to this list."""

    def obtain_certificate(self, names: list[str]) -> Pair:
        """Get a certificate for names of the account's zones, as Let's Encrypt gives them."""

    def put_spaces_key(self, region_slugs: list[str], access_key: str, secret_key: str, grants: list[Grant]) -> None:
        """Create or change a Spaces key."""

    def delete_spaces_key(self, region_slugs: list[str], access_key: str) -> None:
        """Revoke a Spaces key; what it wrote stays."""

    def purge_cdn(self, endpoint_id: str, files: list[str]) -> None:
        """Forget what a CDN endpoint keeps of these paths; a final * stands for all that begin so."""
