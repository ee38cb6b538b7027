"""The release agent among others: whose turn it is, who joins, who leaves, and a release that crashes."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent import follow
from agent.app import install, migrate
from agent.errors import AgentError
from tests.unit.droplet_world import CONFIG, World, fail_at

PREPARING = ["fetch", "build", "check", "static", "examine"]
SWITCHING = ["look", "switch", "health", "done"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """One Droplet, number 7."""
    return World(tmp_path, monkeypatch)


def release_of(world: World) -> dict[str, Any]:
    """What is desired, as good.json would have it."""
    document = json.loads(world.spaces.objects["releases", "desired.json"])
    return {name: document[name] for name in ("release", "artifact", "sha256", "environment")}


def test_the_first_one_migrates_and_the_others_do_not(world: World) -> None:
    """Migrations are applied once, before any Droplet lets visitors have the new code."""
    world.desire(1, turns=("6", "7"), complete=False)
    assert world.run() == [*PREPARING, *SWITCHING]
    assert not world.ran("manage.py migrate")
    world.desire(2, marker="2", turns=("7",), complete=False)
    assert world.run() == [*PREPARING, "migrate", *SWITCHING]


def test_a_droplet_prepares_and_waits_for_its_turn(world: World) -> None:
    """What takes time is done by then; visitors keep what they have, and nothing is done twice."""
    good = world.desire(1)
    world.run()
    new = world.desire(2, marker="2", turns=("6",), complete=False)
    agent = follow.Follower(machine=world.machine, config=CONFIG)
    agent.try_to_look()
    assert world.report["phase"] == "prepared"
    assert (world.current, agent.rolled_out) == (good, False)
    world.machine.commands.clear()
    agent.try_to_look()
    assert world.machine.commands == [], "nothing has changed"
    world.desire(2, marker="2", turns=("6", "7"), complete=False)
    agent.try_to_look()
    assert (world.report["phase"], world.report["attempt"], world.current) == ("done", 2, new)
    assert not world.ran("uv sync")
    assert not world.ran("check")


def test_the_turns_of_others_are_no_news_and_only_who_is_next_looks_often(world: World) -> None:
    """Else all of many Droplets would write with each turn, and ask Spaces twice a second until all have it."""
    others = [str(number) for number in range(100, 130)]
    droplets, agent = [*others, "7"], follow.Follower(machine=world.machine, config=CONFIG)

    def after(turns: int) -> bool:
        world.desire(1, droplets=droplets, turns=others[:turns], complete=False)
        agent.try_to_look()
        return agent.soon_until > 0

    assert [after(turns) for turns in (1, 2, 20, 21, 22)] == [False, False, False, True, True]
    assert [report["phase"] for report in world.spaces.reports] == [*PREPARING, "prepared"]
    world.desire(1, droplets=droplets, turns=droplets, complete=False)
    agent.try_to_look()
    assert world.report["phase"] == "done"
    world.spaces.reports.clear()
    world.desire(1, droplets=droplets, turns=droplets)
    assert world.run() == [], "nor is it that all are done"


def test_a_release_that_cannot_work_fails_before_its_turn(world: World) -> None:
    """So no Droplet at all lets visitors have it."""
    good = world.desire(1)
    world.run()
    world.desire(2, marker="2", turns=("6",), complete=False)
    world.machine.behaviour = fail_at("check")
    assert world.run()[-1] == "failed"
    assert world.current == good


def test_a_turn_that_comes_after_a_restart_of_the_agent_is_taken(world: World) -> None:
    """Whatever has ended it, it knows from the disk what is built."""
    world.desire(1, turns=("6",), complete=False)
    assert world.run()[-1] == "prepared"
    new = world.desire(1, turns=("6", "7"), complete=False)
    assert world.run()[-1] == "done"
    assert world.current == new
    assert not world.ran("uv sync")


def test_who_joins_during_a_rollout_serves_what_is_good(world: World) -> None:
    """Not what may fail yet; when that is complete, or its turn, it gets it as the others do."""
    good_name = world.desire(1, marker="1")
    good = release_of(world)
    new = world.desire(2, marker="2", turns=("6",), complete=False, good=good)
    assert world.run()[-1] == "done"
    assert (world.report["release"], world.report["attempt"], world.current) == (good_name, 2, good_name)
    assert world.run()[-1] == "prepared"
    world.desire(2, marker="2", turns=("6", "7"), complete=False, good=good)
    assert world.run()[-1] == "done"
    assert world.current == new


def test_who_joins_a_complete_rollout_runs_it_unasked(world: World) -> None:
    """A Droplet that comes later needs no runner."""
    new = world.desire(3, droplets=("5", "6"), turns=("5", "6"))
    assert world.run()[-1] == "done"
    assert world.current == new


def test_who_is_to_be_replaced_keeps_what_it_serves(world: World) -> None:
    """Those that take its place have the new release; it goes on until it leaves."""
    old = world.desire(1)
    world.run()
    world.desire(2, marker="2", droplets=("8", "9"), turns=("8",), complete=False)
    assert world.run() == ["waiting"]
    assert not world.ran("uv sync")
    world.desire(2, marker="2", droplets=("8", "9"), turns=("8", "9"))
    assert world.run() == [], "it has said so"
    assert world.current == old


def test_who_leaves_says_when_it_has_left_and_may_come_back(world: World) -> None:
    """Nginx answers the balancer's checks with 503 while the file is there; what serves goes on serving."""
    name = world.desire(1)
    world.run()
    world.desire(1, leaving=("7",))
    assert world.run() == ["leaving", "left"]
    assert world.machine.leaving.exists()
    assert world.current == name
    world.desire(1, leaving=("7", "8"))
    assert world.run() == ["left"], "it does not leave twice"
    world.machine.leaving.unlink()
    assert world.run() == ["leaving", "left"], "a Droplet that has started again"
    world.desire(1)
    assert world.run() == ["done"]
    assert not world.machine.leaving.exists()


def test_a_new_release_that_crashes_is_taken_back_and_reported(world: World) -> None:
    """Its look was not enough; what served before serves again, and the report says why."""
    good = world.desire(1)
    world.run()
    bad = world.desire(2, marker="2")
    world.run()
    world.machine.crashed = "5 of its workers ended before their time within 60 s"
    assert world.run() == ["failed"]
    assert world.current == good
    assert world.report["release"] == bad
    assert world.report["error"].startswith("it was healthy, then 5 of its workers ended before their time")
    assert "(journal of gunicorn)" in world.report["error"]
    assert world.run() == [], "once"


def test_an_old_release_that_crashes_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has proved itself: the cause is elsewhere, and there is nothing better to go back to."""
    world.desire(1)
    world.run()
    new = world.desire(2, marker="2")
    world.run()
    monkeypatch.setattr(follow, "PROBATION", -1)
    world.machine.crashed = "it ended 5 times"
    assert world.run() == []
    assert world.current == new


def test_migrations_are_locked_and_a_table_that_is_taken_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the migrator's own connection; who keeps the table is named when all tries have failed."""
    monkeypatch.setattr(migrate, "PAUSES", (0.01, 0.01, 0.0))
    tries = []

    def taken(command: str) -> None:
        if "migrate" in command.split():
            tries.append(command)
            raise AgentError("`manage.py migrate` ended with status 1\ncanceling statement due to lock timeout")

    world.desire(1)
    world.machine.behaviour = taken
    world.machine.waited_for = "AccessExclusiveLock on polls_question, which process 42 of app (report) keeps"
    assert world.run()[-1] == "failed"
    assert len(tries) == 3
    assert "which process 42 of app (report) keeps" in world.report["error"]
    commands = [command for command, _ in world.machine.commands]
    assert commands.index("lock") < commands.index("manage.py migrate --noinput")
    [environment] = [variables for command, variables in world.machine.commands if command == "lock"]
    assert environment["DATABASE_URL"].startswith("postgres://migrator:")


def test_an_index_that_cannot_be_reached_is_tried_again_and_is_no_fault_of_the_release(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text says so first; what the release itself does wrong is said at once."""
    monkeypatch.setattr(install, "PAUSES", (0.01, 0.01, 0))
    said = "error: Failed to fetch: `https://pypi.org/simple/django/`\n  Caused by: dns error"

    def away(command: str) -> None:
        if "sync" in command.split():
            raise AgentError(f"`uv sync --frozen` ended with status 2\n{said}")

    world.desire(1)
    world.machine.behaviour = away
    assert world.run()[-1] == "failed"
    assert len([command for command, _ in world.machine.commands if "sync" in command]) == 3
    assert "a package index could not be reached, which is no fault of the release" in world.report["error"]
    world.desire(2)
    world.machine.behaviour = fail_at("sync", "error: No solution found")
    world.run()
    assert len([command for command, _ in world.machine.commands if "sync" in command]) == 1


def test_without_a_connection_for_the_lock_the_migrations_are_run_all_the_same(world: World) -> None:
    """A full pool may leave the migrator one; that there was no lock is said."""
    seen: list[str] = []

    def crowded(command: str) -> None:
        if "migrate" in command.split() and not seen:
            seen.append(command)
            raise AgentError("`manage.py migrate` ended with status 1\nFATAL: remaining connection slots are reserved")

    world.desire(1)
    world.machine.behaviour = crowded
    assert world.run()[-1] == "done"
    assert "the migrations were run without their lock" in world.report["notes"][0]
