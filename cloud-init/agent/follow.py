"""One look at the bucket, and what follows from it."""

import contextlib
import datetime as dt
import fcntl
import functools
import hashlib
import http
import http.client
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO

from agent.config import Config
from agent.errors import AgentError
from agent.health import health
from agent.machine import Machine, log, metadata, write
from agent.redaction import brief, redacted, secrets
from agent.spaces import Answer, Spaces, SpacesError
from agent.state import State
from agent.static import content_type, manifest_names
from protocol.document import DocumentError, json_object
from protocol.environment import Environment
from protocol.node import node_key
from protocol.release import DESIRED, Desired

KEPT_RELEASES = 5
HEALTH_DEADLINE = 30  # seconds; for so long a release that does not work is in front of visitors
UPLOADS_AT_ONCE = 8

# Asked of Django, because a project may have its own opinion about both.
STATIC_SETTINGS = """
import json, django
django.setup()
from django.conf import settings
print(json.dumps([str(settings.STATIC_ROOT), settings.STATIC_URL]))
"""
# An error shows its traceback; any other answer (a login, a redirect, not found) is the app's affair.
FIRST_PAGE = """
import sys, django
django.setup()
from django.test import Client
status = Client().get("/", secure=True, HTTP_HOST=sys.argv[1]).status_code
sys.exit(f"the first page answered {status}" if status >= 500 else 0)
"""


def unpack(file: IO[bytes], target: Path) -> None:
    """Unpack an archive; the `data` filter refuses what would leave the target."""
    try:
        with tarfile.open(fileobj=file, mode="r:gz") as archive:
            archive.extractall(target, filter="data")
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise AgentError(f"artifact: must be a gzipped tar archive without paths that leave it: {error}") from error


@dataclass(kw_only=True)
class Agent:
    """One look at the bucket, and what follows from it."""

    machine: Machine
    spaces: Spaces
    config: Config
    droplet_id: Callable[[], str]
    health: Callable[[str], str | None]
    state: State = field(default_factory=State)
    desired: Desired = field(init=False)
    environment: Environment = field(default_factory=Environment)

    def run(self) -> None:
        """Answer desired.json, unless that has been done."""
        self.recall()
        answer = self.ask()
        if answer.status == http.HTTPStatus.NOT_FOUND:
            if not (self.state.reported and self.state.phase == "waiting"):
                self.remember(State(good=self.state.good))
        elif answer.status == http.HTTPStatus.OK:
            self.answer(answer)
        elif not self.state.reported:
            self.remember(self.state)

    def ask(self) -> Answer:
        """Read desired.json, unless it is the one that the state is the answer to."""
        return self.spaces.get(self.config.releases_bucket, DESIRED, unless=self.state.etag)

    def answer(self, answer: Answer) -> None:
        """Run the release, unless this attempt has an end already."""
        try:
            self.desired = desired = Desired.parse(json_object(answer.body, DESIRED))
        except DocumentError as error:
            self.remember(replace(self.state, phase="failed", healthy=False, error=str(error), etag=answer.etag))
            return
        answered = (self.state.release, self.state.attempt) == (desired.release.release, desired.attempt)
        if answered and self.state.phase in {"done", "failed"}:
            self.remember(replace(self.state, etag=answer.etag))
            return
        started = State(release=desired.release.release, attempt=desired.attempt, good=self.state.good)
        self.state = started
        name = f"{desired.release.release}, attempt {desired.attempt}"
        try:
            self.roll_out(answer.body)
        except (AgentError, DocumentError, OSError) as error:  # OSError: a full disk, above all
            hidden = {self.config.secret_key: "[agent's key]", **secrets(self.environment)}
            text = brief(redacted(str(error), hidden))
            log(f"{name}: failed\n{text}")
            self.prune()
            self.remember(replace(started, phase="failed", error=text, etag=answer.etag))
        else:
            log(f"{name}: serves")
            self.remember(replace(started, phase="done", healthy=True, good=desired.release.release, etag=answer.etag))
            self.prune()
            self.compile()

    @property
    def folder(self) -> Path:
        """Where this release lives."""
        return self.machine.releases / self.desired.release.release

    @property
    def current(self) -> str:
        """The release that is switched on now."""
        return self.machine.current.readlink().name if self.machine.current.is_symlink() else ""

    def roll_out(self, document: bytes) -> None:
        """All steps; what raises leaves the release that served before in place."""
        if self.current == self.desired.release.release and self.health(self.desired.release.release) is None:
            return
        self.phase("fetch", self.fetch)
        if not (self.folder / "built").exists():
            self.phase("build", self.build)
        self.phase("check", self.check)
        self.phase("static", self.static)
        self.phase("migrate", self.migrate)
        self.phase("check", lambda: self.app("python", "-c", FIRST_PAGE, self.config.domain))
        if self.ask().body != document:
            raise AgentError("desired.json says something else by now, so this release was not switched on")
        # It is switched on already if the power went away right after that.
        previous = self.current if self.current != self.desired.release.release else self.state.good
        try:
            self.phase("switch", lambda: self.switch(self.desired.release.release))
            self.phase("health", self.wait_for_health)
        except (AgentError, OSError) as error:
            try:
                self.back_to(previous)
            except (AgentError, OSError) as second:
                raise AgentError(f"{error}\nand {previous} could not be brought back: {second}") from error
            raise

    def phase(self, name: str, step: Callable[[], object]) -> None:
        """Report and time one step."""
        self.remember(replace(self.state, phase=name))
        started = time.monotonic()
        step()
        log(f"{self.desired.release.release}: {name} {time.monotonic() - started:.1f} s")

    def fetch(self) -> None:
        """Environment, and the artifact unless it is here already."""
        body = self.spaces.read(self.config.releases_bucket, self.desired.release.environment)
        self.environment = Environment.parse(body, self.desired.release.environment)
        if (self.folder / "built").exists():
            return
        shutil.rmtree(self.folder, ignore_errors=True)  # of an attempt that was cut short
        artifact = self.spaces.read(self.config.releases_bucket, self.desired.release.artifact)
        if (digest := hashlib.sha256(artifact).hexdigest()) != self.desired.release.sha256:
            raise AgentError(
                f"{self.desired.release.artifact}: must have SHA-256 {self.desired.release.sha256}, got {digest}"
            )
        for name in ("app", "venv", "static"):
            (self.folder / name).mkdir(parents=True)
            shutil.chown(self.folder / name, self.machine.user)
        with self.machine.acting_as_user():
            unpack(io.BytesIO(artifact), self.folder / "app")

    def build(self) -> None:
        """Make the virtual environment of the locked packages, on the Droplet's own Python or the one that is named."""
        app, venv = self.folder / "app", self.folder / "venv"
        environment = {"UV_PROJECT_ENVIRONMENT": str(venv), "VIRTUAL_ENV": str(venv)}
        if self.environment.python:
            environment |= {
                "UV_PYTHON": self.environment.python,
                "UV_PYTHON_PREFERENCE": "system",
                "UV_PYTHON_DOWNLOADS": "automatic",
                "UV_PYTHON_INSTALL_DIR": str(self.machine.pythons),
            }
        uv = "/opt/uv/bin/uv"
        if (app / "uv.lock").is_file():
            commands = [[uv, "sync", "--frozen", "--no-dev"]]
        elif (app / "requirements.txt").is_file():
            commands = [
                [uv, "venv", "--quiet", "--allow-existing", str(venv)],
                # Named, because UV_PYTHON, the Droplet's own, comes before VIRTUAL_ENV.
                [uv, "pip", "install", "--python", str(venv), "--requirement", "requirements.txt"],
            ]
        else:
            raise AgentError("app: must hold uv.lock or requirements.txt, got neither; run `uv lock` in it")
        for command in commands:
            self.machine.run(command, directory=app, environment=environment)
        if not (venv / "bin" / "gunicorn").exists():
            raise AgentError("app: gunicorn must be one of its dependencies; run `uv add gunicorn` in it")
        # "built" must never be there without the files that it speaks of, whenever the power goes away.
        subprocess.run(["sync", "--file-system", self.folder], check=True)
        (self.folder / "built").touch()

    def compile(self) -> None:
        """Compile what the release step did not import, for Gunicorn, whose user can't write; nobody waits for it.

        What does not compile may be a template or a test's data: when the app imports it, `check` has said so.
        """
        python = str(self.folder / "venv/bin/python")
        with contextlib.suppress(AgentError):
            command = ["nice", "-n", "19", python, "-m", "compileall", "-q", "../venv/lib", "."]
            self.machine.run(command, directory=self.folder / "app", environment={})

    def settings(self) -> dict[str, str]:
        """Return the variables that the app is started with."""
        release = {"RELEASE": self.desired.release.release, "STATIC_ROOT": str(self.folder / "static")}
        return {**self.environment.env, **release}

    def app(self, *command: str, unless: str = "") -> str | None:
        """Run a program of the release as the release step; None when it failed with the words `unless`."""
        binaries = self.folder / "venv" / "bin"
        try:
            return self.machine.run(
                [str(binaries / command[0]), *command[1:]],
                directory=self.folder / "app",
                environment={"PATH": f"{binaries}:/usr/bin:/bin", **self.settings(), **self.environment.release_env},
            )
        except AgentError as error:
            if unless and re.search(unless, str(error)):
                return None
            raise

    def check(self) -> None:
        """Refuse, before anything is changed, what could not serve."""
        if self.environment.database_ca:
            write(self.machine.database_ca, self.environment.database_ca, 0o644)
        self.app("python", "manage.py", "check", "--deploy")
        self.app("gunicorn", "--check-config", "--config", "/etc/gunicorn/gunicorn.conf.py", self.environment.wsgi)

    def static(self) -> None:
        """Collect static files, then bring them to where STATIC_URL leads."""
        command = ("python", "manage.py", "collectstatic", "--noinput", "--verbosity", "0")
        if self.app(*command, unless="Unknown command: 'collectstatic'") is None:
            return  # the app has no static files
        answer = self.app("python", "-c", STATIC_SETTINGS) or ""
        try:
            root, url = json.loads(answer.splitlines()[-1])  # the app may print, too
        except (ValueError, IndexError) as error:
            raise AgentError(f"STATIC_ROOT and STATIC_URL: could not be read from the settings\n{answer}") from error
        if url.startswith("/"):
            self.serve_static(Path(os.path.normpath(root)))
        else:
            with self.machine.acting_as_user():
                self.publish_static(Path(root))

    def serve_static(self, root: Path) -> None:
        """Let Nginx find the files where it looks for them: the app did not ask for the CDN."""
        if not root.is_relative_to(self.folder):
            raise AgentError(f"STATIC_ROOT: must be below the project or the variable STATIC_ROOT, got {root}")
        static = self.folder / "static"
        if root != static and not static.is_symlink():
            static.rmdir()
            static.symlink_to(root)

    def publish_static(self, root: Path) -> None:
        """Upload the files whose hashed names are new; none is ever replaced or deleted."""
        names = manifest_names(root)
        there = self.spaces.list(self.config.assets_bucket, "static/")
        missing = sorted(name for name in names if f"static/{name}" not in there)
        parts = [missing[start::UPLOADS_AT_ONCE] for start in range(UPLOADS_AT_ONCE)]
        with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
            list(pool.map(lambda part: self.upload(root, part), parts))
        log(f"{self.desired.release.release}: {len(missing)} of {len(names)} static files uploaded")

    def upload(self, root: Path, names: list[str]) -> None:
        """Upload static files; a name changes with its content, so it may be kept for ever."""
        spaces = Spaces(self.config)  # a thread has its own connection
        for name in names:
            headers = {
                "cache-control": "public,max-age=31536000,immutable",
                "content-type": content_type(name),
                "x-amz-acl": "public-read",
            }
            try:
                body = (root / name).read_bytes()
                spaces.put(self.config.assets_bucket, f"static/{name}", body, headers)
            except SpacesError as error:
                raise AgentError(f"{error}; the agent's key must be allowed to, or see docs/releases.md") from error

    def migrate(self) -> None:
        """Bring the database to this release; make the first administrator, once."""
        self.app("python", "manage.py", "migrate", "--noinput")
        if "DJANGO_SUPERUSER_PASSWORD" in self.environment.release_env:
            fine = "is already taken|Unknown command: 'createsuperuser'"
            self.app("python", "manage.py", "createsuperuser", "--noinput", unless=fine)

    def switch(self, release: str) -> None:
        """Point `current` at a release in one step, and restart Gunicorn behind its socket."""
        folder = self.machine.releases / release
        if release == self.desired.release.release:
            settings = {"wsgi": self.environment.wsgi, "env": self.settings()}
            write(folder / "environment.json", json.dumps(settings), 0o600)
        link = self.machine.current.with_name("next")
        link.unlink(missing_ok=True)
        link.symlink_to(folder)
        link.replace(self.machine.current)
        # An earlier failure must not stop this start.
        self.machine.systemctl("reset-failed", "gunicorn.socket", "gunicorn.service")
        self.machine.systemctl("start", "gunicorn.socket")
        try:
            self.machine.systemctl("restart", "gunicorn.service")
        except AgentError as error:
            raise AgentError(f"{error}\n{self.journal()}") from error

    def wait_for_health(self) -> None:
        """Poll until the release serves."""
        deadline = time.monotonic() + HEALTH_DEADLINE
        while (problem := self.health(self.desired.release.release)) is not None:
            if time.monotonic() > deadline:
                raise AgentError(f"not healthy within {HEALTH_DEADLINE} s: {problem}\n{self.journal()}")
            time.sleep(0.25)

    def back_to(self, previous: str) -> None:
        """Let the release that served before serve again; without one, nothing serves."""
        log(f"{self.desired.release.release}: back to {previous or 'nothing'}")
        if previous:
            self.switch(previous)
        else:
            self.machine.systemctl("stop", "gunicorn.socket", "gunicorn.service")
            self.machine.current.unlink(missing_ok=True)

    def journal(self) -> str:
        """Return Gunicorn's last words."""
        command = ["journalctl", "--unit=gunicorn.service", "--lines=40", "--output=cat", "--no-pager"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def prune(self) -> None:
        """Remove what was not built to its end, and all but the last few releases, failed ones included."""
        folders = sorted(self.machine.releases.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for age, folder in enumerate(folders):
            useless = age >= KEPT_RELEASES or not (folder / "built").exists()
            if useless and folder.name not in {self.current, self.state.good}:
                shutil.rmtree(folder)

    def recall(self) -> None:
        """Read what an earlier run kept; without it everything is looked at again."""
        try:
            self.state = State(**json.loads(self.machine.state.read_bytes()))
        except FileNotFoundError:
            self.state = State()
        except (ValueError, TypeError) as error:
            log(f"{self.machine.state}: starting without it: {error}")

    def remember(self, state: State) -> None:
        """Keep the state, and tell the runner; what can't be told now is told by a later run."""
        at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self.keep(replace(state, at=at, reported=False))
        try:
            body = json.dumps(self.state.report()).encode()
            key = node_key(self.droplet_id())
            self.spaces.put(self.config.state_bucket, key, body, {"content-type": "application/json"})
        except (OSError, SpacesError) as error:
            log(f"the report has to wait: {error}")
        else:
            self.keep(replace(self.state, reported=True))

    def keep(self, state: State) -> None:
        """Keep the state; a full disk must not keep the runner from hearing of it."""
        self.state = state
        try:
            write(self.machine.state, json.dumps(asdict(state)), 0o600)
        except OSError as error:
            log(f"{self.machine.state}: {error}")

