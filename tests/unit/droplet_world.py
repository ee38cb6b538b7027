"""A Droplet in a folder, with Spaces in memory: what tests of the release agent need."""

import contextlib
import copy
import hashlib
import io
import json
import os
import pwd
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pytest
from backports import tarfile as newer_tarfile  # type: ignore[import-untyped]

from agent import follow, rollout
from agent.app.confined import TooLittleMemory
from agent.config import Config
from agent.errors import AgentError
from agent.health import Page, Problem
from agent.machine import Machine
from agent.spaces import Answer, Spaces, SpacesError

if not hasattr(tarfile, "data_filter"):
    # A Droplet has Python 3.13; Debian 12's 3.11.2 is older than the filter. This is 3.12's module.
    rollout.tarfile = newer_tarfile  # type: ignore[attr-defined]

Behaviour = Callable[[str], None]  # given a command, raises what it fails with

CONFIG = Config(
    region="nyc3",
    endpoint="https://nyc3.digitaloceanspaces.com",
    domain="polls.example",
    acme_email="",
    releases_bucket="releases",
    state_bucket="state",
    assets_bucket="assets",
    access_key="DO00AGENT",
    secret_key="the-agents-own-key",
    package="5f" * 32,
)
ENVIRONMENT = {
    "wsgi": "mysite.wsgi:application",
    "database": "app@pool:25061/pool",
    "health_path": "/",
    "health_status": ["200-399", "401"],
    "allow": [],
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
        self.trouble: dict[str, int] = {}  # key -> how many tries to read it fail
        self.tries = 0  # that a client makes
        self.removed: list[tuple[str, str, bytes, Mapping[str, str]]] = []  # bucket, key, and what was there

    def client(self, _config: Config, _alive: Callable[[], None], **options: Any) -> "FakeSpaces":  # noqa: ANN401
        """Make a client of the same buckets, as patient as the agent wants it."""
        made = copy.copy(self)
        made.tries = len(options.get("pauses", Spaces.PAUSES))
        return made

    def get(self, bucket: str, key: str, *, unless: str = "") -> Answer:
        """Return 404, 304 or the object, as Spaces does."""
        if (left := self.trouble.pop(key, 0)) >= self.tries > 0:
            self.trouble[key] = left - self.tries
            raise SpacesError(f"GET {bucket}/{key}: 503 SlowDown")
        body = self.objects.get((bucket, key))
        if body is None:
            return Answer(404, "", b"")
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        return Answer(304, "", b"") if etag == unless else Answer(200, etag, body)

    def read(self, bucket: str, key: str) -> bytes:
        """Return an object that must exist."""
        if (bucket, key) not in self.objects:
            raise SpacesError(f"GET {bucket}/{key}: 404 NoSuchKey")
        return self.objects[bucket, key]

    def download(self, bucket: str, key: str, file: IO[bytes]) -> None:
        """Write an object that must exist into a file."""
        file.write(self.read(bucket, key))

    def put(self, bucket: str, key: str, content: bytes | IO[bytes], headers: Mapping[str, str]) -> None:
        """Keep an object and its headers."""
        body = content if isinstance(content, bytes) else content.read()
        if bucket in self.broken:
            raise SpacesError(f"PUT {bucket}/{key}: 503 SlowDown")
        self.objects[bucket, key] = body
        self.headers[bucket, key] = headers
        if bucket == "state":
            self.reports.append(json.loads(body))

    def remove(self, bucket: str, key: str) -> None:
        """Delete an object."""
        where = (bucket, key)
        self.removed.append((*where, self.objects.pop(where), self.headers.pop(where)))

    def list(self, bucket: str, prefix: str) -> set[str]:
        """Return the keys under a prefix."""
        return {key for (where, key) in self.objects if where == bucket and key.startswith(prefix)}


class FakeApp:
    """The app's own steps, recorded; `manage` plays collectstatic and settings as far as later steps depend on them."""

    def __init__(self, machine: "FakeMachine", folder: Path, environment: Mapping[str, str]) -> None:
        self._machine = machine
        self._folder = folder
        self._environment = environment

    def manage(self, *arguments: str, unless: str = "", within: float | None = None) -> str | None:  # noqa: ARG002
        """Record a command of manage.py."""
        try:
            self._machine.record(" ".join(["manage.py", *arguments]), self._environment)
        except AgentError as error:
            if unless and re.search(unless, str(error)):
                return None
            raise
        if arguments[0] == "collectstatic":
            static = self._static()
            static.mkdir(exist_ok=True)
            (static / "site.0123.css").write_text("body{}")
            (static / "site.css").write_text("body{}")
            (static / "staticfiles.json").write_text(json.dumps({"paths": {"site.css": "site.0123.css"}}))
        return self._machine.printed.get(arguments[0], "")

    def close(self) -> None:
        """Have nothing to end."""

    def static_settings(self) -> tuple[str, str]:
        """Say what the settings say."""
        return str(self._static()), self._machine.static_url

    def stranger(self) -> str:
        """Say who is to be there with another password."""
        return self._machine.stranger

    def _static(self) -> Path:
        return self._machine.static_root or self._folder / "static"


class FakeLock:
    """The lock for migrations, which knows what the test says."""

    def __init__(self, machine: "FakeMachine") -> None:
        self._machine = machine

    def last_wait(self) -> str:
        """Say whom a migration has waited for."""
        return self._machine.waited_for


class FakeMachine(Machine):
    """A machine in a temporary folder, whose programs are recorded instead of run."""

    def __init__(self, root: Path, behaviour: Behaviour = lambda _command: None) -> None:
        super().__init__(root=root, user=pwd.getpwuid(os.getuid()).pw_name)
        self.behaviour = behaviour
        self.crashed = ""
        self.waited_for = ""
        self.sickness: Callable[[str, str], Problem | None] = lambda _release, _which: None
        self.found: list[tuple[str, str]] = []  # what is wrong with the settings
        self.stranger = ""  # who is there with another password
        self.missed: list[str] = []  # what visitors of what serves would miss
        self.import_problem = ""
        self.printed: dict[str, str] = {}  # command of manage.py -> what it says
        self.crowded = False  # whether there is no room for a candidate
        self.outgrown = False  # whether there is none once it answers
        self.unfinished: Callable[[], str | None] = lambda: None  # what is missing to serve
        self.narrow: Callable[[], str | None] = lambda: None  # what leaves too little memory
        self.uv.parent.mkdir(parents=True)
        self.uv.touch()
        self.id = "7"
        self.commands: list[tuple[str, dict[str, str]]] = []
        self.static_url = "https://assets.nyc3.cdn.digitaloceanspaces.com/static/"
        self.static_root: Path | None = None  # where the settings say
        for folder in (self.releases, self.state.parent, self.home, self.database_ca.parent):
            folder.mkdir(parents=True)

    def record(self, command: str, environment: Mapping[str, str]) -> None:
        """Write a command down, and let it fail if it is to."""
        self.commands.append((command, dict(environment)))
        self.behaviour(command)

    def droplet_id(self) -> str:
        """Return the id of the metadata."""
        return self.id

    def run(self, command: list[str], *, directory: Path, environment: Mapping[str, str]) -> str:
        """Play uv."""
        self.record(" ".join([Path(command[0]).name, *command[1:]]), environment)
        if command[-1] == "--no-dev":
            binaries = directory.parent / "venv" / "bin"
            binaries.mkdir(parents=True)
            (binaries / "gunicorn").touch()
        return ""

    @contextlib.contextmanager
    def app(self, folder: Path, _wsgi: str, environment: Mapping[str, str]) -> Iterator[FakeApp]:  # type: ignore[override]
        """Play the app's own steps."""
        yield FakeApp(self, folder, environment)

    def acting_as_user(self) -> contextlib.AbstractContextManager[None]:
        """Stay who we are."""
        return contextlib.nullcontext()

    def systemctl(self, *arguments: str) -> None:
        """Record what was asked of systemd."""
        self.record(" ".join(["systemctl", *arguments]), {})

    def sync(self, _folder: Path) -> None:
        """Do without."""

    @contextlib.contextmanager
    def migration_lock(self, _folder: Path, environment: Mapping[str, str]) -> Iterator[FakeLock]:  # type: ignore[override]
        """Record it, with the migrator's address."""
        self.record("lock", environment)
        yield FakeLock(self)
        self.record("unlock", {})

    def crashes(self, *, since: float) -> str:
        """Say how often Gunicorn is to have ended."""
        self.record(f"look for crashes since {since:.0f}", {})
        return self.crashed

    def leave(self) -> None:
        """Record it."""
        self.record("leave", {})
        self.leaving.parent.mkdir(parents=True, exist_ok=True)
        self.leaving.touch()

    def missing_to_import(self) -> str | None:
        """Say what is to leave too little memory."""
        return self.narrow()

    def missing_to_serve(self) -> str | None:
        """Say what is to be missing of the installation."""
        return self.unfinished()

    def journal(self, name: str = "gunicorn") -> str:
        """Say whose journal it would be."""
        return f"(journal of {name})"

    def health(self, domain: str, release: str, page: Page, which: str) -> Problem | None:
        """Say what is to be wrong with the release."""
        self.record(f"look at {page.path} of {domain}, {which}", {})
        return self.sickness(release, which)

    def shortcomings(self, domain: str, page: Page) -> list[str]:
        """Say what visitors are to miss."""
        self.record(f"look beside {page.path} of {domain}", {})
        return self.missed

    def examine(self, folder: Path, expected: Mapping[str, str]) -> tuple[list[tuple[str, str]], str]:
        """Say what is to be wrong with the settings."""
        settings = json.loads((folder / "environment.json").read_text())
        self.record(f"examine {expected['database']}", settings["env"])
        return self.found, self.import_problem

    def start_candidate(self, folder: Path) -> None:
        """Record it."""
        self.record(f"start candidate {folder.name}", {})
        if self.crowded:
            raise TooLittleMemory("gunicorn-candidate.service: was killed for lack of memory")

    def end_candidate(self) -> None:
        """Record it."""
        self.record("end candidate", {})

    def candidate_fits(self) -> None:
        """Agree, unless it is to have grown."""
        if self.outgrown:
            raise TooLittleMemory("gunicorn-candidate.service: was killed for lack of memory")


class World:
    """One Droplet with its buckets, over several looks of the agent."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spaces = FakeSpaces()
        self.machine = FakeMachine(root)
        monkeypatch.setattr(follow, "Spaces", self.spaces.client)
        monkeypatch.setattr(rollout, "HEALTH_DEADLINE", 0)
        monkeypatch.setattr(rollout, "CANDIDATE_DEADLINE", 0)

    def desire(
        self,
        attempt: int,
        *,
        marker: str = "1",
        sha256: str = "",
        python: str = "",
        lock: str = "uv.lock",
        allow: Sequence[str] = (),
        droplets: Sequence[str] = ("6", "7"),
        turns: Sequence[str] = ("7",),
        complete: bool = True,
        good: Mapping[str, str] | None = None,
        leaving: Sequence[str] = (),
    ) -> str:
        """Publish a release and wish for it; return its id."""
        tree = archive({"manage.py": marker, lock: ""})
        body = json.dumps(ENVIRONMENT | {"allow": [*allow]} | ({"python": python} if python else {})).encode()
        digest = sha256 or hashlib.sha256(tree).hexdigest()
        environment = hashlib.sha256(body).hexdigest()
        self.spaces.objects["releases", f"artifacts/{digest}.tar"] = tree
        self.spaces.objects["releases", f"environments/{environment}.json"] = body
        desired = {
            "release": f"{digest[:8]}-{environment[:8]}",
            "artifact": f"artifacts/{digest}.tar",
            "sha256": digest,
            "environment": f"environments/{environment}.json",
            "attempt": attempt,
            "droplets": [*droplets],
            "turns": [*turns],
            "complete": complete,
            "good": good,
            "leaving": [*leaving],
        }
        self.spaces.objects["releases", "desired.json"] = json.dumps(desired).encode()
        return str(desired["release"])

    def run(self) -> list[str]:
        """Start the agent and let it look once; return the phases that it reported."""
        self.spaces.reports.clear()
        self.machine.commands.clear()
        follow.Follower(machine=self.machine, config=CONFIG).try_to_look()
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


def archive(files: Mapping[str, str], *, links: Mapping[str, str] | None = None) -> bytes:
    """Return a tar archive, the same one for the same files, as provider/uploads/archive.py does."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content.encode()))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return buffer.getvalue()


def fail_at(word: str, text: str = "it broke") -> Behaviour:
    """Return a behaviour that fails at the command with this word."""

    def behaviour(command: str) -> None:
        if word in command.split():
            raise AgentError(f"`{word}` ended with status 1\n{text}")

    return behaviour
