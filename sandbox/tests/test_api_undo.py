"""A call that fails leaves the account as it was, so that a repeated call meets what the first one met."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sandbox.api.server import create_app
from sandbox.model.realiser import ClusterSpec, DropletSpec, RealiserError
from sandbox.model.store import Store
from sandbox.model.topology import Topology
from sandbox.simulated.realiser import SimulatedRealiser
from sandbox.world import world as worlds
from sandbox.world.supervisor import Supervisor
from tests.api_client import CLUSTER, DROPLET, until


class Broken(SimulatedRealiser):
    """A realiser of whose parts one is out of order."""

    broken = True

    def apply(self, topology: Topology) -> None:
        """Fail, as nginx or nftables would."""
        if self.broken:
            raise RealiserError("out of order")
        super().apply(topology)

    def create_droplet(self, spec: DropletSpec) -> None:
        """Succeed at once."""

    def create_cluster(self, spec: ClusterSpec) -> None:
        """Succeed at once."""

    def destroy_droplet(self, droplet_id: int) -> None:
        """Fail, while a part is out of order."""
        if self.broken:
            raise RealiserError(f"{droplet_id}: out of order")

    def resize_cluster(self, spec: ClusterSpec) -> None:
        """Fail."""
        raise RealiserError(f"{spec.name}: out of order")


class Server:
    """The API in this process, one call after the other."""

    def __init__(self, home: Path) -> None:
        self.world = worlds.create(home, "api", proxy_port=1)
        self.store = Store(self.world.database)
        self.realiser = Broken(self.world, Supervisor(self.world))
        self._app = create_app(self.world, self.store, self.realiser)
        self._loop = asyncio.new_event_loop()

    def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Make one call."""
        return self._loop.run_until_complete(self._call(method, path, body))

    async def _call(self, method: str, path: str, body: object) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        headers = {"Authorization": f"Bearer {self.world.token}"}
        async with httpx.AsyncClient(transport=transport, base_url="https://api", headers=headers) as client:
            return await client.request(method, path, json=body)

    def close(self) -> None:
        """End everything."""
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self.store.close()


@pytest.fixture
def server() -> Iterator[Server]:
    """An API whose network is out of order."""
    with tempfile.TemporaryDirectory(prefix="undo-") as home:
        started = Server(Path(home))
        yield started
        started.close()


def test_a_failed_creation_leaves_nothing(server: Server) -> None:
    """The name is free for the next attempt, which succeeds once the part works again."""
    firewall = {"name": "web", "inbound_rules": [{"protocol": "icmp", "sources": {"addresses": ["0.0.0.0/0"]}}]}
    failed = server.call("POST", "/v2/firewalls", firewall)
    assert (failed.status_code, failed.json()["message"]) == (500, "out of order")
    assert server.store.all() == []
    server.realiser.broken = False
    assert server.call("POST", "/v2/firewalls", firewall).status_code == 202


def test_a_failed_change_or_deletion_changes_nothing(server: Server) -> None:
    """What existed is there as before, with its private half."""
    server.realiser.broken = False
    cdn = {"origin": "assets.nyc3.digitaloceanspaces.com", "ttl": 3600}
    endpoint = server.call("POST", "/v2/cdn/endpoints", cdn).json()["endpoint"]
    before = server.store.get("cdn_endpoint", endpoint["id"])
    server.realiser.broken = True
    assert server.call("PUT", f"/v2/cdn/endpoints/{endpoint['id']}", {"ttl": 60}).status_code == 500
    assert server.store.get("cdn_endpoint", endpoint["id"]) == before
    assert server.call("DELETE", f"/v2/cdn/endpoints/{endpoint['id']}").status_code == 500
    assert server.store.get("cdn_endpoint", endpoint["id"]) == before


def test_a_failed_resize_is_said(server: Server) -> None:
    """A client that waits for the cluster learns why it will not come, instead of waiting for ever."""
    server.realiser.broken = False
    created = server.call("POST", "/v2/databases", CLUSTER).json()["database"]
    path = f"/v2/databases/{created['id']}"
    until(lambda: server.call("GET", path).json()["database"]["status"], lambda status: status == "online")
    assert server.call("PUT", f"{path}/resize", {"size": "db-s-2vcpu-4gb", "num_nodes": 1}).status_code == 202
    answer = until(lambda: server.call("GET", path), lambda answer: answer.status_code == 500)
    assert "main: out of order" in answer.json()["message"]


def test_a_droplet_that_could_not_be_destroyed_is_tried_again(server: Server) -> None:
    """The status says that it failed, and the second attempt is told from the first."""
    server.realiser.broken = False
    droplet = server.call("POST", "/v2/droplets", DROPLET).json()["droplet"]["id"]
    path = f"/v2/droplets/{droplet}"
    until(lambda: server.call("GET", path).json()["droplet"]["status"], lambda status: status == "active")
    server.realiser.broken = True
    path = f"{path}/destroy_with_associated_resources"
    assert server.call("DELETE", f"{path}/selective", {}).status_code == 202
    status = until(lambda: server.call("GET", f"{path}/status").json(), lambda found: bool(found["completed_at"]))
    assert (status["failures"], status["droplet"]["destroyed_at"]) == (1, None)
    assert "could not be destroyed" in status["droplet"]["error_message"]
    server.realiser.broken = False
    assert server.call("POST", f"{path}/retry").status_code == 202
    until(lambda: server.call("GET", f"/v2/droplets/{droplet}").status_code, lambda code: code == 404)
    assert server.call("GET", f"{path}/status").json()["failures"] == 0
