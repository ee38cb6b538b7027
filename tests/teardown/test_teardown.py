"""The end of a world, and the beginning of the next."""

import subprocess
from pathlib import Path

import pytest

from sandbox.store import Store
from sandbox.world import World
from tests.commands import ROOT, run
from tests.conftest import Deployment

pytestmark = pytest.mark.full

OF_THE_ACCOUNT = {"project"}  # what an account has before anybody creates something


def traces() -> dict[str, set[str]]:
    """What a world could leave on this machine."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    processes = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "django-do/test" in command and "pytest" not in command:
            processes.add(command)
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    return {
        "mounts": {line for line in mounts if "django-do" in line or "dosb" in line},
        "namespaces": {path.name for path in Path("/run/netns").glob("dosb*")},
        "resolvers": {path.name for path in Path("/etc/netns").glob("dosb*")},
        "groups": {str(path) for path in Path("/sys/fs/cgroup").glob("**/django-do*")},
        "links": {line.split()[0] for line in links.splitlines() if "dosb" in line},
        "tables": {line for line in tables.splitlines() if "dosb" in line},
        "processes": processes,
    }


def test_destroy_leaves_no_resource(deployed: Deployment) -> None:
    """`pulumi destroy` takes back everything that `pulumi up` made."""
    deployed.stack("destroy", "--yes", "--skip-preview")
    everything = Store(deployed.world.database, read_only=True).all()
    assert [f"{item.kind} {item.id}" for item in everything if item.kind not in OF_THE_ACCOUNT] == []


def test_down_leaves_no_trace_and_up_works_again(full_world: World) -> None:
    """After `make down` nothing of the world is left; `make up` then ends with the site's address."""
    assert traces()["namespaces"] != set()
    run("sandbox", "down", home=full_world.home)
    assert {kind: found for kind, found in traces().items() if found} == {}
    assert not full_world.home.exists()

    done = run("make", "up", home=full_world.home)
    assert "https://polls.example" in done.stdout, done.stdout
    shown = run("sandbox", "exec", "curl", "-sS", "https://polls.example/healthz", home=full_world.home)
    assert '"ok"' in shown.stdout
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", "Pulumi*.yaml"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert changed.stdout == ""
