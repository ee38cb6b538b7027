"""Worlds of depth "api"."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.world.world import World
from tests.commands import run
from tests.worlds import start


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A world of depth "api" of a module's own: for stacks or resources that would be in the way of other tests."""
    home = Path(tempfile.mkdtemp(prefix="world-"))  # a short path: UNIX sockets are in it
    yield start("api", home)
    run("sandbox", "down", home=home)
    shutil.rmtree(home, ignore_errors=True)
