"""The realiser of full worlds: machines, packet filter, DNS, CDN, Spaces and database clusters that are real."""

import contextlib
import subprocess
import threading
from collections.abc import Iterator

from sandbox.machines import config_drive, images, machine
from sandbox.machines.machine import Machine
from sandbox.model.realiser import ClusterSpec, DropletSpec, Endpoint, Grant, PoolSpec, RealiserError
from sandbox.model.topology import Topology
from sandbox.network import namespaces, packet_filter
from sandbox.network.packet_filter import droplet_machine
from sandbox.parts import issuance, names, nat_gateways
from sandbox.parts.balancers.balancers import Balancers
from sandbox.parts.databases.clusters import Clusters
from sandbox.parts.front import front
from sandbox.parts.spaces import gateway
from sandbox.world.pem import Pair
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import World, WorldError


class FullRealiser:
    """Realiser of depth `full`; see sandbox.model.realiser.Realiser for what each method promises."""

    def __init__(self, world: World, supervisor: Supervisor) -> None:
        self._world = world
        self._supervisor = supervisor
        self._clusters = Clusters(world, supervisor)
        self._balancers = Balancers(world, supervisor)
        self._applying = threading.Lock()

    def start(self, droplets: list[DropletSpec], clusters: list[ClusterSpec]) -> None:
        """Bring up again what the store says exists, after a restart of the API."""
        for spec in droplets:
            self.create_droplet(spec)
        self._clusters.start(clusters)

    def apply(self, topology: Topology) -> None:
        """Make packet filter, address translation, DNS, CDN and load balancers equal to the topology."""
        with self._applying, _explained():
            self._balancers.end(topology)  # while firewalls still let it in: else what it has under way would hang
            namespaces.apply(topology)
            packet_filter.apply(topology)
            nat_gateways.apply(self._world, topology)
            names.apply(self._world, self._supervisor, topology)
            front.apply(self._world, topology)
            self._balancers.apply(topology)

    def create_droplet(self, spec: DropletSpec) -> None:
        """Create and start a machine; return as soon as it is powered on."""
        with _explained():
            droplet = self._machine(spec)
            files = config_drive.render(spec, namespaces.uplink_mtu(self._world))
            droplet.create(files, modes=dict.fromkeys(files, 0o600))  # user data may hold secrets
            droplet.start()

    def power_off_droplet(self, droplet_id: int) -> None:
        """Shut the machine down and wait for it."""
        with _explained():
            machine.load_machine(self._world, droplet_machine(droplet_id)).power_off()

    def power_on_droplet(self, droplet_id: int) -> None:
        """Start a machine that is off."""
        with _explained():
            machine.load_machine(self._world, droplet_machine(droplet_id)).start()

    def resize_droplet(self, spec: DropletSpec) -> None:
        """Give a machine that is off the limits of another plan."""
        with _explained():
            self._machine(spec).save()

    def destroy_droplet(self, droplet_id: int) -> None:
        """Remove the machine and its disk."""
        with _explained():
            machine.destroy(self._world, droplet_machine(droplet_id))

    def create_cluster(self, spec: ClusterSpec) -> None:
        """Create and start a cluster; return when it accepts connections and its standby nodes follow."""
        with _explained():
            self._clusters.create_cluster(spec)

    def resize_cluster(self, spec: ClusterSpec) -> None:
        """Restart a cluster with another plan's limits."""
        with _explained():
            self._clusters.resize_cluster(spec)

    def primary_answers(self, spec: ClusterSpec) -> bool:
        """Whether the primary of a cluster accepts connections."""
        with _explained():
            return self._clusters.primary_answers(spec)

    def standbys_follow(self, spec: ClusterSpec) -> bool:
        """Whether all standby nodes of a cluster receive what its primary writes."""
        with _explained():
            return self._clusters.standbys_follow(spec)

    def retire_primary(self, spec: ClusterSpec, *, planned: bool) -> int:
        """End the primary and return the number of the node to promote."""
        with _explained():
            return self._clusters.retire_primary(spec, planned=planned)

    def promote(self, spec: ClusterSpec) -> None:
        """Make the node that is primary from now on writable."""
        with _explained():
            self._clusters.promote(spec)

    def destroy_cluster(self, cluster_id: str) -> None:
        """Remove a cluster and its data."""
        with _explained():
            self._clusters.destroy_cluster(cluster_id)

    def endpoint(self, spec: ClusterSpec) -> Endpoint:
        """Host names and ports that the API must answer for this cluster."""
        return self._clusters.endpoint(spec)

    def cluster_ca(self, cluster_id: str) -> str:
        """Return the PEM certificate that signs the cluster's server certificate."""
        with _explained():
            return self._clusters.cluster_ca(cluster_id)

    def create_database(self, cluster_id: str, name: str) -> None:
        """Create a database owned by doadmin."""
        with _explained():
            self._clusters.create_database(cluster_id, name)

    def drop_database(self, cluster_id: str, name: str) -> None:
        """Drop a database, ending its connections."""
        with _explained():
            self._clusters.drop_database(cluster_id, name)

    def create_user(self, cluster_id: str, name: str, password: str) -> None:
        """Create a login role without privileges."""
        with _explained():
            self._clusters.create_user(cluster_id, name, password)

    def drop_user(self, cluster_id: str, name: str) -> None:
        """Drop a role; raises RealiserError with PostgreSQL's text when it owns objects."""
        with _explained():
            self._clusters.drop_user(cluster_id, name)

    def put_pools(self, cluster_id: str, pools: list[PoolSpec]) -> None:
        """Make the cluster's connection pools equal to this list."""
        with _explained():
            self._clusters.put_pools(cluster_id, pools)

    def obtain_certificate(self, names: list[str]) -> Pair:
        """Get a certificate for names of the account's zones, as Let's Encrypt gives them."""
        with _explained():
            return issuance.obtain(self._world, names)

    def put_spaces_key(self, region_slugs: list[str], access_key: str, secret_key: str, grants: list[Grant]) -> None:
        """Create or change a Spaces key."""
        with _explained():
            gateway.put_key(self._world, region_slugs, access_key, secret_key, grants)

    def delete_spaces_key(self, region_slugs: list[str], access_key: str) -> None:
        """Revoke a Spaces key; what it wrote stays."""
        with _explained():
            gateway.delete_key(self._world, region_slugs, access_key)

    def purge_cdn(self, endpoint_id: str, files: list[str]) -> None:
        """Forget what a CDN endpoint keeps of these paths."""
        with _explained():
            front.purge(self._world, endpoint_id, files)

    def _machine(self, spec: DropletSpec) -> Machine:
        return Machine(
            self._world,
            droplet_machine(spec.id),
            image=images.path_of(images.DROPLETS[spec.image]),
            public_ip=spec.public_ip,
            private_ip=spec.private_ip,
            vpc_range=spec.vpc_range,
            memory_mib=spec.memory_mib,
            vcpus=spec.vcpus,
        )


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Give the API one kind of error for everything that a part of the world may report."""
    try:
        yield
    except (WorldError, OSError, subprocess.SubprocessError) as error:
        raise RealiserError(str(error)) from error
