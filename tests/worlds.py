"""Worlds and the deployed site, each started once and shared by the tests that need it."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.model.store import Bodies, Store
from sandbox.world import world as worlds
from sandbox.world.world import World
from tests.api_client import Api, connect
from tests.commands import run
from tests.traces import traces


def start(depth: worlds.Depth, home: Path) -> World:
    """Start a world in an empty folder."""
    run("sandbox", "up", "--depth", depth, home=home)
    return worlds.load(home)


@pytest.fixture(scope="session")
def api_world() -> Iterator[World]:
    """A world of depth "api": the API and its rules, no machines, no root."""
    # Not pytest's tmp_path: the path of a UNIX socket may have 107 characters only.
    home = Path(tempfile.mkdtemp(prefix="world-"))
    yield start("api", home)
    run("sandbox", "down", home=home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def api(api_world: World) -> Iterator[Api]:
    """Its API, past Pulumi: ask and change what a stack has made."""
    with connect(api_world) as api:
        yield api


FULL_HOME = worlds.default_home("full").with_name("test")


@pytest.fixture(scope="session")
def full_machine() -> set[str]:
    """This machine's own settings, as they are without a world."""
    run("sandbox", "down", home=FULL_HOME, check=False)
    return traces(FULL_HOME)["settings"]


@pytest.fixture(scope="session")
def full_world(full_machine: set[str]) -> Iterator[World]:  # noqa: ARG001 - read before the world is there
    """A world of depth "full": machines, network and services. There is one on a machine at a time."""
    home = FULL_HOME
    yield start("full", home)
    run("sandbox", "down", home=home)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What `pulumi up` of the stack "local" made in the full world."""

    world: World
    outputs: dict[str, object]
    requests: Bodies  # the API's log of that `pulumi up`
    log: str  # what it printed

    @property
    def url(self) -> str:
        """The site's address, for example https://polls.example."""
        return str(self.outputs["url"])

    def exec(self, *argv: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command on the internet side of the world."""
        return run("sandbox", "exec", *argv, home=self.world.home, check=check, timeout=timeout)

    def stack(self, *argv: str, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a Pulumi command on the stack."""
        return run("scripts/stack", "local", *argv, home=self.world.home, check=check, timeout=timeout)


def last_request(world: World) -> int:
    """Number of the last line in the API's log, 0 for none."""
    return max((request["number"] for request in Store(world.database, read_only=True).requests()), default=0)


@pytest.fixture(scope="session")
def deployed(full_world: World) -> Deployment:
    """The polls app, deployed to the full world by the real engine."""
    mark = last_request(full_world)
    done = run("scripts/stack", "local", "up", "--yes", "--skip-preview", home=full_world.home)
    requests = Store(full_world.database, read_only=True).requests(mark)
    outputs = run("scripts/stack", "local", "stack", "output", "--json", "--show-secrets", home=full_world.home)
    return Deployment(
        world=full_world, outputs=json.loads(outputs.stdout), requests=requests, log=done.stdout + done.stderr
    )
