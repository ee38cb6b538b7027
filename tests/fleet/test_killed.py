"""Whoever takes part in a release on several Droplets is killed in the middle of it; visitors notice nothing."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fleet.fleet import BALANCED, Fleet
from tests.fleet.traffic import Traffic, nothing_lost, traffic
from tests.pulumi_stack import Settings

pytestmark = [pytest.mark.full, pytest.mark.prove]

TWO: Settings = {**BALANCED, "web.count": 2}
KILLS = 4  # of each agent, two seconds apart: a release takes longer


def all_serve_one_release(fleet: Fleet, seen: Traffic) -> None:
    """The release that the stack says, on both; every visitor was served."""
    assert fleet.serving() == {fleet.stack.outputs()["release"]}
    nothing_lost(seen)


def test_the_runner_is_killed_between_two_droplets(fleet: Fleet) -> None:
    """`recover` and the next update bring the release to the Droplet that still waits for its turn."""
    fleet.up(TWO)
    settings: Settings = {"app.env.MARK": "the runner was killed"}
    machines = fleet.machines()
    with traffic(fleet.world) as seen:
        update = fleet.stack.start("up", "--yes", "--skip-preview", settings={**fleet.settings, **settings})
        while len(fleet.serving(*machines)) < 2:
            assert update.poll() is None, update.communicate()
            time.sleep(0.05)
        os.killpg(update.pid, signal.SIGKILL)
        update.communicate(timeout=30)
        fleet.stack.run("recover")
        assert len(fleet.serving(*machines)) == 2, "nobody goes on by itself"
        fleet.up(settings)
    all_serve_one_release(fleet, seen)


def test_agents_are_killed_while_they_release(fleet: Fleet) -> None:
    """Each is started again by systemd, and goes on with what is desired."""
    fleet.up(TWO)
    killed, machines = 0, fleet.machines()
    with traffic(fleet.world) as seen, ThreadPoolExecutor() as threads:
        update = threads.submit(fleet.up, {"app.env.MARK": "agents were killed"})
        while not update.done():
            time.sleep(2)
            for one in machines if killed < 2 * KILLS else ():
                done = one.run(["systemctl", "kill", "--signal=KILL", "--kill-whom=main", "release-agent"], check=False)
                killed += done.returncode == 0
        update.result()
    assert killed == 2 * KILLS
    all_serve_one_release(fleet, seen)
