"""The end of a world, and the beginning of the next."""

import subprocess

import pytest

from sandbox.model.store import Store
from sandbox.world.world import World
from tests.commands import ROOT, run
from tests.traces import traces
from tests.worlds import Deployment

pytestmark = pytest.mark.full

OF_THE_ACCOUNT = {"project"}  # what an account has before anybody creates something


def test_destroy_leaves_no_resource(deployed: Deployment) -> None:
    """`pulumi destroy` takes back everything that `pulumi up` made."""
    deployed.stack("destroy", "--yes", "--skip-preview")
    everything = Store(deployed.world.database, read_only=True).all()
    assert [f"{item.kind} {item.id}" for item in everything if item.kind not in OF_THE_ACCOUNT] == []


def test_down_leaves_no_trace_and_up_works_again(full_world: World, full_machine: set[str]) -> None:
    """After `make down` nothing of the world is left; `make up` says by which plugin, and ends with the address."""
    there = traces(full_world.home)
    # What is never there could not be missed.
    assert {kind for kind, found in there.items() if not found} == set()
    run("sandbox", "down", home=full_world.home)
    left = traces(full_world.home)
    assert {kind: found for kind, found in left.items() if found and kind != "settings"} == {}
    assert left["settings"] == full_machine

    done = run("make", "up", home=full_world.home)
    assert "provider plugin: the sandbox's own, chosen by SANDBOX_PLUGIN" in done.stdout, done.stdout
    assert "https://polls.example" in done.stdout, done.stdout
    shown = run("sandbox", "exec", "curl", "-sS", "https://polls.example/healthz", home=full_world.home)
    assert '"ok"' in shown.stdout
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", "Pulumi*.yaml"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert changed.stdout == ""
