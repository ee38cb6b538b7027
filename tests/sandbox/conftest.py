"""A world of depth `api` as its real clients see it."""

import ssl
from collections.abc import Iterator

import httpx
import pytest

from sandbox.world import World
from tests.sandbox.api_client import Api


@pytest.fixture
def api(api_world: World) -> Iterator[Api]:
    """The API by pydo and by plain HTTP, through the world's proxy; what a test leaves behind is deleted."""
    context = ssl.create_default_context(cafile=api_world.bundle)
    with httpx.Client(
        base_url="https://api.digitalocean.com",
        proxy=f"http://127.0.0.1:{api_world.proxy_port}",
        verify=context,
        headers={"Authorization": f"Bearer {api_world.token}"},
        timeout=30,
    ) as raw:
        api = Api(api_world, raw)
        yield api
        api.delete_everything()
