"""The API goes on where it was when its process was killed."""

import os
import shutil
import signal
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sandbox.world import world as worlds
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import World
from tests.api_client import CLUSTER, DROPLET, Api, until
from tests.commands import run


@pytest.fixture
def own() -> Iterator[Api]:
    """A world of its own: killing processes and default VPCs must not disturb other tests."""
    home = Path(tempfile.mkdtemp(prefix="world-"))
    run("sandbox", "up", "--depth", "api", home=home)
    world = worlds.load(home)
    with httpx.Client(
        base_url="https://api.digitalocean.com",
        proxy=f"http://127.0.0.1:{world.proxy_port}",
        verify=ssl.create_default_context(cafile=world.bundle),
        headers={"Authorization": f"Bearer {world.token}"},
    ) as raw:
        yield Api(world, raw)
    run("sandbox", "down", home=home)
    shutil.rmtree(home, ignore_errors=True)


def kill(world: World, name: str) -> None:
    """Kill a process of the world the hard way."""
    pid = next(process.pid for process in Supervisor(world).status() if process.name == name)
    os.kill(pid, signal.SIGKILL)


def answers(api: Api) -> bool:
    """Whether the API answers."""
    try:
        return api.raw.get("/v2/account").is_success
    except httpx.TransportError:
        return False


def test_unfinished_creations_are_finished(own: Api) -> None:
    """After kill -9, what was being made is made, and what existed is as it was; without a VPC the default one is."""
    own.switch(old_clusters=True)
    own.fault(kind="slow", of="database", seconds=600)
    own.fault(kind="slow", of="droplet", seconds=600)
    cluster = own.client.databases.create_cluster(CLUSTER)["database"]
    droplet = own.client.droplets.create(DROPLET)["droplet"]
    assert [vpc["name"] for vpc in own.client.vpcs.list()["vpcs"]] == ["default-nyc3"]

    kill(own.world, "api")
    until(lambda: answers(own), lambda up: up)

    until(lambda: own.client.databases.get_cluster(cluster["id"])["database"]["status"], lambda s: s == "online")
    until(lambda: own.client.droplets.get(droplet["id"])["droplet"]["status"], lambda s: s == "active")
    after = own.client.databases.get_cluster(cluster["id"])["database"]
    assert after["connection"] == cluster["connection"]
    assert own.raw.get("/_sandbox/switches").json()["old_clusters"] is True


def test_default_vpc_stays(own: Api) -> None:
    """A region's default VPC can't be deleted."""
    own.client.droplets.create(DROPLET)
    vpc = own.client.vpcs.list()["vpcs"][0]
    refused = own.raw.delete(f"/v2/vpcs/{vpc['id']}")
    assert (refused.status_code, refused.json()["message"]) == (403, "Can not delete default VPCs")
