"""One attempt at a release: fetched, built, checked, migrated, switched on; or the one before it again."""

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from agent import static
from agent.app.confined import TooLittleMemory
from agent.app.install import install
from agent.app.migrate import NO_SLOT, UNLOCKED, migrate
from agent.app.migration_lock import MigrationLock
from agent.app.remedies import NOT_MIGRATED, explained, forbidden, remedy
from agent.app.steps import GUNICORN_CONFIG, AppSteps
from agent.app.superuser import make_superuser
from agent.config import Config
from agent.errors import AgentError
from agent.health import Page, Problem
from agent.machine import Machine, link, log, serve, serving, write
from agent.spaces import Spaces
from protocol.environment import Environment
from protocol.release import Release

INSTALLATION_DEADLINE = 300  # seconds; cloud-init/install.sh goes on beside a first release
# Seconds in which what may pass is tried again; the last try may wait as long as visitors may (agent/health.py).
HEALTH_DEADLINE = 30  # a release that does not work is in front of visitors
CANDIDATE_DEADLINE = 10  # nobody but the person who deploys waits for it
WARNING = re.compile(r".+: \(\w+(\.\w+)*\.W[0-9]+\) ")
# Those of `check --deploy` about what Nginx does here: HSTS and the redirect to HTTPS.
EDGE_DOES = re.compile(r"security\.W00[48]")
UNUSED_PACKAGES = 512 * 2**20  # bytes of uv's cache that no release has


@dataclass(kw_only=True)
class Rollout:
    """One attempt: `prepare`, and when it is this Droplet's turn, `finish`.

    `enter` hears of each phase; `still_desired` is asked before visitors get to see the release.
    """

    machine: Machine
    config: Config
    client: Callable[[], Spaces]  # makes one more client, for a thread of its own
    release: Release
    served_by: str  # what /healthz says of this Droplet
    last_good: str  # the release that was last found healthy here, "" if none was
    enter: Callable[[str], None]
    still_desired: Callable[[], bool]
    environment: Environment = field(default_factory=Environment)
    notes: list[str] = field(default_factory=list)  # what a person should know though the release serves
    spaces: Spaces = field(init=False)
    migrated: list[str] = field(default_factory=list)  # that this attempt has applied
    prepared: bool = False
    serves: bool = False  # already
    later: list[str] = field(default_factory=list)  # steps that need what only the migrations make

    def __post_init__(self) -> None:
        self.spaces = self.client()

    def prepare(self) -> None:
        """Take the steps that change nothing for visitors, once."""
        if self.prepared:
            return
        name = self.release.release
        body = self.spaces.read(self.config.releases_bucket, self.release.environment)
        self.environment = Environment.parse(body, self.release.environment)
        self.serves = self.serving == name and self.health("current") is None
        if not self.serves:
            self.make()
        self.prepared = True

    def make(self) -> None:
        """Fetch and build the release, and try what needs no migrations."""
        self.phase("fetch", self.fetch)
        if not (self.folder / "built").exists():
            self.wait_while(self.machine.missing_to_build)
            self.phase("build", self.build)
        self.wait_while(self.machine.missing_to_import)
        self.later = self.take(("check", "static", "examine"), migrated=False)

    def finish(self, *, migrates: bool) -> None:
        """Let visitors have what was prepared; one Droplet of all migrates the database before."""
        name = self.release.release
        if self.serves:
            self.wait_while(self.machine.missing_to_serve)
            return
        if migrates:
            self.phase("migrate", self.migrate)
        if self.later:
            self.take(self.later, migrated=True)
        self.wait_while(self.machine.missing_to_serve)
        self.phase("look", self.look_at_candidate)
        if not self.still_desired():
            raise AgentError("desired.json says something else by now, so this release was not switched on")
        # It is switched on already if the power went away right after that.
        previous = self.serving if self.serving != name else self.last_good
        try:
            self.phase("switch", self.switch)
            self.phase("health", self.wait_for_health)
        except Exception as error:  # also what nobody foresaw: visitors must not be left with this release
            try:
                self.back_to(previous)
            except (AgentError, OSError) as second:
                raise AgentError(f"{error}\nand {previous} could not be brought back: {second}") from error
            raise
        self.machine.alive()
        self.notes += self.machine.shortcomings(self.config.domain, self.page)

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
        """Fetch the artifact unless it is here already."""
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
            fix = "run `uv add gunicorn` in it"
        elif (app / "requirements.txt").is_file():
            commands = [
                [uv, "venv", "--quiet", "--allow-existing", str(venv)],
                # Named, because UV_PYTHON, the Droplet's own, comes before VIRTUAL_ENV.
                [uv, "pip", "install", "--python", str(venv), "--requirement", "requirements.txt"],
            ]
            fix = "add a line for it to requirements.txt"
        else:
            raise AgentError("app: must hold uv.lock or requirements.txt, got neither; run `uv lock` in it")
        for command in commands:
            install(self.machine, command, app, environment)
        if not (venv / "bin" / "gunicorn").exists():
            raise AgentError(f"app: gunicorn must be one of its dependencies; {fix}")
        # "built" must never be there without the files that it speaks of, whenever the power goes away.
        self.machine.sync(self.folder)
        (self.folder / "built").touch()

    def take(self, names: Sequence[str], *, migrated: bool) -> list[str]:
        """Take steps that change nothing for visitors; return those that need what only the migrations make."""
        later = []
        steps = {"check": self.check, "static": self.static, "examine": self.examine}
        with self.app({}) as app:
            for name in names:
                try:
                    self.phase(name, functools.partial(steps[name], app))
                except AgentError as error:
                    if migrated or not NOT_MIGRATED.search(str(error)):
                        raise AgentError(explained(str(error))) from error
                    later.append(name)
        return later

    def app(self, more: Mapping[str, str]) -> contextlib.AbstractContextManager[AppSteps]:
        """Import the app, with more variables than Gunicorn gets, for steps that are taken in there."""
        return self.machine.app(self.folder, self.environment.wsgi, {**self.settings(), **more})

    def settings(self) -> dict[str, str]:
        """Return the variables that the app is started with."""
        release = {
            "RELEASE": self.release.release,
            "SERVED_BY": self.served_by,
            "STATIC_ROOT": str(self.folder / "static"),
        }
        return {**self.environment.env, **release}

    def check(self, app: AppSteps) -> None:
        """Refuse, before anything is changed, what Django finds wrong; say what it warns of."""
        if self.environment.database_ca:
            write(self.machine.database_ca, self.environment.database_ca, 0o644)
        printed = app.manage("check", "--deploy") or ""
        warnings = [line for line in printed.splitlines() if WARNING.match(line) and not EDGE_DOES.search(line)]
        if warnings:
            self.notes.append("\n".join(["manage.py check --deploy warns:", *warnings]))

    def static(self, app: AppSteps) -> None:
        """Collect static files, then bring them to where STATIC_URL leads."""
        said, url = app.static_settings()
        root, is_ours = Path(os.path.normpath(said)), url.startswith("/")
        with self.machine.acting_as_user():
            static.age(Path(said), self.folder)
        command = ("collectstatic", "--noinput", "--verbosity", "0")
        try:
            if app.manage(*command, unless="Unknown command: 'collectstatic'") is None:
                return  # the app has no static files
        except AgentError:
            if is_ours:
                static.require_inside(root, self.folder)  # it says more of /var/www than that nothing can be made there
            raise
        app.close()  # its memory is worth more to the uploads
        if is_ours:
            static.serve(root, self.folder)
        else:
            with self.machine.acting_as_user():
                static.publish(Path(said), self.config, self.client)

    def examine(self, app: AppSteps) -> None:
        """Import the app as Gunicorn will, and refuse settings that are not what was given."""
        app.close()  # two imports at once would need twice the memory
        self.write_settings()
        expected = {
            "domain": self.config.domain,
            "database": self.environment.database,
            "wsgi": self.environment.wsgi,
            "gunicorn_config": GUNICORN_CONFIG,
        }
        found, problem = self.machine.examine(self.folder, expected)
        self.notes += [text for text, name in found if name == "note"]
        refused = [(text, name) for text, name in found if name not in {"note", *self.environment.allow}]
        texts = [text + (f"; or accept it: app.allow: [{name}]" if name else "") for text, name in refused]
        # What migrations would fix says nothing beside settings for which there will be none.
        if problem and not (texts and NOT_MIGRATED.search(problem)):
            why = forbidden(problem) or remedy(problem)
            what = f"`import {self.environment.wsgi}` must work as Gunicorn runs it, does not"
            texts.append(f"{what}{f'; {why}' if why else ''}\n{problem}")
        if texts:
            raise AgentError("\n".join(texts))

    def look_at_candidate(self) -> None:
        """Look at the release as a visitor will, before visitors do; where there is no room for both, after that."""
        link(self.machine.candidate, self.folder)
        try:
            self.machine.start_candidate(self.folder)
            self.wait_for_health("candidate")
        except TooLittleMemory as error:
            self.notes.append(f"the release was looked at only once visitors had it: {error}")
        finally:
            self.machine.end_candidate()
            self.machine.candidate.unlink(missing_ok=True)

    def migrate(self) -> None:
        """Bring the database to this release; make the first administrator, once, or note why there is none."""
        try:
            with self.machine.migration_lock(self.folder, self.environment.release_env) as lock:
                self.change_database(lock)
        except AgentError as error:
            if not NO_SLOT.search(str(error)):
                raise
            self.notes.append(UNLOCKED)
            self.change_database(None)

    def change_database(self, lock: MigrationLock | None) -> None:
        """Do so by the migrator's one connection, beside which the lock has another."""
        with self.app(self.environment.release_env) as app:
            migrate(app, lock, self.migrated, self.machine.alive)
            if "DJANGO_SUPERUSER_PASSWORD" in self.environment.release_env:
                self.notes += make_superuser(app, first=not self.last_good)

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

    def switch(self) -> None:
        """Let visitors have the release."""
        self.write_settings()
        serve(self.machine, self.release.release)

    def write_settings(self) -> None:
        """Write what Gunicorn is started with; the migrator's is not in it."""
        document = {"wsgi": self.environment.wsgi, "env": self.settings()}
        write(self.folder / "environment.json", json.dumps(document), 0o600)

    def left_behind(self) -> str:
        """Say what a failure leaves behind in the database, "" when it is nothing."""
        if not self.migrated:
            return ""
        serving = f"release {self.serving} serves" if self.serving else "nothing serves yet"
        return f"\nThese migrations stay in the database, on which {serving}: {', '.join(self.migrated)}"

    @property
    def page(self) -> Page:
        """The page that visitors must get."""
        return Page(
            path=self.environment.health_path,
            statuses=tuple(self.environment.health_status),
            elsewhere="redirect-elsewhere" in self.environment.allow,
        )

    def health(self, which: str) -> Problem | None:
        """Return why the release does not serve, as the candidate or as the current one; None when it does."""
        return self.machine.health(self.config.domain, self.release.release, self.page, which)

    def wait_for_health(self, which: str = "current") -> None:
        """Poll until the release serves."""
        deadline = time.monotonic() + (HEALTH_DEADLINE if which == "current" else CANDIDATE_DEADLINE)
        unit = "gunicorn" if which == "current" else f"gunicorn-{which}"
        while (problem := self.health(which)) is not None:
            if which == "candidate":
                self.machine.candidate_fits()
            if problem.lasting or time.monotonic() > deadline:
                raise AgentError(f"{problem.text}\n{self.machine.journal(unit)}")
            self.machine.alive()
            time.sleep(0.25)

    def back_to(self, previous: str) -> None:
        """Let the release that served before serve again; without one, nothing serves."""
        log(f"{self.release.release}: back to {previous or 'nothing'}")
        if previous:
            serve(self.machine, previous)
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
