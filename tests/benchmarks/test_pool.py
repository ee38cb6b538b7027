"""The pool's benchmark gives a result, and removes what it has made, however it ends; nothing else is touched."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from operations.benchmark import result
from sandbox.model.store import Store
from sandbox.world.world import World
from tests.api_client import Api, until
from tests.commands import ROOT, environment, run

COMMAND = ("sandbox", "exec", sys.executable, "-m", "operations", "benchmark")
KINDS = ("database", "database_leaving", "droplet", "ssh_key", "tag", "vpc")
TINY = ("--yes", "--seconds=1", "--rounds=1", "--scale=1")
RUN = "django-do-benchmark-202601011200-abcdef"  # over since long

Names = dict[str, list[str]]


def there(world: World) -> Names:
    """What the account has of each kind that a run makes, by name."""
    store = Store(world.database, read_only=True)
    return {kind: sorted(str(found.body["name"]) for found in store.list(kind)) for kind in KINDS}


@pytest.fixture
def others(api: Api, api_world: World) -> Iterator[Names]:
    """What is not the benchmark's, though some of it has the name of a run."""
    vpc = api.vpc()["id"]
    api.cluster(name="app", private_network_uuid=vpc, tags=["polls"])
    api.droplet(name=RUN, vpc_uuid=vpc, tags=["polls"])
    yield there(api_world)
    api.delete_everything()


@contextmanager
def begun(others: Names, world: World, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """A run that has made everything, and now waits for its client: at this depth no machine answers it."""
    with subprocess.Popen(
        [*COMMAND, "pool", *TINY, *options], cwd=ROOT, env=environment(world.home), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            until(lambda: there(world), lambda found: len(found["droplet"]) > len(others["droplet"]), 60)
            yield process
        finally:
            process.kill()  # whatever has failed: nothing is waited for


def test_a_run_that_is_ended_leaves_nothing(api_world: World, others: Names) -> None:
    """Whatever it had made until then; told twice, it goes on removing."""
    number = signal.SIGINT
    with begun(others, api_world) as process:
        process.send_signal(number)
        until(lambda: there(api_world), lambda found: len(found["droplet"]) == len(others["droplet"]))
        process.send_signal(number)
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert f"{number.name}: ending; what was made is removed" in said
    assert "nothing of it is left" in said
    assert there(api_world) == others


def test_what_a_killed_run_has_left_is_removed(api_world: World, others: Names) -> None:
    """By `benchmark clean`, though it might still go on."""
    with begun(others, api_world) as process:
        process.kill()
    left = there(api_world)
    assert {kind for kind in KINDS if left[kind] != others[kind]} == {"database", "droplet", "ssh_key", "tag", "vpc"}
    run(*COMMAND, "clean", "--yes", home=api_world.home)
    assert there(api_world) == others
    assert "nothing is left" in run(*COMMAND, "clean", "--yes", home=api_world.home).stdout


def test_the_next_run_removes_what_is_over(api: Api, api_world: World, others: Names) -> None:
    """By its tag: what has only the name stays. One that may go on is named."""
    goes_on = "django-do-benchmark-999901011200-abcdef"
    for name in (RUN, goes_on):
        api.client.tags.create({"name": name})
    api.cluster(name=RUN, tags=[RUN])
    with begun(others, api_world) as process:
        assert RUN not in [*there(api_world)["tag"], *there(api_world)["database"]]
        process.terminate()
        said, _ = process.communicate(timeout=120)
    assert f"{RUN} was left by a run that was killed" in said
    assert f"{goes_on} is there" in said
    assert there(api_world) == others | {"tag": sorted([*others["tag"], goes_on])}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "status", "status": 422, "message": "limit"}, "/v2/droplets is answered with 422: limit"),
        ({"kind": "drop", "after": True}, "gives no answer"),  # it was made all the same
    ],
)
def test_a_run_that_fails_leaves_nothing(
    api: Api, api_world: World, others: Names, fault: dict[str, object], said: str
) -> None:
    """It says what the API refused, and takes back the rest."""
    api.fault(method="POST", path="/v2/droplets", **fault)
    done = run(*COMMAND, "pool", *TINY, home=api_world.home, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert there(api_world) == others


@pytest.mark.prove
@pytest.mark.full
def test_a_whole_run_has_a_complete_result(full_world: World, tmp_path: Path) -> None:
    """The tutorial's measurements, the refusals of the plan, and nothing that is left; no password in its output."""
    before = there(full_world)
    done = run(*COMMAND, "pool", *TINY, "--tutorial", f"--to={tmp_path}", "--note=a note", home=full_world.home)
    found = result.read(tmp_path / "pool.json")
    assert there(full_world) == before
    measured = [(one.script, one.clients, one.way) for one in found.runs]
    assert len(measured) == len(set(measured)) == 4
    assert all(one.tps > 0 and one.p99_ms and one.client_busy > 0 for one in found.runs)
    many = {(one.way, one.accepted, one.refused) for one in found.runs if one.clients == 150}
    assert many == {("direct", 97, 53), ("pool", 150, 0)}
    assert "remaining connection slots are reserved" in (tmp_path / "pool.md").read_text()
    assert (tmp_path / "pool.svg").stat().st_size
    assert "AVNS_" not in done.stdout + done.stderr + (tmp_path / "pool.json").read_text()
