"""What the release agent does about desired.json (failures: test_follow_failures.py; whole machines: tests/stack)."""

import json
import socket
from dataclasses import asdict
from pathlib import Path

import pytest

from agent import follow, rollout
from agent.state import State
from tests.unit.droplet_world import CONFIG, ENVIRONMENT, World, fail_at


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A Droplet that has no release yet."""
    return World(tmp_path, monkeypatch)


ALL_PHASES = ["fetch", "build", "check", "static", "examine", "migrate", "look", "switch", "health", "done"]


def test_without_a_wish_it_reports_once_that_it_waits(world: World) -> None:
    """Nothing desired: one report, then silence."""
    assert world.run() == ["waiting"]
    assert (world.report["release"], world.report["attempt"], world.report["healthy"]) == ("", 0, False)
    assert world.run() == []


def test_a_release_goes_through_all_phases_and_serves(world: World) -> None:
    """The straight path, and the document's fields at its end."""
    release = world.desire(1)
    assert world.run() == ALL_PHASES
    assert world.current == release
    assert world.report.keys() == {"release", "attempt", "phase", "healthy", "error", "at", "notes"}
    assert (world.report["release"], world.report["attempt"]) == (release, 1)
    assert world.report["healthy"] is True
    assert world.report["error"] is None


def test_an_answered_wish_costs_one_request_and_nothing_else(world: World) -> None:
    """A second look changes nothing, runs nothing, reports nothing."""
    world.desire(1)
    world.run()
    assert world.run() == []
    assert world.machine.commands == []


def test_migrator_password_stays_out_of_gunicorns_settings(world: World) -> None:
    """release_env reaches manage.py but not the file that Gunicorn is started with."""
    release = world.desire(1)
    world.run()
    migrate = next(env for command, env in world.machine.commands if "manage.py migrate" in command)
    assert migrate["DATABASE_URL"] == ENVIRONMENT["release_env"]["DATABASE_URL"]  # type: ignore[index]
    settings = (world.machine.releases / release / "environment.json").read_text()
    assert "migrator:" not in settings
    assert "swordfish" not in settings
    assert json.loads(settings)["env"]["RELEASE"] == release
    assert (world.machine.releases / release / "environment.json").stat().st_mode & 0o777 == 0o600


def test_only_hashed_names_are_uploaded_public_and_for_ever(world: World) -> None:
    """The manifest decides; a name that is there already is left alone."""
    world.desire(1)
    world.run()
    assert world.spaces.list("assets", "") == {"static/site.0123.css"}
    assert world.spaces.headers["assets", "static/site.0123.css"] == {
        "cache-control": "public,max-age=31536000,immutable",
        "content-type": "text/css; charset=utf-8",
        "x-amz-acl": "public-read",
    }
    world.spaces.objects["assets", "static/site.0123.css"] = b"untouched"
    world.desire(2, marker="2")
    world.run()
    assert world.spaces.objects["assets", "static/site.0123.css"] == b"untouched"


def test_static_files_that_do_not_go_to_the_cdn_are_found_by_nginx(world: World) -> None:
    """With a STATIC_URL of the site's own nothing is uploaded, and a STATIC_ROOT of the app's own is linked to."""
    world.machine.static_url = "/static/"
    release = world.desire(1)
    world.machine.static_root = world.machine.releases / release / "app" / "collected"
    assert world.run() == ALL_PHASES
    assert world.spaces.list("assets", "") == set()
    assert (world.machine.releases / release / "static" / "site.css").read_text() == "body{}"

    world.machine.static_root = None
    release = world.desire(2, marker="2")
    assert world.run() == ALL_PHASES
    assert (world.machine.releases / release / "static" / "site.css").read_text() == "body{}"


def test_static_files_of_the_archive_are_old_when_collectstatic_runs(world: World) -> None:
    """It keeps what is not older than its source, and the archive's files have no times."""
    release = world.desire(1)
    app = world.machine.releases / release / "app"
    world.machine.static_root = app / "collected"
    times = []

    def behaviour(command: str) -> None:
        if "check --deploy" in command:
            (app / "collected").mkdir()
            (app / "collected" / "old.css").touch()
        if "collectstatic" in command:
            times.append((app / "collected" / "old.css").stat().st_mtime < (app / "manage.py").stat().st_mtime)

    world.machine.behaviour = behaviour
    world.run()
    assert times == [True]


def test_an_attempt_that_was_cut_short_starts_again(world: World) -> None:
    """After a reboot in the middle, half a release is thrown away and made anew."""
    release = world.desire(1)
    (world.machine.releases / release).mkdir()
    interrupted = State(release=release, attempt=1, phase="build", reported=True)
    world.machine.state.write_text(json.dumps(asdict(interrupted)))
    assert world.run() == ALL_PHASES


def test_wishing_for_what_serves_does_not_restart_it(world: World) -> None:
    """When the runner writes the good release back, its requests go on undisturbed."""
    world.desire(1)
    world.run()
    world.desire(2)
    assert world.run() == ["done"]
    assert not world.ran("systemctl")


@pytest.mark.parametrize("content", ["", '{"rel', "[]", '{"field of another version": 1}'])
def test_a_memory_that_can_not_be_read_is_no_reason_to_stand_still(world: World, content: str) -> None:
    """What serves is found healthy, reported, and not restarted."""
    release = world.desire(1)
    world.run()
    world.machine.state.write_text(content)
    assert world.run() == ["done"]
    assert (world.report["release"], world.report["healthy"]) == (release, True)
    assert not world.ran("systemctl")


def test_a_release_that_nobody_wants_any_more_is_not_switched_on(world: World) -> None:
    """The runner may have given up during a long migration."""
    good = world.desire(1)
    world.run()

    def give_up(command: str) -> None:
        if "migrate" in command:
            world.machine.behaviour = lambda _command: None
            world.desire(3)

    world.machine.behaviour = give_up
    world.desire(2, marker="2")
    assert world.run()[-1] == "failed"
    assert "says something else by now" in world.report["error"]
    assert world.current == good
    assert not world.ran("systemctl")
    assert world.run() == ["done"]


def test_an_app_without_accounts_needs_no_administrator(world: World) -> None:
    """Neither needs a project `django.contrib.auth`, nor static files."""

    def lacks(command: str) -> None:
        for word in ("createsuperuser", "collectstatic"):
            fail_at(word, f"Unknown command: '{word}'")(command)

    world.machine.behaviour = lacks
    world.desire(1)
    assert world.run() == ALL_PHASES


def test_a_report_that_could_not_be_delivered_is_delivered_later(world: World) -> None:
    """The runner learns how it ended, even when the bucket was down at that moment."""
    world.desire(1)
    world.spaces.broken.add("state")
    assert world.run() == []
    world.spaces.broken.clear()
    assert world.run() == ["done"]


def test_old_releases_are_removed(world: World) -> None:
    """Disk use has a bound, and the way back stays open."""
    releases = []
    for attempt in range(1, follow.KEPT_RELEASES + 3):
        releases.append(world.desire(attempt, marker=str(attempt)))
        world.run()
    kept = {folder.name for folder in world.machine.releases.iterdir()}
    assert kept == set(releases[-follow.KEPT_RELEASES :])


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"release": "../../etc"}, "desired.json.release: must match"),
        ({"artifact": "artifacts/../x.tar"}, "desired.json.artifact: must match"),
        ({"sha256": "short"}, "desired.json.sha256: must match"),
        ({"environment": "environments/../../x.json"}, "desired.json.environment: must match"),
        ({"attempt": "1"}, "desired.json.attempt: must be a whole number"),
        ({"surprise": 1}, "desired.json: has unknown fields: surprise"),
    ],
)
def test_a_wish_that_breaks_the_schema_is_reported_not_tried(
    world: World, change: dict[str, object], rule: str
) -> None:
    """Names in this document become paths and commands."""
    world.desire(1)
    document = json.loads(world.spaces.objects["releases", "desired.json"]) | change
    world.spaces.objects["releases", "desired.json"] = json.dumps(document).encode()
    assert world.run() == ["failed"]
    assert world.report["error"].startswith(rule)
    assert world.run() == []


def test_a_wish_that_is_repaired_is_answered_again(world: World) -> None:
    """The same attempt, which serves all the time: it is found healthy, and not restarted."""
    world.desire(1)
    world.run()
    wish = world.spaces.objects["releases", "desired.json"]
    world.spaces.objects["releases", "desired.json"] = b"{"
    assert world.run() == ["failed"]
    world.spaces.objects["releases", "desired.json"] = wish
    assert world.run() == ["done"]
    assert not world.ran("systemctl")


def test_a_named_python_is_found_or_downloaded(world: World) -> None:
    """By uv, where Gunicorn can read it; without a name uv gets none of these and uses the Droplet's own."""

    def of_uv() -> dict[str, str]:
        [variables] = [variables for command, variables in world.machine.commands if command.startswith("uv sync")]
        return {name: value for name, value in variables.items() if name.startswith("UV_PYTHON")}

    world.desire(1)
    world.run()
    assert of_uv() == {}
    world.desire(2, python="3.12")
    world.run()
    assert of_uv() == {
        "UV_PYTHON": "3.12",
        "UV_PYTHON_DOWNLOADS": "automatic",
        "UV_PYTHON_INSTALL_DIR": str(world.machine.pythons),
        "UV_PYTHON_PREFERENCE": "system",
    }
    assert world.current == world.desire(2, python="3.12")


def test_packages_that_no_release_has_are_forgotten_once_they_are_many(world: World) -> None:
    """Beside uv's own pruning, which keeps them for ever; the kept releases have links of their own to theirs."""
    kept = world.machine.releases / world.desire(1) / "venv/lib.so"
    world.run()
    cached, alone = (world.machine.packages / name for name in ("archive/lib.so", "archive/old.so"))
    cached.parent.mkdir(parents=True)
    for file in (cached, alone):
        with file.open("wb") as sparse:
            sparse.truncate(rollout.UNUSED_PACKAGES)
    kept.hardlink_to(cached)
    world.desire(2)
    world.run()
    assert world.ran("uv cache prune")
    assert not world.ran("uv cache clean")
    with alone.open("ab") as sparse:
        sparse.write(b"x")
    world.desire(3)
    world.run()
    assert [command for command, _ in world.machine.commands][-2:] == [
        f"nice -n 19 {world.machine.uv} cache prune --quiet",
        f"nice -n 19 {world.machine.uv} cache clean --quiet",
    ]


@pytest.mark.parametrize("own", [True, False])
def test_a_cluster_may_have_no_authority_of_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch, *, own: bool
) -> None:
    """In the edition advanced no release fails for the lack of one, and no file is written for it."""
    if not own:
        monkeypatch.delitem(ENVIRONMENT, "database_ca")
    release = world.desire(1)
    world.run()
    assert world.current == release
    assert world.machine.database_ca.exists() == own


def test_a_start_before_the_metadata_leaves_no_mark(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a reboot the network may come last; nobody knows then whose report it would be."""
    world.desire(1)
    world.run()

    def away(_self: object) -> str:
        raise OSError(101, "Network is unreachable")

    with monkeypatch.context() as patch:
        patch.setattr(type(world.machine), "droplet_id", away)
        assert world.run() == []
    world.run()
    assert (world.report["phase"], world.report["healthy"]) == ("done", True)


def test_a_machine_from_a_snapshot_reports_for_itself(world: World) -> None:
    """It has another Droplet's memory, but its own name; what serves is left alone."""
    release = world.desire(1)
    world.run()
    world.machine.id = "8"
    assert world.run() == ["done"]
    document = json.loads(world.spaces.objects["state", "nodes/8.json"])
    assert (document["release"], document["healthy"]) == (release, True)
    assert not world.ran("systemctl")


def test_only_migrations_get_the_migrators_address(world: World) -> None:
    """The other steps see the database as visitors will: as the role that can't change the schema."""
    world.desire(1)
    world.run()
    migrator = {
        command for command, environment in world.machine.commands if "migrator:" in environment.get("DATABASE_URL", "")
    }
    assert migrator == {"lock", "manage.py migrate --noinput", "manage.py createsuperuser --noinput"}


def test_the_watchdog_hears_of_each_look(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready once, alive after each look: so systemd ends an agent that hangs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        looks = iter([None, None])

        def sleep(_seconds: float) -> None:
            next(looks)

        monkeypatch.setattr(follow.time, "sleep", sleep)
        with pytest.raises(StopIteration):
            follow.Follower(machine=world.machine, config=CONFIG).follow()
        systemd.settimeout(1)
        heard = [systemd.recv(100) for _ in range(4)]
    assert heard == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]


def test_an_agent_that_starts_says_again_what_serves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner may have read meanwhile that it can't start."""
    world.desire(1)
    world.run()
    world.spaces.objects["state", "nodes/7.json"] = b'{"phase": "bootstrap"}'

    def sleep(_seconds: float) -> None:
        raise StopIteration

    monkeypatch.setattr(follow.time, "sleep", sleep)
    with pytest.raises(StopIteration):
        follow.Follower(machine=world.machine, config=CONFIG).follow()
    assert (world.report["phase"], world.report["healthy"]) == ("done", True)


def test_after_a_rollout_the_agent_starts_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a rollout has needed of the memory is not kept through weeks of sleep."""
    world.desire(1)
    monkeypatch.setattr(follow.time, "sleep", lambda _seconds: None)
    follow.Follower(machine=world.machine, config=CONFIG).follow()
    assert world.report["phase"] == "done"
