"""The release agent's decisions; its work on a real machine is tested with the whole stack."""

import contextlib
import datetime as dt
import gzip
import hashlib
import importlib.util
import io
import json
import os
import pwd
import sys
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
from backports import tarfile as newer_tarfile  # type: ignore[import-untyped]
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

SOURCE = Path(__file__).parents[2] / "cloud-init" / "release-agent.py"


def _load() -> ModuleType:
    """Import the agent, whose file name is not a module's."""
    specification = importlib.util.spec_from_file_location("release_agent", SOURCE)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    sys.modules["release_agent"] = module
    specification.loader.exec_module(module)
    if not hasattr(tarfile, "data_filter"):
        # A Droplet has Python 3.13; Debian 12's 3.11.2 is older than the filter. This is 3.12's module.
        module.tarfile = newer_tarfile  # type: ignore[attr-defined]
    return module


agent = _load()

CONFIG = agent.Config(
    region="nyc3",
    endpoint="https://nyc3.digitaloceanspaces.com",
    domain="polls.example",
    releases_bucket="releases",
    state_bucket="state",
    assets_bucket="assets",
    access_key="DO00AGENT",
    secret_key="the-agents-own-key",
)
ENVIRONMENT = {
    "wsgi": "mysite.wsgi:application",
    "env": {"ALLOWED_HOSTS": "polls.example", "SECRET_KEY": "very-secret-key"},
    "release_env": {"DATABASE_URL": "postgres://migrator:pass%2Fword@db/app", "DJANGO_SUPERUSER_PASSWORD": "swordfish"},
    "database_ca": "PEM",
}


class FakeSpaces:
    """Buckets in memory; `broken` names the buckets that don't answer."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.headers: dict[tuple[str, str], Mapping[str, str]] = {}
        self.reports: list[dict[str, Any]] = []
        self.broken: set[str] = set()

    def get(self, bucket: str, key: str, *, unless: str = "") -> Any:  # noqa: ANN401 - its type is in the loaded file
        """Return 404, 304 or the object, as Spaces does."""
        body = self.objects.get((bucket, key))
        if body is None:
            return agent.Answer(404, "", b"")
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        return agent.Answer(304, "", b"") if etag == unless else agent.Answer(200, etag, body)

    def read(self, bucket: str, key: str) -> bytes:
        """Return an object that must exist."""
        if (bucket, key) not in self.objects:
            raise agent.SpacesError(f"GET {bucket}/{key}: 404 NoSuchKey")
        return self.objects[bucket, key]

    def put(self, bucket: str, key: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Keep an object and its headers."""
        if bucket in self.broken:
            raise agent.SpacesError(f"PUT {bucket}/{key}: 503 SlowDown")
        self.objects[bucket, key] = body
        self.headers[bucket, key] = headers
        if bucket == "state":
            self.reports.append(json.loads(body))

    def list(self, bucket: str, prefix: str) -> set[str]:
        """Return the keys under a prefix."""
        return {key for (where, key) in self.objects if where == bucket and key.startswith(prefix)}


class FakeMachine(agent.Machine):  # type: ignore[misc, name-defined]  # loaded from a file
    """A machine in a temporary folder, whose programs are recorded instead of run."""

    def __init__(self, root: Path, behaviour: Callable[[list[str]], None] = lambda _command: None) -> None:
        super().__init__(root=root, user=pwd.getpwuid(os.getuid()).pw_name)
        self.behaviour = behaviour
        self.commands: list[tuple[str, dict[str, str]]] = []
        self.static_url = "https://assets.nyc3.cdn.digitaloceanspaces.com/static/"
        self.static_root: Path | None = None  # where the release step says
        for folder in (self.releases, self.state.parent, self.home, self.database_ca.parent):
            folder.mkdir(parents=True)

    def run(self, command: list[str], *, directory: Path, environment: Mapping[str, str]) -> str:
        """Play uv, collectstatic and Django's settings as far as later steps depend on them."""
        static = self.static_root or directory.parent / "static"
        self.commands.append((" ".join([Path(command[0]).name, *command[1:]]), dict(environment)))
        self.behaviour(command)
        if command[-1] == "--no-dev":
            binaries = directory.parent / "venv" / "bin"
            binaries.mkdir(parents=True)
            (binaries / "gunicorn").touch()
        if "collectstatic" in command:
            static.mkdir(exist_ok=True)
            (static / "site.0123.css").write_text("body{}")
            (static / "site.css").write_text("body{}")
            (static / "staticfiles.json").write_text(json.dumps({"paths": {"site.css": "site.0123.css"}}))
        if command[-1] == agent.STATIC_SETTINGS:
            return f"the app prints, too\n{json.dumps([str(static), self.static_url])}\n"
        return ""

    def acting_as_user(self) -> contextlib.AbstractContextManager[None]:
        """Stay who we are."""
        return contextlib.nullcontext()

    def systemctl(self, *arguments: str) -> None:
        """Record what was asked of systemd."""
        self.commands.append((" ".join(["systemctl", *arguments]), {}))


class World:
    """One Droplet with its buckets, over several runs of the agent."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spaces = FakeSpaces()
        self.machine = FakeMachine(root)
        self.health: Callable[[str], str | None] = lambda _release: None
        monkeypatch.setattr(agent, "Spaces", lambda _config: self.spaces)
        monkeypatch.setattr(agent.Agent, "journal", lambda _self: "")
        monkeypatch.setattr(agent, "HEALTH_DEADLINE", 0)

    def desire(self, attempt: int, *, marker: str = "1", sha256: str = "", python: str = "") -> str:
        """Publish a release and wish for it; return its id."""
        archive = _archive({"manage.py": marker, "uv.lock": ""})
        body = json.dumps(ENVIRONMENT | ({"python": python} if python else {})).encode()
        digest = sha256 or hashlib.sha256(archive).hexdigest()
        environment = hashlib.sha256(body).hexdigest()
        self.spaces.objects["releases", f"artifacts/{digest}.tar.gz"] = archive
        self.spaces.objects["releases", f"environments/{environment}.json"] = body
        desired = {
            "release": f"{digest[:8]}-{environment[:8]}",
            "artifact": f"artifacts/{digest}.tar.gz",
            "sha256": digest,
            "environment": f"environments/{environment}.json",
            "attempt": attempt,
        }
        self.spaces.objects["releases", "desired.json"] = json.dumps(desired).encode()
        return str(desired["release"])

    def run(self) -> list[str]:
        """Run the agent once; return the phases that it reported."""
        self.spaces.reports.clear()
        self.machine.commands.clear()
        agent.Agent(
            machine=self.machine,
            spaces=self.spaces,
            config=CONFIG,
            droplet_id=lambda: "7",
            health=self.health,
        ).run()
        return [report["phase"] for report in self.spaces.reports]

    @property
    def report(self) -> dict[str, Any]:
        """What the runner sees."""
        document: dict[str, Any] = json.loads(self.spaces.objects["state", "nodes/7.json"])
        return document

    @property
    def current(self) -> str | None:
        """The release that serves."""
        link = self.machine.current
        return link.readlink().name if link.is_symlink() else None

    def ran(self, text: str) -> bool:
        """Whether a command with this text was run."""
        return any(text in command for command, _ in self.machine.commands)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A Droplet that has no release yet."""
    return World(tmp_path, monkeypatch)


def _archive(files: dict[str, str], *, links: Mapping[str, str] | None = None) -> bytes:
    """Return a gzipped tar archive, the same one for the same files, as provider/artifact.py does."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return gzip.compress(buffer.getvalue(), mtime=0)


ALL_PHASES = ["fetch", "build", "check", "static", "migrate", "check", "switch", "health", "done"]


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
    assert world.report.keys() == {"release", "attempt", "phase", "healthy", "error", "at"}
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


def test_a_failed_migration_leaves_the_old_release_alone(world: World) -> None:
    """A failure before the switch restarts nothing."""
    good = world.desire(1)
    world.run()
    world.machine.behaviour = _fail_at("migrate")
    world.desire(2, marker="2")
    assert world.run()[-1] == "failed"
    assert world.current == good
    assert not world.ran("systemctl")


def test_an_unhealthy_release_goes_back_to_the_old_one(world: World) -> None:
    """After the switch a failure switches back, whatever systemd's start limit says."""
    good = world.desire(1)
    world.run()
    world.health = lambda release: None if release == good else "/readyz: 503"
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


def test_a_first_release_that_fails_leaves_nothing_behind_the_socket(world: World) -> None:
    """Without an old release nothing serves, instead of something broken."""
    world.health = lambda _release: "/healthz: 500"
    world.desire(1)
    world.run()
    assert world.current is None
    assert world.ran("systemctl stop gunicorn.socket gunicorn.service")


def test_a_failed_attempt_is_not_repeated_but_a_new_one_is_made(world: World) -> None:
    """The same (release, attempt) has one answer."""
    world.machine.behaviour = _fail_at("migrate")
    world.desire(1)
    world.run()
    assert world.run() == []
    world.machine.behaviour = lambda _command: None
    world.desire(2)
    assert world.run()[-1] == "done"


def test_an_attempt_that_was_cut_short_starts_again(world: World) -> None:
    """After a reboot in the middle, half a release is thrown away and made anew."""
    release = world.desire(1)
    (world.machine.releases / release).mkdir()
    interrupted = agent.State(release=release, attempt=1, phase="build", reported=True)
    world.machine.state.write_text(json.dumps(agent.asdict(interrupted)))
    assert world.run() == ALL_PHASES


def test_wishing_for_what_serves_does_not_restart_it(world: World) -> None:
    """When the runner writes the good release back, its requests go on undisturbed."""
    world.desire(1)
    world.run()
    world.desire(2)
    assert world.run() == ["done"]
    assert not world.ran("systemctl")


def test_power_that_goes_away_after_the_switch_does_not_cost_the_way_back(world: World) -> None:
    """`current` names the new release already; the one that was good before is remembered."""
    good = world.desire(1)
    world.run()
    broken = world.desire(2, marker="2")
    world.health = lambda release: None if release == good else "/healthz: 500"
    state = json.loads(world.machine.state.read_bytes())
    world.machine.state.write_text(json.dumps(state | {"release": broken, "attempt": 2, "phase": "switch", "etag": ""}))
    world.machine.current.unlink()
    world.machine.current.symlink_to(world.machine.releases / broken)
    assert world.run()[-1] == "failed"
    assert world.current == good


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

    def give_up(command: list[str]) -> None:
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


def test_a_full_disk_is_reported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner hears of it although nothing can be remembered, and the half release is removed."""
    world.desire(1)

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(agent, "write", full)
    monkeypatch.setattr(agent, "unpack", full)
    world.run()
    assert world.report["phase"] == "failed"
    assert "No space left on device" in world.report["error"]
    assert list(world.machine.releases.iterdir()) == []


def test_an_app_without_accounts_needs_no_administrator(world: World) -> None:
    """Neither needs a project `django.contrib.auth`, nor static files."""

    def lacks(command: list[str]) -> None:
        for word in ("createsuperuser", "collectstatic"):
            _fail_at(word, f"Unknown command: '{word}'")(command)

    world.machine.behaviour = lacks
    world.desire(1)
    assert world.run() == ALL_PHASES


@pytest.mark.parametrize("env", [{"PORT": 80}, {"TEXT": "a\0b"}, None])
def test_an_environment_that_is_no_text_is_refused(env: object) -> None:
    """Such a value can't be handed to a program."""
    body = json.dumps(ENVIRONMENT | {"env": env}).encode()
    with pytest.raises(agent.AgentError, match=r"environments/[0-9a-f]+\.json: "):
        agent.Environment.parse(body, f"environments/{hashlib.sha256(body).hexdigest()}.json")


def test_a_part_of_a_secret_of_many_lines_is_not_shown() -> None:
    """A program may print some lines of a key."""
    key = "-----BEGIN KEY-----\nc2VjcmV0LXBhcnQ\nYW5vdGhlci1wYXJ0\n-----END KEY-----"
    environment = agent.Environment(env={"SIGNING_KEY": key})
    assert agent.redacted("at YW5vdGhlci1wYXJ0, line 2", environment.secrets()) == "at [SIGNING_KEY], line 2"


def test_an_error_is_cut_after_its_secrets_are_gone(world: World) -> None:
    """A cut through a secret would leave a part that nobody recognises; the first line stays."""
    secret = "very-secret-key"
    world.machine.behaviour = _fail_at("migrate", (secret + " ") * (agent.TAIL // len(secret)) + "\nlast words")
    world.desire(1)
    world.run()
    assert world.report["error"].startswith("`migrate` ended with status 1\n")
    assert world.report["error"].endswith("\nlast words")
    assert "secret" not in world.report["error"]


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
    world.machine.behaviour = _fail_at("migrate", leak)
    world.desire(1)
    world.run()
    for secret in ("very-secret-key", "swordfish", "pass%2Fword", "pass/word"):
        assert secret not in world.report["error"]
    assert "OperationalError" in world.report["error"]


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
    for attempt in range(1, agent.KEPT_RELEASES + 3):
        releases.append(world.desire(attempt, marker=str(attempt)))
        world.run()
    kept = {folder.name for folder in world.machine.releases.iterdir()}
    assert kept == set(releases[-agent.KEPT_RELEASES :])


def test_failed_releases_are_removed_but_never_the_one_that_serves(world: World) -> None:
    """However many attempts fail, what serves is still on the disk."""
    good = world.desire(1)
    world.run()
    world.machine.behaviour = _fail_at("migrate")
    for attempt in range(2, agent.KEPT_RELEASES + 4):
        world.desire(attempt, marker=str(attempt))
        world.run()
    kept = {folder.name for folder in world.machine.releases.iterdir()}
    assert len(kept) == agent.KEPT_RELEASES + 1
    assert good in kept


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"release": "../../etc"}, "desired.json.release: must match"),
        ({"artifact": "artifacts/../x.tar.gz"}, "desired.json.artifact: must match"),
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


@pytest.mark.parametrize(("name", "target"), [("../outside", ""), ("link", "../../etc"), ("link", "/etc")])
def test_an_archive_that_leaves_its_folder_is_refused(tmp_path: Path, name: str, target: str) -> None:
    """Neither a name nor a link leads out of the release."""
    (tmp_path / "app").mkdir()
    archive = _archive({}, links={name: target}) if target else _archive({name: "x"})
    with pytest.raises(agent.AgentError, match="without paths that leave it"):
        agent.unpack(io.BytesIO(archive), tmp_path / "app")


def test_an_absolute_name_lands_inside(tmp_path: Path) -> None:
    """The filter takes the slash away."""
    (tmp_path / "app").mkdir()
    agent.unpack(io.BytesIO(_archive({"/etc/passwd": "x"})), tmp_path / "app")
    assert (tmp_path / "app" / "etc" / "passwd").read_text() == "x"


def test_a_project_without_manifest_is_told_what_to_set(tmp_path: Path) -> None:
    """The error names the fix."""
    with pytest.raises(agent.AgentError, match="ManifestStaticFilesStorage"):
        agent.manifest_names(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.svg", "image/svg+xml"),
        ("a.woff2", "font/woff2"),
        ("a.png", "image/png"),
        ("a.css.gz", "application/octet-stream"),
        ("LICENSE", "application/octet-stream"),
    ],
)
def test_content_type(name: str, expected: str) -> None:
    """Browsers refuse style sheets and modules of another type."""
    assert expected == agent.content_type(name)


@pytest.mark.parametrize(
    ("method", "url", "headers", "body"),
    [
        ("GET", "https://releases.nyc3.digitaloceanspaces.com/desired.json", {"if-none-match": '"abc"'}, b""),
        ("GET", "https://assets.nyc3.digitaloceanspaces.com/?list-type=2&prefix=static%2F", {}, b""),
        (
            "PUT",
            "https://assets.nyc3.digitaloceanspaces.com/static/a%20b~c.css",
            {
                "x-amz-acl": "public-read",
                "cache-control": "public,max-age=31536000,immutable",
                "content-type": "text/css",
            },
            b"body{}",
        ),
    ],
)
def test_signature_is_the_one_of_botocore(method: str, url: str, headers: dict[str, str], body: bytes) -> None:
    """The SDK is the reference for AWS Signature Version 4."""
    now = dt.datetime.now(dt.UTC)
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    ours = agent.signed_headers(
        method=method, host=parts.netloc, target=target, headers=headers, body=body, config=CONFIG, now=now
    )
    request = AWSRequest(method=method, url=url, data=body, headers=dict(headers))
    request.context["payload_signing_enabled"] = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda *_args, **_kwargs: now.replace(tzinfo=None))
        S3SigV4Auth(Credentials(CONFIG.access_key, CONFIG.secret_key), "s3", "nyc3").add_auth(request)
    assert request.headers["Authorization"] == ours["authorization"]


@given(
    secret=st.text(alphabet="abcdefghij0123456789/+@:", min_size=agent.SHORTEST_SECRET),
    before=st.text(),
    after=st.text(),
)
def test_no_long_value_survives_redaction(secret: str, before: str, after: str) -> None:
    """Whatever surrounds it, a value that is not known to be public is replaced."""
    environment = agent.Environment(wsgi="", env={"ANY_NAME": secret}, release_env={}, database_ca="")
    shown = environment.secrets()
    text = agent.redacted(before + secret + after, shown)
    assert secret not in text.replace(shown[secret], "")


def _fail_at(word: str, text: str = "it broke") -> Callable[[list[str]], None]:
    """Return a behaviour that fails at the command with this word."""

    def behaviour(command: list[str]) -> None:
        if word in command:
            raise agent.AgentError(f"`{word}` ended with status 1\n{text}")

    return behaviour


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
