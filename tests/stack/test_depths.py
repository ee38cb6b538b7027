"""Depth "api" is the same DigitalOcean as depth "full": the program asks both for the same things."""

import re

import pytest

from sandbox.model.store import Bodies, Store
from sandbox.world.world import World
from tests.commands import run
from tests.pulumi_stack import PulumiStack
from tests.worlds import Deployment, last_request

pytestmark = pytest.mark.full

# What differs between any two runs: ids, random suffixes, keys, addresses of hosts.
VARIABLE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|DO[0-9A-Z]{18,}|(?<=-)[0-9a-f]{7}\b|\d{9,}|\d+(\.\d+){3}"
)


def changes(requests: Bodies) -> list[str]:
    """What was asked to be made or changed, and the answer; waiting asks as often as it takes."""
    return sorted(
        f"{request['method']} {VARIABLE.sub('…', request['path'])} {request['status']}"
        for request in requests
        if request["method"] != "GET"
    )


def test_the_program_asks_both_depths_for_the_same(deployed: Deployment, api_world: World) -> None:
    """The calls that change something, and their answers, are the same for `pulumi up` at both depths."""
    mark = last_request(api_world)
    run("scripts/stack", "local", "up", "--yes", "--skip-preview", home=api_world.home)
    at_api = changes(Store(api_world.database, read_only=True).requests(mark))
    PulumiStack(api_world).forget()

    assert at_api == changes(deployed.requests)
    assert "POST /v2/droplets 202" in at_api
