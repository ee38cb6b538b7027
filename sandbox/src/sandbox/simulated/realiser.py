"""The realiser of depth `api`: no machines; SQL goes to local servers and simulated nodes play the Droplets."""

import http.client
import logging
import shutil
import ssl
import sys
import tempfile
import threading
from pathlib import Path

from sandbox.model.plans import SPACES_REGIONS
from sandbox.model.realiser import ClusterSpec, DropletSpec, Endpoint, Grant, PoolSpec, RealiserError
from sandbox.model.store import Store
from sandbox.model.topology import Topology
from sandbox.parts.databases.local_postgres import LocalPostgres
from sandbox.world import certificates, pem, ports
from sandbox.world.pem import Pair
from sandbox.world.supervisor import Program, Supervisor
from sandbox.world.waiting import until
from sandbox.world.world import API_HOST, SPACES_DOMAIN, World

logger = logging.getLogger("sandbox.simulated")

_WEB_PORTS = (80, 443)
_DEADLINE = 30.0  # seconds for API and Spaces to answer


def start(world: World, supervisor: Supervisor) -> None:
    """Start the processes of a world at depth `api` and wait until API and Spaces answer; supervisord runs already."""
    certificates.ensure_ca(world)
    certificates.write_bundle(world)
    Store(world.database).close()  # so that readers find a file
    for name, module in (("spaces", "parts.spaces.local"), ("api", "api.server"), ("proxy", "client.proxy")):
        command = [sys.executable, "-m", f"sandbox.{module}"]
        supervisor.put(Program(name=name, command=[*command, "--home", str(world.home)], stop_wait=8, priority=200))
    _wait(world, "api", API_HOST)
    _wait(world, "spaces", f"{SPACES_REGIONS[0]}.{SPACES_DOMAIN}")


def _wait(world: World, name: str, host: str) -> None:
    context = ssl.create_default_context(cafile=str(world.ca / "ca.crt"))
    late = f"{host} does not answer after {_DEADLINE:.0f} s"
    log = world.logs / f"{name}.log"
    until(
        lambda: _unanswered(world, host, context), _DEADLINE, lambda last: RealiserError(f"{late}: {last}; see {log}")
    )


def _unanswered(world: World, host: str, context: ssl.SSLContext) -> str | None:
    """Return why a host gives no answer, whatever it says: asked through the proxy, as clients ask."""
    connection = http.client.HTTPSConnection("127.0.0.1", world.proxy_port, context=context, timeout=5)
    connection.set_tunnel(host, 443)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        return str(error)
    finally:
        connection.close()
    return None


class SimulatedRealiser:
    """See sandbox.model.realiser.Realiser; what is simulated says so in the log."""

    def __init__(self, world: World, supervisor: Supervisor) -> None:
        self._world = world
        self._supervisor = supervisor
        self._postgres = LocalPostgres(world, supervisor)
        self._balancers: set[str] = set()  # that are played
        self._lock = threading.Lock()  # supervisord's configuration is changed by one thread at a time

    def start(self, droplets: list[DropletSpec], clusters: list[ClusterSpec]) -> None:
        """Bring up again what the store says exists."""
        for cluster in clusters:
            self._postgres.start(cluster)
        for droplet in droplets:
            self.create_droplet(droplet)

    def apply(self, topology: Topology) -> None:
        """Play the load balancers; names and addresses are the proxy's business, which reads the store itself."""
        wanted = {balancer.id for balancer in topology.load_balancers}
        with self._lock:
            for gone in self._balancers - wanted:
                self._supervisor.remove(_balancer(gone))
                for port in _WEB_PORTS:
                    ports.release(self._world, f"balancer-{gone}-{port}")
            for new in wanted - self._balancers:
                command = [sys.executable, "-m", "sandbox.simulated.balancer", "--home", str(self._world.home)]
                self._supervisor.put(Program(name=_balancer(new), command=[*command, "--balancer", new]))
            self._balancers = wanted

    def create_droplet(self, spec: DropletSpec) -> None:
        """Start the simulated node that plays this Droplet."""
        logger.info("droplet %d (%s) is played by a simulated node: no machine runs", spec.id, spec.name)
        command = [sys.executable, "-m", "sandbox.simulated.node", "--home", str(self._world.home)]
        with self._lock:
            self._supervisor.put(Program(name=_node(spec.id), command=[*command, "--droplet", str(spec.id)]))

    def power_off_droplet(self, droplet_id: int) -> None:
        """Stop the node."""
        with self._lock:
            self._supervisor.halt(_node(droplet_id))

    def power_on_droplet(self, droplet_id: int) -> None:
        """Start the node again."""
        with self._lock:
            self._supervisor.restart(_node(droplet_id))

    def resize_droplet(self, spec: DropletSpec) -> None:
        """Say that a simulated node has no limits to change."""
        logger.info("droplet %d is simulated: %s changes nothing but the API's answers", spec.id, spec.size)

    def destroy_droplet(self, droplet_id: int) -> None:
        """Remove the node."""
        with self._lock:
            self._supervisor.remove(_node(droplet_id))
        folder = self._world.run / _node(droplet_id)
        if folder.exists():
            shutil.rmtree(folder)
        for scheme in ("http", "https"):
            ports.release(self._world, f"{_node(droplet_id)}-{scheme}")

    def create_cluster(self, spec: ClusterSpec) -> None:
        """Create and start the local server of a cluster."""
        with self._lock:
            self._postgres.create(spec)

    def resize_cluster(self, spec: ClusterSpec) -> None:
        """Restart the local server with the plan's connections."""
        with self._lock:
            self._postgres.resize(spec)

    def primary_answers(self, spec: ClusterSpec) -> bool:
        """Say that it does: nothing fails over at this depth, supervisord starts the one server again."""
        logger.debug("cluster %s has one server", spec.id)
        return True

    def standbys_follow(self, spec: ClusterSpec) -> bool:
        """Say that they do: standby nodes are in the API's answers only."""
        logger.debug("cluster %s has one server", spec.id)
        return True

    def retire_primary(self, spec: ClusterSpec, *, planned: bool) -> int:
        """Refuse: there is no other node."""
        raise RealiserError(f'cluster {spec.name}: has one server at depth "api" (planned: {planned})')

    def promote(self, spec: ClusterSpec) -> None:
        """Do nothing: the one server is writable."""
        logger.debug("cluster %s has one server", spec.id)

    def destroy_cluster(self, cluster_id: str) -> None:
        """Remove the local server and its data."""
        with self._lock:
            self._postgres.destroy(cluster_id)

    def endpoint(self, spec: ClusterSpec) -> Endpoint:
        """Return this machine's port, for direct connections, pools and standby nodes alike."""
        port = self._postgres.port(spec.id)
        return Endpoint(
            host="localhost",
            private_host="localhost",
            standby_host="localhost",
            standby_private_host="localhost",
            port=port,
            pool_port=port,
        )

    def cluster_ca(self, cluster_id: str) -> str:
        """Return the world's authority, which signs all local servers' certificates."""
        logger.debug("authority of cluster %s", cluster_id)
        return (self._world.ca / "ca.crt").read_text()

    def create_database(self, cluster_id: str, name: str) -> None:
        """Create a database owned by doadmin."""
        self._postgres.create_database(cluster_id, name)

    def drop_database(self, cluster_id: str, name: str) -> None:
        """Drop a database, ending its connections."""
        self._postgres.drop_database(cluster_id, name)

    def create_user(self, cluster_id: str, name: str, password: str) -> None:
        """Create a login role without privileges."""
        self._postgres.create_user(cluster_id, name, password)

    def drop_user(self, cluster_id: str, name: str) -> None:
        """Drop a role."""
        self._postgres.drop_user(cluster_id, name)

    def put_pools(self, cluster_id: str, pools: list[PoolSpec]) -> None:
        """Say that there is no pooler at this depth: the API checks and remembers pools, nobody serves them."""
        logger.info("cluster %s: pools are not served at depth api: %s", cluster_id, pools)

    def obtain_certificate(self, names: list[str]) -> Pair:
        """Issue one by the world's own authority: no ACME server is there to prove anything to."""
        logger.info("a certificate for %s comes from the world's own authority: nothing was proved", ", ".join(names))
        with tempfile.TemporaryDirectory(dir=self._world.run) as folder:
            crt, key = certificates.issue(self._world, names, Path(folder) / "issued")
            return pem.read(crt.read_text(), key.read_text())

    def put_spaces_key(self, region_slugs: list[str], access_key: str, secret_key: str, grants: list[Grant]) -> None:
        """Do nothing: local Spaces read keys from the store at each request."""
        logger.debug("key %s (%d) in %s: %s", access_key, len(secret_key), region_slugs, grants)

    def delete_spaces_key(self, region_slugs: list[str], access_key: str) -> None:
        """Do nothing: a key that isn't in the store is refused."""
        logger.debug("key %s in %s", access_key, region_slugs)

    def purge_cdn(self, endpoint_id: str, files: list[str]) -> None:
        """Do nothing: no CDN keeps anything at depth api."""
        logger.info("CDN endpoint %s: nothing is kept at depth api: %s", endpoint_id, files)


def _balancer(balancer_id: str) -> str:
    return f"simulated-balancer-{balancer_id}"


def _node(droplet_id: int) -> str:
    return f"node-{droplet_id}"
