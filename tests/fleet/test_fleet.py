"""Several Droplets behind a load balancer: what visitors lose while the site changes, or loses one of them."""

import os
import signal
import time

import pytest

from sandbox.machines import machine
from sandbox.machines.machine import Machine
from tests.fleet.traffic import traffic
from tests.pulumi_stack import PulumiStack, Settings
from tests.worlds import Deployment

pytestmark = pytest.mark.full

BALANCED: Settings = {"web.loadBalancer": True}


class Fleet:
    """The stack "local", whose settings are changed one after the other."""

    def __init__(self, deployed: Deployment) -> None:
        self.world = deployed.world
        self.stack = PulumiStack(deployed.world)
        self.settings: dict[str, object] = {}

    def up(self, settings: Settings) -> None:
        """Change settings and deploy."""
        self.settings |= settings
        self.stack.up(settings=self.settings)

    def machines(self) -> list[Machine]:
        """The machines of the Droplets that the stack has."""
        ids = self.stack.outputs()["droplet_ids"]
        return [machine.load_machine(self.world, f"d{one}") for one in ids]


@pytest.fixture(scope="module")
def fleet(deployed: Deployment) -> Fleet:
    """The deployed site."""
    return Fleet(deployed)


def test_one_droplet_moves_behind_a_load_balancer(fleet: Fleet) -> None:
    """Both ways serve until the record of before has run out."""
    with traffic(fleet.world) as seen:
        fleet.up(BALANCED)
    assert not seen.lost, str(seen)
    assert seen.votes == seen.counted, str(seen)


def test_a_second_droplet_joins(fleet: Fleet) -> None:
    """It gets visitors once it serves."""
    with traffic(fleet.world) as seen:
        fleet.up({"web.count": 2})
    assert not seen.lost, str(seen)
    assert seen.votes == seen.counted, str(seen)


def test_a_release_and_its_rollback(fleet: Fleet) -> None:
    """One Droplet after the other, each behind its socket."""
    first = fleet.stack.outputs()["release"]
    with traffic(fleet.world) as seen:
        began = time.monotonic()
        fleet.up({"app.env.MARK": "1"})
        took = time.monotonic() - began
        fleet.up({"app.release": first})
    assert took < 60
    assert not seen.lost, str(seen)
    assert seen.votes == seen.counted, str(seen)


def test_a_droplet_that_dies_loses_what_it_had_in_its_hands(fleet: Fleet) -> None:
    """The balancer sends nobody there after 15 s."""
    victim = fleet.machines()[1]
    with traffic(fleet.world) as seen:
        time.sleep(3)
        init = victim.leader()
        assert init
        os.kill(init, signal.SIGKILL)
        time.sleep(25)
    assert all(one.at < 3 + 1 + 15 + 5 for one in seen.lost), str(seen)
