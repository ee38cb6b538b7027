"""The real engine against the API alone: every stack, from nothing to nothing, in seconds."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from policy.pack import NAME
from sandbox.model.store import Store
from sandbox.world.world import World
from tests.commands import ROOT, run
from tests.pulumi_stack import PulumiStack

STACKS = tuple(pytest.param(name, marks=pytest.mark.prove) for name in ("local", "dev"))
PROTECTED = (pytest.param("staging", marks=pytest.mark.prove), "prod")
# What an account has before anybody creates something.
OF_THE_ACCOUNT = {"project"}
PACK = ("--policy-pack", "policy/run")


def stack(world: World, name: str, *argv: str, check: bool = True) -> str:
    """Run a Pulumi command on a stack and return what it printed."""
    done = run("scripts/stack", name, *argv, home=world.home, check=check)
    return done.stdout + done.stderr


def passes(said: str) -> None:
    """Fail unless the policy pack was asked, and had nothing to say."""
    assert f"✅ {NAME}@" in said
    assert "can't run policy" not in said


def resources(world: World) -> list[str]:
    """Kind and id of everything in the API's store."""
    everything = Store(world.database, read_only=True).all()
    return [f"{resource.kind} {resource.id}" for resource in everything if resource.kind not in OF_THE_ACCOUNT]


def outputs_are_there(world: World, name: str) -> None:
    """Fail unless the documented outputs exist, and the pool is what the plan leaves."""
    outputs = json.loads(run("scripts/stack", name, "stack", "output", "--json", home=world.home).stdout)
    assert set(outputs) >= {
        *("url", "ip_address", "pool_size", "max_connections", "connection_budget", "cdn_endpoint", "release")
    }
    assert outputs["pool_size"] == outputs["max_connections"] - outputs["connection_budget"]["reserved"]


@pytest.fixture
def tracked() -> Iterator[None]:
    """What Pulumi writes about a sandbox's stack ends up in the world, never in a tracked file."""
    files = {path: path.read_bytes() for path in ROOT.glob("Pulumi*.yaml")}
    yield
    assert {path: path.read_bytes() for path in ROOT.glob("Pulumi*.yaml")} == files


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("name", STACKS)
def test_a_stack_lives_and_dies(api_world: World, name: str, record_property: Callable[[str, object], None]) -> None:
    """Preview, up, a second up and refresh that find nothing to do, and a destroy that leaves nothing.

    The policy pack passes in a preview, where much is unknown; in `up`, where all becomes known; and afterwards.
    The documented outputs exist, and the pool is what the plan leaves.
    """
    seconds = {}
    for step, argv in {
        "preview": ("preview", *PACK),
        "up": ("up", "--yes", "--skip-preview", *PACK),
        "second up": ("up", "--yes", "--skip-preview", "--expect-no-changes", *PACK),
        "refresh": ("refresh", "--yes", "--skip-preview", "--expect-no-changes"),
    }.items():
        started = time.monotonic()
        said = stack(api_world, name, *argv)
        if PACK[0] in argv:
            passes(said)
        seconds[step] = round(time.monotonic() - started, 1)
    assert resources(api_world) != []
    outputs_are_there(api_world, name)

    started = time.monotonic()
    stack(api_world, name, "destroy", "--yes", "--skip-preview")
    seconds["destroy"] = round(time.monotonic() - started, 1)

    record_property("seconds", seconds)
    print(f"\n{name}: {seconds}")  # noqa: T201 the figures belong in the log of every run
    assert resources(api_world) == []


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("name", PROTECTED)
def test_a_protected_stack_lives_until_it_is_told_twice(api_world: World, name: str) -> None:
    """`destroy` is refused; what may be lost is said in the settings first, as docs/runbook.md shows.

    The policy pack passes in a preview, in `up`, and afterwards. The documented outputs exist.
    """
    protected = PulumiStack(api_world, name, f"polls-{name}")
    up = ["up", "--yes", "--skip-preview"]
    for command in (["preview"], up, [*up, "--expect-no-changes"]):
        done = protected.run(*command, *PACK)
        passes(done.stdout + done.stderr)
    protected.run("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    outputs_are_there(api_world, name)
    before = resources(api_world)
    refused = protected.run("destroy", "--yes", "--skip-preview", check=False)
    assert refused.returncode != 0
    assert "protected" in refused.stdout + refused.stderr
    assert {kind for kind in before if kind not in resources(api_world)} & {"database", "bucket"} == set()

    protected.up(settings={"production": False, "protect": False, "storage.forceDestroy": True})
    protected.run("destroy", "--yes", "--skip-preview")
    assert resources(api_world) == []
