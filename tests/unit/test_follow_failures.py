"""What the agent does when a release, or the agent itself, fails: what serves goes on, and the runner hears why."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent import follow, rollout
from agent.health import Problem
from agent.spaces import PATIENT, Spaces
from protocol.failure import LIMIT
from tests.unit.droplet_world import CONFIG, ENVIRONMENT, World, fail_at


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A Droplet that has no release yet."""
    return World(tmp_path, monkeypatch)


def unhealthy_when_switched(good: str, text: str) -> Callable[[str, str], Problem | None]:
    """Return a machine's sickness: another release than the good one does not serve once it is switched on."""
    return lambda release, which: Problem(text=text) if which == "current" and release != good else None


def test_a_failed_migration_leaves_the_old_release_alone(world: World) -> None:
    """A failure before the switch restarts nothing."""
    good = world.desire(1)
    world.run()
    world.machine.behaviour = fail_at("migrate")
    world.desire(2, marker="2")
    assert world.run()[-1] == "failed"
    assert world.current == good
    assert not world.ran("systemctl")


def test_a_static_root_elsewhere_on_the_machine_is_named(world: World) -> None:
    """Collectstatic may fail there first, and does not say what to do."""
    world.machine.static_url = "/static/"
    world.machine.static_root = Path("/srv/www/static")
    world.machine.behaviour = fail_at("collectstatic", "PermissionError: [Errno 13] Permission denied: '/srv/www'")
    world.desire(1)
    assert world.run()[-1] == "failed"
    rule = "STATIC_ROOT: must be below the project or the variable STATIC_ROOT, got /srv/www/static; set it to that"
    assert world.report["error"] == f"{rule} variable"


def test_a_migration_that_would_create_an_extension_fails_with_the_setting_that_does(world: World) -> None:
    """PostgreSQL asks for a right that no project gets here."""
    output = """  Applying shop.0002_search...Traceback (most recent call last):
psycopg.errors.InsufficientPrivilege: permission denied to create extension "btree_gin"
HINT:  Must have CREATE privilege on current database to create this extension."""
    world.machine.behaviour = fail_at("migrate", output)
    world.desire(1)
    assert world.run()[-1] == "failed"
    what = world.report["error"].split("\n")[0]
    assert what.endswith("; add btree_gin to database.extensions (docs/app.md)")


# In uv's own words.
BUILD = """error: Failed to build `{}`
  cause: The build backend returned an error
  cause: Call to `setuptools.build_meta.build_wheel` failed (exit status: 1)

         [stderr]
         {}

hint: Build failures usually indicate a problem with the package or the build environment"""
GIT = """error: Failed to download and build `ours @ git+https://code.example/ours`
  cause: Git operation failed
  cause: Git executable not found. Ensure that Git is installed and available."""
OTHER_PYTHON = """\
error: The requested interpreter resolved to Python 3.13.5, which is incompatible with the project's Python requirement:
error: No solution found when resolving dependencies: Because ours==1.0 requires Python >=3.14 and only ours==1.0 is
hint: You're using CPython 3.13, but `ours` (v1.0) only has wheels with the following Python implementation tag: `cp312`
hint: You require CPython 3.13, but we only found wheels for `ours` (v1.0) with the following Python ABI tag: `cp312`
"""


@pytest.mark.parametrize(
    ("step", "output", "said"),
    [
        (
            "sync",
            BUILD.format("psycopg2==2.9.10", "Error: pg_config executable not found."),
            "add build-essential, python3-dev, libpq-dev to web.packages",
        ),
        (
            "sync",
            BUILD.format("Python_LDAP==3.4.4", "fatal error: lber.h: No such file or directory"),
            "add build-essential, python3-dev, libldap2-dev, libsasl2-dev to web.packages",
        ),
        (
            "sync",
            BUILD.format("xmlsec==1", "error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory"),
            "add build-essential to web.packages",
        ),
        (
            "sync",
            BUILD.format("ours==1", "src/a.c:3:10: fatal error: sodium.h: No such file or directory"),
            "add the package that has sodium.h (packages.debian.org finds it) to web.packages",
        ),
        ("sync", GIT, "add git to web.packages"),
        *(("sync", words, "set app.python to a version that all packages take") for words in OTHER_PYTHON.splitlines()),
        (
            "check",
            "ImportError: libmagic.so.1: cannot open shared object file: No such file or directory",
            "add libmagic1t64 to web.packages",
        ),
        (
            "check",
            "OSError: /opt/ours/libodbc.so.2: cannot open shared object file: No such file or directory",
            "add the package that has libodbc.so.2 (packages.debian.org finds it) to web.packages",
        ),
        (
            "collectstatic",
            "OSError: cannot load library 'libgobject-2.0-0': libgobject-2.0-0: cannot open shared object file",
            "add libpangoft2-1.0-0, libharfbuzz-subset0 to web.packages",
        ),
        ("check", "ImportError: no pq wrapper available.\nlibpq library not found", "add libpq5 to web.packages"),
        ("sync", BUILD.format("psycopg2==2.9.10", "SyntaxError: invalid syntax"), ""),
        ("check", "SystemCheckError: System check identified some issues", ""),
    ],
)
def test_what_debian_or_another_python_would_mend_is_said(world: World, step: str, output: str, said: str) -> None:
    """With the setting, in the first line; what nobody knows about is left to the program's own words."""
    world.machine.behaviour = fail_at(step, output)
    world.desire(1)
    assert world.run()[-1] == "failed"
    assert world.report["error"].partition("\n")[0] == f"`{step}` ended with status 1{'; ' * bool(said)}{said}"


@pytest.mark.parametrize(
    ("lock", "fix"),
    [("uv.lock", "run `uv add gunicorn` in it"), ("requirements.txt", "add a line for it to requirements.txt")],
)
def test_a_release_without_gunicorn_fails_with_what_its_project_needs(
    world: World, monkeypatch: pytest.MonkeyPatch, lock: str, fix: str
) -> None:
    """By the file that it was built from."""
    monkeypatch.setattr(world.machine, "run", lambda *_command, **_options: "")
    world.desire(1, lock=lock)
    assert world.run()[-1] == "failed"
    assert world.report["error"] == f"app: gunicorn must be one of its dependencies; {fix}"


def test_a_moment_without_spaces_does_not_fail_a_release_that_is_ready(world: World) -> None:
    """Before the switch desired.json is read once more; that is tried for longer than a look is."""

    def page(command: str) -> None:
        if command.startswith("start candidate"):
            world.spaces.trouble["desired.json"] = 2 * len(Spaces.PAUSES)

    world.machine.behaviour = page
    release = world.desire(1)
    assert world.run()[-1] == "done"
    assert world.current == release
    world.spaces.trouble["desired.json"] = 2 * len(Spaces.PAUSES)
    assert world.run() == []


def test_without_spaces_for_long_a_release_is_not_switched_on(world: World) -> None:
    """Another one may be desired by then; the runner hears it once Spaces are there again."""

    def page(command: str) -> None:
        if command.startswith("start candidate"):
            world.spaces.trouble["desired.json"] = len(PATIENT)

    world.machine.behaviour = page
    world.desire(1)
    assert world.run()[-1] == "failed"
    assert (world.current, world.report["error"]) == (None, "GET releases/desired.json: 503 SlowDown")


def test_a_switch_waits_for_what_is_still_installed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a new Droplet Nginx and the kept certificate come beside the first release, whose report moves the address."""
    monkeypatch.setattr(rollout, "time", SimpleNamespace(sleep=lambda _seconds: None, monotonic=time.monotonic))
    seen: list[tuple[bool, str]] = []

    def missing() -> str | None:
        seen.append((world.ran("systemctl"), world.report["phase"]))
        return "nginx.service: must be active, is inactive" if len(seen) < 3 else None

    world.machine.unfinished = missing
    release = world.desire(1)
    assert world.run()[-1] == "done"
    assert world.current == release
    assert seen == [(False, "migrate")] * 3


def test_a_release_that_serves_already_waits_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine from a snapshot has it, and not yet the certificate that was kept meanwhile."""
    world.desire(1)
    world.run()
    monkeypatch.setattr(rollout, "INSTALLATION_DEADLINE", 0)
    world.machine.unfinished = lambda: "certificate.service: must have looked for a kept certificate, is activating"
    world.machine.id = "8"
    assert world.run()[-1] == "failed"
    assert world.spaces.reports[-1]["error"].startswith("certificate.service: must have looked")


def test_a_build_waits_for_uv(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is still installed when the agent of a new Droplet begins."""
    seen: list[str] = []

    def sleep(_seconds: float) -> None:
        seen.append(world.report["phase"])
        if len(seen) == 3:
            world.machine.uv.touch()

    monkeypatch.setattr(rollout, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    world.machine.uv.unlink()
    world.desire(1)
    assert world.run()[-1] == "done"
    assert seen == ["fetch"] * 3
    monkeypatch.setattr(rollout, "INSTALLATION_DEADLINE", 0)
    world.machine.uv.unlink()
    world.desire(2, marker="2")
    assert world.run()[-1] == "failed"
    assert world.report["error"].startswith(f"{world.machine.uv}: must be installed, is not, for 0 s; see ")


def test_the_app_waits_for_memory_that_the_installation_has(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the smallest Droplet nothing of the app runs beside apt: the kernel would end that, and the release."""
    monkeypatch.setattr(rollout, "time", SimpleNamespace(sleep=lambda _seconds: None, monotonic=time.monotonic))
    seen: list[tuple[bool, str]] = []

    def missing() -> str | None:
        seen.append((world.ran("manage.py"), world.report["phase"]))
        return "cloud-final.service: must have ended" if len(seen) < 3 else None

    world.machine.narrow = missing
    world.desire(1)
    assert world.run()[-1] == "done"
    assert seen == [(False, "build")] * 3


def test_an_installation_that_does_not_end_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is missing and where to look; nothing was switched on."""
    monkeypatch.setattr(rollout, "INSTALLATION_DEADLINE", 0)
    world.machine.unfinished = lambda: "nginx.service: must be active, is inactive"
    world.desire(1)
    assert world.run()[-1] == "failed"
    assert world.report["error"].startswith("nginx.service: must be active, is inactive, for 0 s; see /var/log/cloud-i")
    assert world.current is None


def test_an_unhealthy_release_goes_back_to_the_old_one(world: World) -> None:
    """After the switch a failure switches back, whatever systemd's start limit says."""
    good = world.desire(1)
    world.run()
    world.machine.sickness = unhealthy_when_switched(good, "/readyz: 503")
    world.desire(2, marker="2")
    assert world.run()[-1] == "failed"
    assert world.current == good
    restarts = [command for command, _ in world.machine.commands if command.startswith("systemctl")]
    assert restarts[-3:] == [
        "systemctl reset-failed gunicorn.socket gunicorn.service",
        "systemctl start gunicorn.socket",
        "systemctl restart gunicorn.service",
    ]
    assert "/readyz: 503" in world.report["error"]


def test_a_mistake_after_the_switch_goes_back_too(world: World) -> None:
    """Visitors don't mind who made it."""
    good = world.desire(1)
    world.run()

    def stumble(_release: str, which: str) -> Problem | None:
        if which == "candidate":
            return None
        raise UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid continuation byte")

    world.machine.sickness = stumble
    world.desire(2, marker="2")
    assert world.run()[-1] == "failed"
    assert world.current == good
    assert world.report["error"].startswith("a mistake in the agent: UnicodeDecodeError: ")


def test_a_compiler_that_does_not_start_fails_no_release(world: World) -> None:
    """It serves, and the runner was told so."""

    def refuse(command: str) -> None:
        if "compileall" in command:
            raise OSError(12, "Cannot allocate memory")

    world.machine.behaviour = refuse
    world.desire(1)
    assert world.run()[-1] == "done"


def test_a_first_release_that_fails_leaves_nothing_behind_the_socket(world: World) -> None:
    """Without an old release nothing serves, instead of something broken."""
    world.machine.sickness = unhealthy_when_switched("", "/healthz: 500")
    world.desire(1)
    world.run()
    assert world.current is None
    assert world.ran("systemctl stop gunicorn.socket gunicorn.service")


def test_a_failed_attempt_is_not_repeated_but_a_new_one_is_made(world: World) -> None:
    """The same (release, attempt) has one answer."""
    world.machine.behaviour = fail_at("migrate")
    world.desire(1)
    world.run()
    assert world.run() == []
    world.machine.behaviour = lambda _command: None
    world.desire(2)
    assert world.run()[-1] == "done"


def test_power_that_goes_away_after_the_switch_does_not_cost_the_way_back(world: World) -> None:
    """`current` names the new release already; the one that was good before is remembered."""
    good = world.desire(1)
    world.run()
    broken = world.desire(2, marker="2")
    world.machine.sickness = unhealthy_when_switched(good, "/healthz: 500")
    state = json.loads(world.machine.state.read_bytes())
    world.machine.state.write_text(json.dumps(state | {"release": broken, "attempt": 2, "phase": "switch", "etag": ""}))
    world.machine.current.unlink()
    world.machine.current.symlink_to(world.machine.releases / broken)
    assert world.run()[-1] == "failed"
    assert world.current == good


def test_a_full_disk_is_reported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner hears of it although nothing can be remembered, and the half release is removed."""
    world.desire(1)

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(follow, "write", full)
    monkeypatch.setattr(rollout, "unpack", full)
    world.run()
    assert world.report["phase"] == "failed"
    assert "No space left on device" in world.report["error"]
    assert list(world.machine.releases.iterdir()) == []


def test_an_error_is_cut_after_its_secrets_are_gone(world: World) -> None:
    """A cut through a secret would leave a part that nobody recognises; the first line stays."""
    secret = "very-secret-key"
    world.machine.behaviour = fail_at("migrate", (secret + " ") * (LIMIT // len(secret)) + "\nlast words")
    world.desire(1)
    world.run()
    assert world.report["error"].startswith("`migrate` ended with status 1\n")
    assert world.report["error"].endswith("\nlast words")
    assert "secret" not in world.report["error"]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            "CommandError: You must use --phone with --noinput.",
            "CommandError: You must use --phone with --noinput; set DJANGO_SUPERUSER_PHONE in app.env",
        ),
        (
            "usage: manage.py [-h]\nmanage.py createsuperuser: error: unrecognized arguments: --noinput",
            "unrecognized arguments: --noinput; let the project's command take --noinput",
        ),
        ("CommandError: Enter a valid value: very-secret-key", "CommandError: Enter a valid value: [SECRET_KEY]; set "),
        ("", "ended with status 1; set "),
    ],
)
def test_a_superuser_that_could_not_be_made_ends_no_release(world: World, output: str, said: str) -> None:
    """It is said with the cause and what to do, and the release serves; one that can't be made twice is no news."""
    world.machine.behaviour = fail_at("createsuperuser", output)
    release = world.desire(1)
    assert world.run()[-1] == "done"
    assert world.current == release
    [note] = world.report["notes"]
    assert note.startswith("no superuser was made: `createsuperuser` ended with status 1")
    assert said in note
    assert note.endswith(", or set app.superuser: false")
    assert "\n" not in note
    for there in (
        "Error: That username is already taken.",
        "psycopg.errors.UniqueViolation: Key (email) already exists.",
    ):
        world.machine.behaviour = fail_at("createsuperuser", there)
        world.desire(2, marker=there)
        assert (world.run()[-1], world.report["notes"]) == ("done", [])


def test_without_a_superuser_to_make_none_is_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment says so, by having no password for one."""
    monkeypatch.setitem(ENVIRONMENT, "release_env", {"DATABASE_URL": "postgres://migrator@db/app"})
    world.desire(1)
    assert world.run()[-1] == "done"
    assert not world.ran("createsuperuser")


def test_an_artifact_with_another_hash_is_refused(world: World) -> None:
    """What was not verified is not unpacked."""
    release = world.desire(1, sha256="0" * 64)
    world.run()
    assert world.report["phase"] == "failed"
    assert "must have SHA-256 000" in world.report["error"]
    assert not (world.machine.releases / release).exists()


def test_secrets_do_not_reach_the_report(world: World) -> None:
    """What a program prints may hold any of them."""
    leak = (
        "django.db.utils.OperationalError: postgres://migrator:pass%2Fword@db/app pass/word very-secret-key swordfish"
    )
    world.machine.behaviour = fail_at("migrate", leak)
    world.desire(1)
    world.run()
    for secret in ("very-secret-key", "swordfish", "pass%2Fword", "pass/word"):
        assert secret not in world.report["error"]
    assert "OperationalError" in world.report["error"]


def test_failed_releases_are_removed_but_never_the_one_that_serves(world: World) -> None:
    """However many attempts fail, what serves is still on the disk."""
    good = world.desire(1)
    world.run()
    world.machine.behaviour = fail_at("migrate")
    for attempt in range(2, follow.KEPT_RELEASES + 4):
        world.desire(attempt, marker=str(attempt))
        world.run()
    kept = {folder.name for folder in world.machine.releases.iterdir()}
    assert len(kept) == follow.KEPT_RELEASES + 1
    assert good in kept


def test_a_failure_that_nobody_foresaw_is_reported_once_with_its_text(world: World) -> None:
    """The runner hears of it instead of waiting, and the machine does not try it again and again."""

    def stumble(_command: str) -> None:
        raise KeyError("getpwnam(): name not found: 'very-secret-key'")

    world.machine.behaviour = stumble
    world.desire(1)
    assert world.run()[-1] == "failed"
    assert world.report["error"].startswith("a mistake in the agent: KeyError: ")
    assert "very-secret-key" not in world.report["error"]
    assert world.run() == []


def test_a_failure_outside_of_any_release_is_reported_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a mistake in looking may leave the runner in the dark, or end the agent."""
    monkeypatch.setattr(follow.Follower, "ask", lambda _self: {}["etag"])
    agent = follow.Follower(machine=world.machine, config=CONFIG)
    agent.try_to_look()
    agent.try_to_look()
    assert [report["error"] for report in world.spaces.reports] == [
        "a mistake in the agent: KeyError: 'etag'; see `journalctl -u release-agent` on the Droplet"
    ]


def test_a_failure_that_passes_by_leaves_no_mark(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release serves all the time; a runner that read `failed` for ever would roll it out again."""
    world.desire(1)
    world.run()
    agent = follow.Follower(machine=world.machine, config=CONFIG)
    with monkeypatch.context() as patch:
        patch.setattr(follow.Follower, "ask", lambda _self: {}["etag"])
        agent.try_to_look()
    assert world.report["phase"] == "failed"
    agent.try_to_look()
    assert (world.report["phase"], world.report["healthy"], world.report["error"]) == ("done", True, None)


def test_old_releases_that_cannot_be_removed_hide_no_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What went wrong is reported before anything is tidied up."""

    def refuse(_path: Path, *, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise OSError(30, "Read-only file system")

    world.machine.behaviour = fail_at("migrate", "the cause")
    release = world.desire(1)
    monkeypatch.setattr(follow.shutil, "rmtree", refuse)
    stale = world.machine.releases / "00000000-00000000"
    stale.mkdir()
    assert world.run()[-1] == "failed"
    assert "the cause" in world.report["error"]
    assert world.report["release"] == release
    assert world.run() == []
