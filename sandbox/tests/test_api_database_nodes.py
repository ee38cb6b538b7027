"""What the API does about the nodes of a cluster, with machines that only note what is asked of them."""

import asyncio
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.api.calls import Cloud
from sandbox.api.errors import ApiError
from sandbox.api.products import database_nodes, databases
from sandbox.model.realiser import ClusterSpec, RealiserError
from sandbox.model.store import Store
from sandbox.model.topology import Topology
from sandbox.model.topology_of import cluster_nodes
from sandbox.simulated.realiser import SimulatedRealiser
from sandbox.world import world as worlds
from sandbox.world.supervisor import Supervisor

ID = "12345678-0000-0000-0000-000000000000"
CHANGE = ["retire 1", "promote 2", "names lead to 2", "nodes of 2"]


class Noting(SimulatedRealiser):
    """A realiser that notes what is asked of it; its primary may be silent and its promotion fail."""

    silent = 0  # looks that find no primary
    broken = False

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on
        super().__init__(*arguments)
        self.noted: list[str] = []
        self.looked = threading.Event()

    def primary_answers(self, spec: ClusterSpec) -> bool:
        """Be silent for a while."""
        self.silent -= 1
        if self.silent < -1:  # looks come one after the other: what the last silent one led to is done
            self.looked.set()
        return self.silent < 0 or spec.primary != 1

    def retire_primary(self, spec: ClusterSpec, *, planned: bool) -> int:
        """Have a second node."""
        self.noted.append(f"retire {spec.primary}{' in order' if planned else ''}")
        return 2

    def promote(self, spec: ClusterSpec) -> None:
        """Fail, where it shall."""
        if self.broken:
            raise RealiserError("out of order")
        self.noted.append(f"promote {spec.primary}")

    def apply(self, topology: Topology) -> None:
        """Note where names lead to."""
        self.noted.append(f"names lead to {topology.clusters[0].primary}")

    def create_cluster(self, spec: ClusterSpec) -> None:
        """Note whose nodes are made."""
        self.noted.append(f"nodes of {spec.primary}")


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """A world of depth full that has no machine, and a cluster of two nodes in its store."""
    with tempfile.TemporaryDirectory(prefix="nodes-") as home:
        world = worlds.create(Path(home), "full", proxy_port=1)
        store = Store(world.database)
        store.put("vpc", "v", {"region": "nyc3", "ip_range": "10.10.0.0/20"})
        body = {"name": "db", "engine": "pg", "version": "17", "size": "db-s-1vcpu-2gb", "num_nodes": 2}
        first = {"public_ip": "198.51.100.100", "private_ip": "10.10.0.10"}
        private = first | {"host": "db", "private_host": "private-db", "password": "p", "rules": []}
        store.put("database", ID, body | {"status": "online", "private_network_uuid": "v"}, private)
        database_nodes.address(store, ID)
        yield Cloud(world, store, Noting(world, Supervisor(world)))
        store.close()


def noted(cloud: Cloud) -> list[str]:
    """What was asked of the realiser."""
    assert isinstance(cloud.realiser, Noting)
    return cloud.realiser.noted


def call(work: Coroutine[Any, Any, object]) -> object:
    """Run one piece of the API's work."""
    return asyncio.run(work)


def test_nodes_have_addresses_of_their_own(cloud: Cloud) -> None:
    """A standby gets the next free ones, keeps them when others come, and nobody else gets them."""
    second = cluster_nodes(cloud.find("database", ID))[1]
    assert (second.number, second.public_ip, second.private_ip) == (2, "198.51.100.101", "10.10.0.11")
    cluster = cloud.find("database", ID)
    cloud.store.put("database", ID, cluster.body | {"num_nodes": 3})
    database_nodes.address(cloud.store, ID)
    nodes = cluster_nodes(cloud.find("database", ID))
    assert nodes[1] == second
    assert [node.public_ip for node in nodes] == ["198.51.100.100", "198.51.100.101", "198.51.100.102"]


def test_a_change_of_the_primary_has_its_order(cloud: Cloud) -> None:
    """The old one ends before another is promoted, names lead there then, and it is an event."""
    assert call(database_nodes.switch_over(cloud, ID)) == 2
    assert noted(cloud) == ["retire 1 in order", *CHANGE[1:]]
    assert cloud.find("database", ID).private["events"][-1]["event_type"] == "cluster_master_promotion"


def test_who_is_primary_is_written_down_first(cloud: Cloud) -> None:
    """A promotion that fails, or an API that ends meanwhile, never brings the old primary back as one."""
    assert isinstance(cloud.realiser, Noting)
    cloud.realiser.broken = True
    with pytest.raises(ApiError, match="out of order"):
        call(database_nodes.switch_over(cloud, ID))
    assert [spec.primary for spec in databases.existing(cloud.store)] == [2]


@pytest.mark.parametrize(("silent", "expected"), [(2, []), (3, CHANGE)])
def test_a_primary_is_given_up_after_three_looks(
    cloud: Cloud, silent: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before: a server that restarts is back by then."""
    monkeypatch.setattr(database_nodes, "_PERIOD", 0.001)
    assert isinstance(cloud.realiser, Noting)
    cloud.realiser.silent = silent
    looks = cloud.realiser

    async def watched() -> None:
        cloud.spawn(database_nodes.watch(cloud))
        assert await asyncio.to_thread(looks.looked.wait, 10)
        await cloud.stop()

    call(watched())
    assert noted(cloud) == expected


def test_one_node_has_nobody_to_take_over(cloud: Cloud) -> None:
    """Nothing is ended then."""
    cluster = cloud.find("database", ID)
    cloud.store.put("database", ID, cluster.body | {"num_nodes": 1})
    with pytest.raises(ApiError, match="have a standby node"):
        call(database_nodes.switch_over(cloud, ID))
    assert noted(cloud) == []
