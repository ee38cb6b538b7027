"""The API of the world of depth "api", past Pulumi."""

from collections.abc import Iterator

import pytest

from sandbox.world import World
from tests.sandbox.api_client import Api, connect


@pytest.fixture(scope="module")
def api(api_world: World) -> Iterator[Api]:
    """Ask and change what a stack has made."""
    with connect(api_world) as api:
        yield api
