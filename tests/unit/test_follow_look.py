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
        "`import mysite.wsgi:application` must work as Gunicorn runs it, does not\nOSError: read-only"
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


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (
            "MemoryError: Cannot allocate write+execute memory for ffi.callback(). You might be running on a system",
            "an app may not execute memory that it writes, as just-in-time compilers and C callbacks do: docs/app.md",
        ),
        ("ImportError: libpq.so.5: cannot open shared object file: No such file", "add libpq5 to web.packages"),
        ("ImportError: cannot import name 'Ballot'", ""),
    ],
)
def test_an_import_that_fails_is_said_with_what_to_do(world: World, problem: str, said: str) -> None:
    """Once, in the first line, where somebody knows."""
    world.machine.import_problem = problem
    world.desire(1)
    assert world.run()[-1] == "failed"
    what = "`import mysite.wsgi:application` must work as Gunicorn runs it, does not"
    assert world.report["error"] == f"{what}{'; ' * bool(said)}{said}\n{problem}"


NO_TABLE = {
    "psycopg": 'psycopg.errors.UndefinedTable: relation "site" does not exist',
    "psycopg, a column": 'psycopg.errors.UndefinedColumn: column "x" does not exist',
    "SQLite": "django.db.utils.OperationalError: no such table: django_site",
    "SQLite, a column": "django.db.utils.OperationalError: no such column: polls_poll.more",
    "MySQL": """django.db.utils.ProgrammingError: (1146, "Table 'shop.django_site' doesn't exist")""",
    "MySQL, a column": """django.db.utils.OperationalError: (1054, "Unknown column 'poll.more' in 'field list'")""",
}


@pytest.mark.parametrize("words", NO_TABLE.values(), ids=NO_TABLE)
def test_every_database_says_what_only_the_migrations_make(world: World, words: str) -> None:
    """Another one than the given, which `app.allow` accepts, has a first release, too."""

    def needs_tables(command: str) -> None:
        if not world.ran("migrate"):
            fail_at("check", words)(command)

    world.machine.behaviour = needs_tables
    world.desire(1, allow=["other-database"])
    assert world.run()[-1] == "done"


@pytest.mark.parametrize(
    "words",
    [
        "psycopg.OperationalError: connection refused",
        "ModuleNotFoundError: no such table",
        "OperationalError: (1045, \"Access denied for user 'app'\")",
    ],
)
def test_what_no_migration_would_mend_ends_a_release_at_once(world: World, words: str) -> None:
    """Before any is made."""
    world.machine.behaviour = fail_at("check", words)
    world.desire(1)
    assert world.run()[-2:] == ["check", "failed"]
    assert not world.ran("migrate")


def test_settings_that_are_refused_are_not_forgotten_for_a_table_that_is_not_there(world: World) -> None:
    """The import is tried again after the migrations; settings that are not what was given end the release before."""
    world.machine.found = [("DEBUG: must be False, is True", "debug")]
    world.machine.import_problem = NO_TABLE["psycopg"]
    world.desire(1)
    assert world.run()[-2:] == ["examine", "failed"]
    assert world.report["error"] == "DEBUG: must be False, is True; or accept it: app.allow: [debug]"
    assert not world.ran("migrate")


@pytest.mark.parametrize("step", ["check", "collectstatic", "examine"])
def test_a_step_that_needs_what_only_the_migrations_make_is_taken_again_after_them(world: World, step: str) -> None:
    """An app that asks its tables when it is imported has a first release, too."""

    def needs_tables(command: str) -> None:
        if step in command and not world.ran("migrate"):
            raise AgentError(NO_TABLE["psycopg"])

    world.machine.behaviour = needs_tables
    world.desire(1)
    assert world.run()[-1] == "done"
    assert [step in command for command, _ in world.machine.commands].count(True) == 2

    world.machine.behaviour = fail_at(step, NO_TABLE["psycopg, a column"])
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


def test_a_candidate_is_looked_at_and_ended_before_the_switch(world: World) -> None:
    """Its memory is what serves needs to start again."""
    release = world.desire(1)
    assert world.run()[-1] == "done"
    commands = [command for command, _ in world.machine.commands]
    steps = [
        f"start candidate {release}",
        "look at / of polls.example, candidate",
        "end candidate",
        "systemctl restart gunicorn.service",
        "look at / of polls.example, current",
    ]
    assert [command for command in commands if command in steps] == steps


@pytest.mark.parametrize("when", ["at its start", "at a request"])
def test_where_there_is_no_room_for_a_candidate_the_look_comes_after_the_switch(world: World, when: str) -> None:
    """And the report says so."""
    world.machine.crowded, world.machine.outgrown = when == "at its start", when == "at a request"
    world.machine.sickness = lambda _release, which: Problem(text="/: no answer") if which == "candidate" else None
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
