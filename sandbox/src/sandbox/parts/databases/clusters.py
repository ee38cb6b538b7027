"""Managed PostgreSQL: clusters of one to three nodes, of which one is the primary and the others follow it."""

import dataclasses
import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from psycopg import sql

from sandbox.machines import images
from sandbox.machines import machine as machines
from sandbox.machines.machine import Machine, MachineError
from sandbox.model.realiser import ClusterSpec, Endpoint, PoolSpec, RealiserError
from sandbox.model.topology import Node as Addresses
from sandbox.model.topology import standby_name
from sandbox.network import inside, namespaces
from sandbox.network.packet_filter import cluster_machine
from sandbox.parts.databases import replication
from sandbox.parts.databases.node import POOL_PORT, PORT, Node, authority_of, pools_file, write_private
from sandbox.world import certificates
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import World

logger = logging.getLogger("sandbox.clusters")


def versions(world: World) -> set[str]:
    """Major versions of PostgreSQL of the clusters that a world has."""
    return {json.loads(path.read_text())["version"] for path in (world.home / "clusters").glob("*/spec.json")}


class Clusters:
    """All database clusters of a world. Methods block; they are called from several threads."""

    def __init__(self, world: World, supervisor: Supervisor) -> None:
        self._world = world
        self._supervisor = supervisor

    def start(self, clusters: list[ClusterSpec]) -> None:
        """Bring up again the clusters that exist, side by side."""
        with ThreadPoolExecutor(max_workers=max(1, len(clusters))) as threads:
            list(threads.map(self.create_cluster, clusters))

    def create_cluster(self, spec: ClusterSpec) -> None:
        """Create and start a cluster; return when both ports accept connections and its standby nodes follow.

        What is done already is kept, what is out of order is made anew. The first one of a version that `sandbox up`
        has built no image for takes the minutes that building it takes.
        """
        if spec.version not in images.POSTGRES:
            raise RealiserError(
                f'database.version: must be one of {", ".join(images.POSTGRES)} at depth "full", got "{spec.version}"'
            )
        images.ensure(images.POSTGRES[spec.version], logger.info, namespaces.outside(self._supervisor.pid()))
        self._keep(spec)
        primary, *standbys = self._nodes(spec)
        try:
            primary.start()
            replication.promote(primary)
            if standbys:
                primary.let_follow()
            with ThreadPoolExecutor(max_workers=max(1, len(standbys))) as threads:
                list(threads.map(lambda standby: replication.join(standby, primary), standbys))
        except MachineError as error:
            raise RealiserError(f"database cluster {spec.name}: {error}") from error

    def resize_cluster(self, spec: ClusterSpec) -> None:
        """Restart a cluster's nodes with another plan's limits; connections are lost, data is kept."""
        self._keep(spec)
        # The primary last: a standby stops when it has room for fewer connections than its primary.
        for node in reversed(self._nodes(spec)):
            if node.number == spec.primary or node.follows():
                node.resize()
        self.create_cluster(spec)

    def destroy_cluster(self, cluster_id: str) -> None:
        """Remove a cluster and its data; one that doesn't exist is not an error."""
        for name in machines.names(self._world):
            if name.split("-")[0] == cluster_machine(cluster_id):
                machines.destroy(self._world, name)
        if self._folder(cluster_id).exists():
            shutil.rmtree(self._folder(cluster_id))

    def endpoint(self, spec: ClusterSpec) -> Endpoint:
        """Host names and ports of a cluster."""
        return Endpoint(
            host=spec.host,
            private_host=spec.private_host,
            standby_host=standby_name(spec.host),
            standby_private_host=standby_name(spec.private_host),
            port=PORT,
            pool_port=POOL_PORT,
        )

    def cluster_ca(self, cluster_id: str) -> str:
        """Return the PEM certificate that signs the cluster's own."""
        authority = authority_of(self._world, self._spec(cluster_id))
        certificates.ensure_ca(authority)
        return (authority.ca / "ca.crt").read_text()

    def primary_answers(self, spec: ClusterSpec) -> bool:
        """Whether the primary's PostgreSQL accepts connections."""
        [address] = [node.public_ip for node in spec.nodes if node.number == spec.primary]
        return inside.listens(namespaces.ROUTER, address, PORT)

    def standbys_follow(self, spec: ClusterSpec) -> bool:
        """Whether all standby nodes receive what the primary writes."""
        return replication.all_follow(*self._nodes(spec))

    def retire_primary(self, spec: ClusterSpec, *, planned: bool) -> int:
        """End the primary, so that it can't serve any more, and return the number of the node to promote."""
        primary, *standbys = self._nodes(spec)
        return replication.retire(primary, standbys, planned=planned)

    def promote(self, spec: ClusterSpec) -> None:
        """Make the node that is primary from now on writable."""
        self._keep(spec)
        replication.promote(self._nodes(spec)[0])

    def create_database(self, cluster_id: str, name: str) -> None:
        """Create a database owned by doadmin, unless it exists."""
        # CREATE DATABASE has no IF NOT EXISTS and must stand alone, so psql runs what a query answers.
        statement = sql.SQL(
            "SELECT format('CREATE DATABASE %I OWNER doadmin', {name}) "
            "WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = {name})"
        ).format(name=sql.Literal(name))
        self._primary(cluster_id).sql(statement.as_string() + "\\gexec\n")

    def drop_database(self, cluster_id: str, name: str) -> None:
        """Drop a database, ending its connections."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE);").format(sql.Identifier(name))
        self._primary(cluster_id).sql(statement.as_string())

    def create_user(self, cluster_id: str, name: str, password: str) -> None:
        """Create a login role without privileges, or give an existing one this password."""
        exists = sql.SQL("SELECT format({create}, {name}, {password}) {where} EXISTS ({role})\\gexec\n")
        role = sql.SQL("SELECT FROM pg_roles WHERE rolname = {}").format(sql.Literal(name))
        statements = [
            exists.format(
                create=sql.Literal(f"{verb} ROLE %I LOGIN PASSWORD %L"),
                name=sql.Literal(name),
                password=sql.Literal(password),
                where=sql.SQL(where),
                role=role,
            )
            # The existing one first: made the other way round, both would happen to a new role.
            for verb, where in (("ALTER", "WHERE"), ("CREATE", "WHERE NOT"))
        ]
        self._primary(cluster_id).sql("".join(statement.as_string() for statement in statements))

    def drop_user(self, cluster_id: str, name: str) -> None:
        """Drop a role; raises RealiserError with PostgreSQL's text when it owns objects."""
        self._primary(cluster_id).sql(sql.SQL("DROP ROLE IF EXISTS {};").format(sql.Identifier(name)).as_string())

    def put_pools(self, cluster_id: str, pools: list[PoolSpec]) -> None:
        """Make the cluster's pools equal to this list, on each node; unchanged ones keep their connections."""
        text = pools_file(pools)
        primary, *standbys = self._nodes(self._spec(cluster_id))
        primary.put_pools(text)
        for standby in standbys:
            if standby.machine.running():  # one that is off gets them when it joins
                standby.put_pools(text)

    def show(self, cluster_id: str, what: str) -> list[dict[str, str]]:
        """Answer PgBouncer's SHOW, for example "POOLS", one dictionary per row."""
        return self._primary(cluster_id).show(what)

    def machine(self, cluster_id: str, number: int | None = None) -> Machine:
        """Return the machine of a node of a cluster, that of its primary if none is named."""
        spec = self._spec(cluster_id)
        return Node(self._world, spec, number or spec.primary).machine

    def states(self, cluster_id: str) -> dict[int, str]:
        """Say of each node what it does, for `sandbox status`."""
        return replication.states(*self._nodes(self._spec(cluster_id)))

    def _primary(self, cluster_id: str) -> Node:
        return self._nodes(self._spec(cluster_id))[0]

    def _nodes(self, spec: ClusterSpec) -> list[Node]:
        """Return the nodes of a cluster, the primary first."""
        numbers = sorted((one.number for one in spec.nodes), key=lambda number: (number != spec.primary, number))
        return [Node(self._world, spec, number) for number in numbers]

    def _spec(self, cluster_id: str) -> ClusterSpec:
        path = self._folder(cluster_id) / "spec.json"
        if not path.exists():
            raise RealiserError(f"database cluster {cluster_id}: not in this world")
        kept = json.loads(path.read_text())
        return ClusterSpec(**kept | {"nodes": tuple(Addresses(**one) for one in kept["nodes"])})

    def _keep(self, spec: ClusterSpec) -> None:
        """Remember a specification, so that a cluster is found by its id alone."""
        self._folder(spec.id).mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._folder(spec.id) / "spec.json", json.dumps(dataclasses.asdict(spec), indent=1))

    def _folder(self, cluster_id: str) -> Path:
        return self._world.home / "clusters" / cluster_id
