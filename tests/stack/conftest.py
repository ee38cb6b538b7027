"""Worlds of depth "api", and their API, past Pulumi."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.world.world import World
from tests.api_client import Api, connect
from tests.commands import run
from tests.worlds import start


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A world of depth "api" of a module's own: for stacks or resources that would be in the way of other tests."""
    home = Path(tempfile.mkdtemp(prefix="world-"))  # a short path: UNIX sockets are in it
    yield start("api", home)
    run("sandbox", "down", home=home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def api(api_world: World) -> Iterator[Api]:
    """Ask and change what a stack has made."""
    with connect(api_world) as api:
        yield api
