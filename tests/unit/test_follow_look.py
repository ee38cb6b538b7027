"""What ends a release before any visitor meets it, and what is only said (the straight path: test_follow.py)."""

from pathlib import Path

import pytest

from agent.errors import AgentError
from agent.health import Problem
from tests.unit.droplet_world import World, fail_at


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A Droplet that has no release yet."""
    return World(tmp_path, monkeypatch)


def test_settings_that_are_not_what_was_given_end_a_release_before_it_migrates(world: World) -> None:
    """All are said, with the name by which each is accepted; what serves, and the database, stay as they are."""
    good = world.desire(1)
    world.run()
    world.machine.found = [("DEBUG: must be False, is True", "debug"), ("ALLOWED_HOSTS: must accept it", "")]
    world.machine.import_problem = "OSError: read-only"
    world.desire(2, marker="2")
    assert world.run()[-2:] == ["examine", "failed"]
    assert world.report["error"] == (
        "DEBUG: must be False, is True; or accept it: app.allow: [debug]\nALLOWED_HOSTS: must accept it\n"
        "OSError: read-only"
    )
    assert world.current == good
    assert not world.ran("migrate")


def test_what_was_accepted_ends_no_release(world: World) -> None:
    """By its name; and what is only worth a word is a note of the report."""
    world.machine.found = [("DEBUG: must be False, is True", "debug"), ("cursors should be off", "note")]
    world.desire(1, allow=["debug"])
    assert world.run()[-1] == "done"
    assert world.report["notes"] == ["cursors should be off"]


def test_an_import_that_gunicorns_confinement_breaks_ends_a_release(world: World) -> None:
    """Before it migrates: nothing was changed for visitors."""
    world.machine.import_problem = "OSError: [Errno 30] Read-only file system: 'debug.log'"
    world.desire(1)
    assert world.run()[-1] == "failed"
    assert world.report["error"].startswith(
        "`import mysite.wsgi:application` must work as Gunicorn runs it, does not; an app may write to /tmp alone: "
        "let it log to the console, the journal keeps that\n"
    )
    assert not world.ran("migrate")


@pytest.mark.parametrize("step", ["check", "collectstatic", "examine"])
def test_a_step_that_needs_what_only_the_migrations_make_is_taken_again_after_them(world: World, step: str) -> None:
    """An app that asks its tables when it is imported has a first release, too."""

    def needs_tables(command: str) -> None:
        if step in command and not world.ran("migrate"):
            raise AgentError('psycopg.errors.UndefinedTable: relation "site" does not exist')

    world.machine.behaviour = needs_tables
    world.desire(1)
    assert world.run()[-1] == "done"
    assert [step in command for command, _ in world.machine.commands].count(True) == 2

    world.machine.behaviour = fail_at(step, 'psycopg.errors.UndefinedColumn: column "x" does not exist')
    world.desire(2, marker="2")
    assert world.run()[-1] == "failed"


def test_a_candidate_that_does_not_serve_never_meets_a_visitor(world: World) -> None:
    """It is ended, and the release with the reason and the candidate's journal."""
    good = world.desire(1)
    world.run()
    world.machine.sickness = lambda _release, which: Problem(text="/: answered 404") if which == "candidate" else None
    world.desire(2, marker="2")
    assert world.run()[-2:] == ["look", "failed"]
    assert world.report["error"] == "/: answered 404\n(journal of gunicorn-candidate)"
    assert world.current == good
    assert world.machine.commands[-1][0] == "end candidate"
    assert not world.machine.candidate.is_symlink()


def test_where_there_is_no_room_for_a_candidate_the_look_comes_after_the_switch(world: World) -> None:
    """And the report says so."""
    world.machine.crowded = True
    release = world.desire(1)
    assert world.run()[-1] == "done"
    assert world.current == release
    assert world.report["notes"][0].startswith("the release was looked at only once visitors had it: gunicorn-cand")
    assert world.ran("look at / of polls.example, current")


@pytest.mark.parametrize("failing", ["migrate", "candidate"])
def test_a_failure_after_migrations_says_what_stays_in_the_database(world: World, failing: str) -> None:
    """Who serves on the new schema, and which migrations it has: also those before the one that failed."""
    good = world.desire(1)
    world.run()
    printed = "Running migrations:\n  Applying polls.0003_votes... OK\n  Applying polls.0004_more..."
    world.machine.printed["migrate"] = f"{printed} OK\n"
    names = "polls.0003_votes, polls.0004_more"
    if failing == "migrate":
        names = "polls.0003_votes"
        world.machine.behaviour = fail_at("migrate", f"{printed}\nTraceback …")
    else:
        world.machine.sickness = lambda _release, which: Problem(text="/: answered 404") if which == failing else None
    world.desire(2, marker="2")
    assert world.run()[-1] == "failed"
    said = f"These migrations stay in the database, on which release {good} serves: {names}"
    assert world.report["error"].splitlines()[-1] == said


def test_warnings_of_the_check_are_notes_but_those_about_what_nginx_does(world: World) -> None:
    """HSTS and the redirect to HTTPS are not the app's here."""
    world.machine.printed["check"] = (
        "System check identified some issues:\n\nWARNINGS:\n?: (security.W004) You have not set a value for HSTS.\n"
        "?: (security.W008) Your SECURE_SSL_REDIRECT setting is not set to True.\n"
        "polls.Vote: (models.W042) Auto-created primary key used\n\tHINT: Configure\n\n"
    )
    world.desire(1)
    assert world.run()[-1] == "done"
    assert world.report["notes"] == [
        "manage.py check --deploy warns:\npolls.Vote: (models.W042) Auto-created primary key used"
    ]


def test_what_visitors_would_miss_is_a_note_of_a_release_that_serves(world: World) -> None:
    """It is looked for once visitors have the release, and takes nothing back."""
    world.machine.missed = ["/ names what a browser does not get: /static/bundle.js (answers 404)"]
    release = world.desire(1)
    assert world.run()[-1] == "done"
    assert world.current == release
    assert world.report["notes"] == world.machine.missed
    commands = [command for command, _ in world.machine.commands]
    assert commands.index("look beside / of polls.example") == commands.index("look at / of polls.example, current") + 1


def test_a_superuser_that_somebody_else_made_is_said_until_a_release_serves(world: World) -> None:
    """After that its password is a person's own."""
    world.machine.behaviour = fail_at("createsuperuser", "Error: That username is already taken.")
    world.machine.stranger = "admin"
    world.desire(1)
    world.run()
    [note] = world.report["notes"]
    assert note.startswith("a user `admin` is there already with another password: ")
    world.desire(2, marker="2")
    assert (world.run()[-1], world.report["notes"]) == ("done", [])
