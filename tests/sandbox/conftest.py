"""A world of depth `api` as its real clients see it."""

from collections.abc import Iterator

import pytest

from sandbox.world import World
from tests.sandbox.api_client import Api, connect


@pytest.fixture
def api(api_world: World) -> Iterator[Api]:
    """The API by pydo and by plain HTTP, through the world's proxy; what a test leaves behind is deleted."""
    with connect(api_world) as api:
        yield api
        api.delete_everything()
