"""The official provider plugin, which people deploy with: every stack from nothing to nothing."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.model.store import Store
from tests.commands import run
from tests.pulumi_stack import PulumiStack, Step
from tests.worlds import start

# Name of the stack: prefix of its resources.
STACKS = {name: f"polls-{name}" for name in ("local", "dev", "staging", "prod")}
# What an account has before anybody creates something.
OF_THE_ACCOUNT = {"project"}
# One change: alerts without Slack, which this plugin says with null, and updates in place. It takes the protection
# away, too, where there is one.
CHANGE = {
    "storage.cdn.ttl": 60,
    "database.trustedSources": ["192.0.2.7"],
    "alerts.email": ["somebody@polls.example"],
    "production": False,
    "protect": False,
    "storage.forceDestroy": True,
}
IN_PLACE = ["update cdn", "update trusted-sources"]
ALERTS = ("cpu-alert", "disk-alert", "memory-alert")
NEW_ALERTS = [f"create {alert}" for alert in ALERTS]
UNPROTECTED = ["update assets", "update media"]
DONE = {
    "local": [*NEW_ALERTS, *IN_PLACE],
    "dev": [*NEW_ALERTS, *IN_PLACE],
    "staging": [*NEW_ALERTS, *IN_PLACE, *UNPROTECTED],
    "prod": [*(f"update {alert}" for alert in ALERTS), *IN_PLACE, *UNPROTECTED],
}
# The bridge from Terraform, which only the official plugin has, keeps its own notes in the state.
OF_THE_BRIDGE = "__meta"


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """What became of a stack."""

    seconds: dict[str, float]
    changed: list[Step]
    notes: int  # resources with the bridge's notes in the state
    left: list[str]  # kinds of what the API still has in the end


def live(name: str) -> Life:
    """Up, a second up and a refresh without a change, one change, destroy; in a world of its own."""
    home = Path(tempfile.mkdtemp(prefix="world-"))
    world = start("api", home)
    stack = PulumiStack(world, name, STACKS[name])
    seconds: dict[str, float] = {}

    def timed(step: str, work: Callable[[], list[Step] | None]) -> list[Step]:
        started = time.monotonic()
        done = work()
        seconds[step] = round(time.monotonic() - started, 1)
        return done or []

    try:
        timed("up", stack.up)
        timed("second up", stack.settled)
        timed("refresh", lambda: stack.steps("refresh", "--expect-no-changes"))
        notes = sum(OF_THE_BRIDGE in found.get("outputs", {}) for found in stack.resources().values())
        changed = timed("change", lambda: stack.up(settings=CHANGE))
        timed("destroy", lambda: stack.steps("destroy"))
        everything = Store(world.database, read_only=True).all()
        left = [resource.kind for resource in everything if resource.kind not in OF_THE_ACCOUNT]
    finally:
        run("sandbox", "down", home=home)
        shutil.rmtree(home, ignore_errors=True)
    return Life(seconds=seconds, changed=changed, notes=notes, left=left)


@pytest.fixture(scope="module")
def lives() -> Iterator[dict[str, Future[Life]]]:
    """All stacks at once: the official plugin waits 10 to 20 seconds by rule, for most of what it makes."""
    with ThreadPoolExecutor(len(STACKS)) as threads:
        yield {name: threads.submit(live, name) for name in STACKS}


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_lives_and_dies(lives: dict[str, Future[Life]], name: str) -> None:
    """Nothing differs after it was made, a change is made in place, and nothing is left in the end."""
    life = lives[name].result()
    print(f"\n{name}: {life.seconds}")  # noqa: T201 the figures belong in the log of every run
    assert life.notes > 0, "not the official plugin"
    assert sorted(step.what for step in life.changed) == sorted(DONE[name])
    assert life.left == []
