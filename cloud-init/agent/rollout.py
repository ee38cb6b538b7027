"""One attempt at a release: fetched, built, checked, migrated, switched on; or the one before it again."""

import contextlib
import hashlib
import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from agent import static
from agent.app.steps import AppSteps
from agent.config import Config
from agent.errors import AgentError
from agent.machine import Machine, log, write
from agent.spaces import Spaces
from protocol.environment import Environment
from protocol.release import Release

INSTALLATION_DEADLINE = 300  # seconds; cloud-init/install.sh goes on beside a first release
HEALTH_DEADLINE = 30  # seconds; for so long a release that does not work is in front of visitors
UNUSED_PACKAGES = 512 * 2**20  # bytes of uv's cache that no release has
GUNICORN_CONFIG = "/etc/gunicorn/gunicorn.conf.py"


@dataclass(kw_only=True)
class Rollout:
    """One attempt. `enter` hears of each phase; `still_desired` is asked before visitors get to see the release."""

    machine: Machine
    config: Config
    client: Callable[[], Spaces]  # makes one more client, for a thread of its own
    release: Release
    last_good: str  # the release that was last found healthy here, "" if none was
    enter: Callable[[str], None]
    still_desired: Callable[[], bool]
    environment: Environment = field(default_factory=Environment)
    spaces: Spaces = field(init=False)

    def __post_init__(self) -> None:
        self.spaces = self.client()

    def run(self) -> None:
        """Take all steps; what raises leaves the release that served before in place."""
        name = self.release.release
        if self.serving == name and self.machine.health(self.config.domain, name) is None:
            self.wait_while(self.machine.missing_to_serve)
            return
        self.phase("fetch", self.fetch)
        if not (self.folder / "built").exists():
            self.wait_while(self.machine.missing_to_build)
            self.phase("build", self.build)
        with self.app({}) as app:
            self.phase("check", lambda: self.check(app))
            self.phase("static", lambda: self.static(app))
        with self.app(self.environment.release_env) as app:
            self.phase("migrate", lambda: self.migrate(app))
        with self.app({}) as app:
            self.phase("check", lambda: app.first_page(self.config.domain))
        self.wait_while(self.machine.missing_to_serve)
        if not self.still_desired():
            raise AgentError("desired.json says something else by now, so this release was not switched on")
        # It is switched on already if the power went away right after that.
        previous = self.serving if self.serving != name else self.last_good
        try:
            self.phase("switch", lambda: self.switch(name))
            self.phase("health", self.wait_for_health)
        except Exception as error:  # also what nobody foresaw: visitors must not be left with this release
            try:
                self.back_to(previous)
            except (AgentError, OSError) as second:
                raise AgentError(f"{error}\nand {previous} could not be brought back: {second}") from error
            raise

    @property
    def folder(self) -> Path:
        """Where this release lives."""
        return self.machine.releases / self.release.release

    @property
    def serving(self) -> str:
        """The release that is switched on now."""
        return serving(self.machine)

    def phase(self, name: str, step: Callable[[], object]) -> None:
        """Report and time one step."""
        self.enter(name)
        started = time.monotonic()
        step()
        log(f"{self.release.release}: {name} {time.monotonic() - started:.1f} s")

    def fetch(self) -> None:
        """Environment, and the artifact unless it is here already."""
        body = self.spaces.read(self.config.releases_bucket, self.release.environment)
        self.environment = Environment.parse(body, self.release.environment)
        if (self.folder / "built").exists():
            return
        shutil.rmtree(self.folder, ignore_errors=True)  # of an attempt that was cut short
        self.folder.mkdir(parents=True)
        with (self.folder / "artifact").open("w+b") as file:
            self.spaces.download(self.config.releases_bucket, self.release.artifact, file)
            file.seek(0)
            if (digest := hashlib.file_digest(file, "sha256").hexdigest()) != self.release.sha256:
                raise AgentError(f"{self.release.artifact}: must have SHA-256 {self.release.sha256}, got {digest}")
            for name in ("app", "venv", "static"):
                (self.folder / name).mkdir()
                shutil.chown(self.folder / name, self.machine.user)
            file.seek(0)
            with self.machine.acting_as_user():
                unpack(file, self.folder / "app", self.machine.alive)
        (self.folder / "artifact").unlink()

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
        uv = str(self.machine.uv)
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
        self.machine.sync(self.folder)
        (self.folder / "built").touch()

    def app(self, more: Mapping[str, str]) -> contextlib.AbstractContextManager[AppSteps]:
        """Import the app, with more variables than Gunicorn gets, for steps that are taken in there."""
        return self.machine.app(self.folder, self.environment.wsgi, {**self.settings(), **more})

    def settings(self) -> dict[str, str]:
        """Return the variables that the app is started with."""
        release = {"RELEASE": self.release.release, "STATIC_ROOT": str(self.folder / "static")}
        return {**self.environment.env, **release}

    def check(self, app: AppSteps) -> None:
        """Refuse, before anything is changed, what could not serve."""
        if self.environment.database_ca:
            write(self.machine.database_ca, self.environment.database_ca, 0o644)
        app.manage("check", "--deploy")
        app.check_gunicorn()

    def static(self, app: AppSteps) -> None:
        """Collect static files, then bring them to where STATIC_URL leads."""
        root, url = app.static_settings()
        with self.machine.acting_as_user():
            static.age(Path(root), self.folder)
        command = ("collectstatic", "--noinput", "--verbosity", "0")
        if app.manage(*command, unless="Unknown command: 'collectstatic'") is None:
            return  # the app has no static files
        app.close()  # its memory is worth more to the uploads
        if url.startswith("/"):
            static.serve(Path(os.path.normpath(root)), self.folder)
        else:
            with self.machine.acting_as_user():
                static.publish(Path(root), self.config, self.client)

    def migrate(self, app: AppSteps) -> None:
        """Bring the database to this release; make the first administrator, once."""
        app.manage("migrate", "--noinput")
        if "DJANGO_SUPERUSER_PASSWORD" in self.environment.release_env:
            fine = "is already taken|Unknown command: 'createsuperuser'"
            app.manage("createsuperuser", "--noinput", unless=fine)

    def wait_while(self, missing: Callable[[], str | None]) -> None:
        """Poll until nothing is missing: a first release is made while cloud-init/install.sh goes on."""
        deadline = time.monotonic() + INSTALLATION_DEADLINE
        while (problem := missing()) is not None:
            if time.monotonic() > deadline:
                raise AgentError(
                    f"{problem}, for {INSTALLATION_DEADLINE} s; see /var/log/cloud-init-output.log and "
                    "`systemctl status nginx certificate` on the Droplet"
                )
            self.machine.alive()
            time.sleep(0.25)

    def switch(self, release: str) -> None:
        """Point `current` at a release in one step, and restart Gunicorn behind its socket."""
        folder = self.machine.releases / release
        if release == self.release.release:
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
            raise AgentError(f"{error}\n{self.machine.journal()}") from error

    def wait_for_health(self) -> None:
        """Poll until the release serves."""
        deadline = time.monotonic() + HEALTH_DEADLINE
        while (problem := self.machine.health(self.config.domain, self.release.release)) is not None:
            if time.monotonic() > deadline:
                raise AgentError(f"not healthy within {HEALTH_DEADLINE} s: {problem}\n{self.machine.journal()}")
            self.machine.alive()
            time.sleep(0.25)

    def back_to(self, previous: str) -> None:
        """Let the release that served before serve again; without one, nothing serves."""
        log(f"{self.release.release}: back to {previous or 'nothing'}")
        if previous:
            self.switch(previous)
        else:
            self.machine.systemctl("stop", "gunicorn.socket", "gunicorn.service")
            self.machine.current.unlink(missing_ok=True)

    def compile(self) -> None:
        """Compile what the steps did not import, for Gunicorn, whose user can't write; nobody waits for it.

        What does not compile may be a template or a test's data: when the app imports it, `check` has said so.
        """
        python = str(self.folder / "venv/bin/python")
        with contextlib.suppress(AgentError, OSError):
            command = ["nice", "-n", "19", python, "-m", "compileall", "-q", "../venv/lib", "."]
            self.machine.run(command, directory=self.folder / "app", environment={})

    def tidy(self) -> None:
        """Keep uv's cache from growing for ever; nobody waits for it.

        uv itself forgets only what it can't use. What no release has is forgotten with all the rest, once it is much:
        the kept releases have links of their own to what they have, and the next build fills the cache again.
        """
        uv = ["nice", "-n", "19", str(self.machine.uv), "cache"]
        with contextlib.suppress(AgentError, OSError):
            self.machine.run([*uv, "prune", "--quiet"], directory=self.machine.home, environment={})
            if unlinked(self.machine.packages) > UNUSED_PACKAGES:
                self.machine.run([*uv, "clean", "--quiet"], directory=self.machine.home, environment={})


def unlinked(folder: Path) -> int:
    """Return the bytes of a folder's files that have no name elsewhere, too."""
    found = (path.lstat() for path in folder.rglob("*") if not path.is_symlink() and path.is_file())
    return sum(file.st_size for file in found if file.st_nlink == 1)


def serving(machine: Machine) -> str:
    """Return the release that is switched on, "" if none is."""
    return machine.current.readlink().name if machine.current.is_symlink() else ""


def unpack(file: IO[bytes], target: Path, alive: Callable[[], None]) -> None:
    """Unpack an archive, with signs of life; the `data` filter refuses what would leave the target."""

    def checked(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        alive()
        return tarfile.data_filter(member, path)

    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            archive.extractall(target, filter=checked)  # noqa: S202 - by a filter that is Python's own
    except (tarfile.TarError, EOFError) as error:
        raise AgentError(f"artifact: must be a tar archive without paths that leave it: {error}") from error
