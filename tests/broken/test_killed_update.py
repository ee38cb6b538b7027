"""`kill -9` of `pulumi up` at ten moments, and a disk that fills up, at depth "api"."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sandbox.model.store import Store
from sandbox.world import world as worlds
from sandbox.world.world import World
from tests.api_client import connect, until
from tests.commands import run
from tests.processes import plugins
from tests.pulumi_stack import PulumiStack

# Calls that the API has answered by then: of some 45 in all, fewer polls on a busy machine.
MOMENTS = [1 + 4 * moment for moment in range(10)]


@pytest.fixture
def own_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world that a test may break."""
    home = tmp_path_factory.getbasetemp().parent / f"w{time.monotonic_ns() % 10**8}"
    run("sandbox", "up", "--depth", "api", home=home)
    yield worlds.load(home)
    run("sandbox", "down", home=home)


def requests(world: World) -> int:
    """Calls that the API has answered so far."""
    return len(Store(world.database, read_only=True).requests())


def kill_update(world: World, after: int) -> None:
    """Kill an update without warning once the API has answered so many calls."""
    update = PulumiStack(world).start("up", "--yes", "--skip-preview")
    while requests(world) < after:
        assert update.poll() is None, f"the update has ended after {requests(world)} calls"
        time.sleep(0.01)
    os.killpg(update.pid, signal.SIGKILL)
    update.communicate(timeout=30)
    until(lambda: plugins(update.pid), lambda left: left == [], 10)  # they have process groups of their own


@pytest.mark.parametrize(
    "moments",
    [pytest.param(MOMENTS[5:6], id="one moment"), pytest.param(MOMENTS, id="ten moments", marks=pytest.mark.prove)],
)
def test_an_update_that_is_killed(own_world: World, moments: list[int]) -> None:
    """From the first call to the last ones: `status` is right, and `down` and `up` begin anew."""
    for moment in moments:
        kill_update(own_world, after=moment)
        status = run("sandbox", "status", home=own_world.home).stdout
        assert status.startswith(f"api world in {own_world.home}\n"), status
        if moment != moments[-1]:
            run("sandbox", "down", home=own_world.home)
            run("sandbox", "up", "--depth", "api", home=own_world.home)

    # The next update is told what to do: first of the lock, then of what was being made and is in no state.
    locked = run("scripts/stack", "local", "up", "--yes", "--skip-preview", home=own_world.home, check=False)
    assert locked.returncode != 0
    [message] = [line for line in (locked.stdout + locked.stderr).splitlines() if line.startswith("error:")]
    assert "the stack is currently locked by 1 lock(s)" in message
    assert "`pulumi cancel`" in message
    run("scripts/stack", "local", "cancel", "--yes", home=own_world.home)
    run("scripts/stack", "local", "up", "--yes", "--skip-preview", home=own_world.home, check=False)

    run("sandbox", "down", home=own_world.home)
    run("sandbox", "up", "--depth", "api", home=own_world.home)
    run("scripts/stack", "local", "up", "--yes", "--skip-preview", home=own_world.home)


def fill(path: Path) -> None:
    """Leave no room on the file system of this file."""
    status = os.statvfs(path.parent)
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.full  # needs root to mount
def test_a_full_disk(small_disk: Path) -> None:
    """One message while there is no room, and no half-made world: with room again, `up` and the API go on."""
    filler = small_disk / "filler"
    home = small_disk / "world"
    fill(filler)
    refused = run("sandbox", "up", "--depth", "api", home=home, check=False)
    assert refused.returncode == 1
    assert "No space left on device" in refused.stderr
    assert "Traceback" not in refused.stderr

    filler.unlink()
    run("sandbox", "up", "--depth", "api", home=home)
    with connect(worlds.load(home)) as api:
        fill(filler)
        body = {"name": "net", "region": "nyc3", "ip_range": "10.10.0.0/20"}
        answers: list[httpx.Response] = []
        for number in range(200):  # SQLite may have room in its files yet
            answers.append(api.post("/v2/vpcs", body | {"name": f"net-{number}", "ip_range": f"10.{number}.0.0/20"}))
            if answers[-1].status_code == 500:
                break
        assert answers[-1].status_code == 500
        assert "disk" in answers[-1].text
        filler.unlink()
        assert api.post("/v2/vpcs", body | {"name": "after"}).status_code == 201
        assert len(api.ok(api.raw.get("/v2/vpcs?per_page=200"))["vpcs"]) == len(answers)
    run("sandbox", "down", home=home)


@pytest.mark.full  # needs root to mount
@pytest.mark.prove
def test_an_update_needs_room_for_its_state(own_world: World) -> None:
    """Nothing is made that could not be written down, and one message says what is missing; with room it goes on."""
    state = own_world.pulumi / "state"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", state], check=True)
    try:
        stack = PulumiStack(own_world)
        few = stack.run("up", "--yes", "--skip-preview", check=False)
        assert few.returncode != 0
        message = f"error: state: must have 32 MiB free on the disk of {state}, has 4.0; nothing was changed"
        assert message in few.stdout
        fill(state / "filler")
        none = stack.run("up", "--yes", "--skip-preview", check=False)
        assert "no space left on device" in none.stdout + none.stderr
        assert "Traceback" not in few.stdout + few.stderr + none.stdout + none.stderr
        assert Store(own_world.database, read_only=True).list("vpc") == []

        (state / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", state], check=True)
        stack.run("cancel", "--yes")  # what is left of the lock that there was no room for
        stack.up()
        stack.settled()
    finally:
        subprocess.run(["umount", state], check=True)
