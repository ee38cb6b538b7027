"""A world of depth `api` as its real clients see it."""

from collections.abc import Iterator

import pytest

from sandbox.world.world import World
from tests.api_client import Api, connect


@pytest.fixture(scope="session")
def connected(api_world: World) -> Iterator[Api]:
    """The API by pydo and by plain HTTP, through the world's proxy: making its clients takes longer than most tests."""
    with connect(api_world) as api:
        yield api


@pytest.fixture
def api(connected: Api) -> Iterator[Api]:
    """The same; what a test leaves behind is deleted."""
    yield connected
    connected.delete_everything()
