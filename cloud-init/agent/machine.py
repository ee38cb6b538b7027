"""This Droplet: where things are, who runs them, what systemd and the metadata service say."""

import contextlib
import os
import pwd
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.app import confined
from agent.app.memory import failed, goes_first, memory
from agent.app.migration_lock import MigrationLock, migration_lock
from agent.app.steps import STEP_DEADLINE, AppSteps
from agent.errors import AgentError
from agent.health import Page, Problem, health, shortcomings
from agent.notify import alive
from protocol.health import UNHEALTHY_WITHIN

METADATA = "http://169.254.169.254/metadata/v1/"
PULSE = 5  # seconds between two signs of life to the watchdog
ENOUGH = 768 * 2**20  # bytes: apt and a release go side by side on a Droplet of 1 GiB, and not on one of 512 MiB
MOST_CRASHES = 5
CRASH = re.compile(r"\b\d{10}\b")  # in Gunicorn's status: seconds since 1970
WEB_PORTS = (80, 443)
ESTABLISHED = "01"
SHORTEST_LEAVE = 2  # seconds
LONGEST_LEAVE = 45  # seconds for the last requests; Gunicorn gives them 30
JOURNAL_LINES = 1000  # that an error is looked for in; of these the text shows few

# What the machine says about trust, proxies and package indexes; all else of root's environment stays out.
INHERITED = re.compile(r"UV_\w+|PIP_INDEX_URL|[A-Z]+_(CERT_FILE|CERT_DIR|CA_BUNDLE|PROXY)")


class Machine:
    """Where things are, and who runs them."""

    def __init__(self, root: Path = Path("/"), user: str = "release") -> None:
        self.user = user
        self.releases = root / "srv/app/releases"  # one folder per release: app, venv, static, environment.json
        self.current = root / "srv/app/current"  # the link to the release that serves
        self.candidate = root / "srv/app/candidate"  # the same for the one that is looked at
        self.gunicorn_service = root / "etc/systemd/system/gunicorn.service"
        self.gunicorn_socket = root / "etc/systemd/system/gunicorn.socket"
        self.state = root / "var/lib/release-agent/state.json"
        self.home = root / "srv/app/cache"  # of the user `release`
        self.uv = root / "opt/uv/bin/uv"
        self.packages = self.home / "uv"  # uv's cache: release-agent.service says so
        self.pythons = root / "srv/app/pythons"  # those that uv downloads
        # While it is there, Nginx answers a load balancer with 503; and what it is told to read meanwhile.
        self.leaving = root / "run/release-agent/leaving"
        self.farewell = root / "run/release-agent/farewell.conf"
        self.balanced = root / "etc/nginx/edge/balanced.conf"
        self.database_ca = root / "etc/release-agent/database-ca.crt"  # DATABASE_URL names it

    def droplet_id(self) -> str:
        """Return the id by which DigitalOcean, and so the runner, knows this Droplet."""
        return metadata("id")

    def alive(self) -> None:
        """Tell the watchdog that work goes on."""
        alive()

    @contextlib.contextmanager
    def acting_as_user(self) -> Iterator[None]:
        """Touch files as the user `release`, so that no link of its making leads root astray."""
        account = pwd.getpwnam(self.user)
        os.setgroups([])
        os.setegid(account.pw_gid)
        os.seteuid(account.pw_uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)

    def popen(
        self,
        command: list[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        **options: Any,  # noqa: ANN401 - those of Popen
    ) -> subprocess.Popen[bytes]:
        """Start code of the app as the user `release`, in a session and a clean environment of its own."""
        inherited = {name: value for name, value in os.environ.items() if INHERITED.fullmatch(name)}
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=inherited | {"HOME": str(self.home), "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"} | dict(environment),
            start_new_session=True,
            umask=0o022,
            user=self.user,
            group=self.user,
            extra_groups=[],
            **options,
        )
        goes_first(process.pid)
        return process

    def run(self, command: list[str], *, directory: Path, environment: Mapping[str, str]) -> str:
        """Run code of the app as the user `release` to its end; return what it printed."""
        process = self.popen(
            command,
            directory=directory,
            environment=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return self._finished(command, process)

    def _finished(self, command: list[str], process: subprocess.Popen[bytes]) -> str:
        """Wait for the end of a program that leads a session, with signs of life; return what it printed."""
        name = " ".join([Path(command[0]).name, *command[1:]])
        end = time.monotonic() + STEP_DEADLINE
        while True:
            try:
                output = process.communicate(timeout=PULSE)[0].decode(errors="replace")
                break
            except subprocess.TimeoutExpired:
                self.alive()
            if time.monotonic() > end:
                os.killpg(process.pid, signal.SIGKILL)
                output = process.communicate()[0].decode(errors="replace")
                raise AgentError(f"`{name}` did not end within {STEP_DEADLINE} s\n{output}")
        if process.returncode != 0:
            raise failed(name, process.returncode, output)
        return output

    def app(
        self, folder: Path, wsgi: str, environment: Mapping[str, str]
    ) -> contextlib.AbstractContextManager[AppSteps]:
        """Import the app of the release in `folder` as the user `release`, for steps that are taken in there."""
        binaries = folder / "venv" / "bin"
        return AppSteps(
            popen=self.popen,
            python=binaries / "python",
            directory=folder / "app",
            environment={"PATH": f"{binaries}:/usr/bin:/bin", **environment},
            wsgi=wsgi,
            deadline=STEP_DEADLINE,
            tick=self.alive,
        )

    def migration_lock(
        self, folder: Path, environment: Mapping[str, str]
    ) -> contextlib.AbstractContextManager[MigrationLock]:
        """Hold the lock for migrations, by the driver of the release in `folder`."""
        return migration_lock(self.popen, folder / "venv/bin/python", folder / "app", environment, self.alive)

    def sync(self, folder: Path) -> None:
        """Return when what was written to a folder's file system would survive a power cut."""
        self.system("sync", "--file-system", str(folder))

    def systemctl(self, *arguments: str) -> None:
        """Ask systemd for something; its own words say what went wrong."""
        self.system("systemctl", *arguments)

    def system(self, *command: str, errors: int = subprocess.STDOUT) -> str:
        """Run a program of the system, which may last longer than the watchdog waits; return what it printed.

        Its errors are among that, or go to the descriptor `errors`.
        """
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        return self._finished([*command], process)

    def missing_to_build(self) -> str | None:
        """Return what a build lacks, None once cloud-init/install.sh has come so far beside a first release."""
        return None if self.uv.exists() else f"{self.uv}: must be installed, is not"

    def missing_to_import(self) -> str | None:
        """Return what leaves the app too little memory, None where there is enough, or the installation has ended.

        Beside apt the kernel would end the app's steps: they are the first to go.
        """
        if memory("MemTotal") >= ENOUGH:
            return None
        installation = "cloud-final.service"  # cloud-init runs install.sh in it, and ends
        state = self.system("systemctl", "show", "--property=ActiveState", "--value", installation).strip()
        if state != "activating":
            return None
        return f"{installation}: must have ended where a Droplet has less than {ENOUGH // 2**20} MiB, is {state}"

    def missing_to_serve(self) -> str | None:
        """Return what visitors would miss, None once the installation has come so far.

        That is Nginx, and certificate.service's look for a certificate that was kept. A look that failed counts: a
        release must not wait for its repair.
        """
        names = "LoadState,ActiveState,ActiveEnterTimestampMonotonic,NRestarts"
        shown = self.system("systemctl", "show", f"--property={names}", "nginx.service", "certificate.service")
        nginx, certificate = (
            dict(line.split("=", 1) for line in unit.split("\n")) for unit in shown.strip().split("\n\n")
        )
        if nginx["ActiveState"] not in {"active", "reloading"}:
            return f"nginx.service: must be active, is {nginx['ActiveState']}"
        looked = certificate["ActiveEnterTimestampMonotonic"] != "0" or certificate["NRestarts"] != "0"
        # Behind a load balancer there is no such service.
        if not looked and certificate["LoadState"] != "not-found":
            return f"certificate.service: must have looked for a kept certificate, is {certificate['ActiveState']}"
        return None

    def journal(self, name: str = "gunicorn") -> str:
        """Return what a service has said since its last start: the cause of its end may be long before its end."""
        command = ["journalctl", f"--unit={name}.service", "--invocation=0", f"--lines={JOURNAL_LINES}"]
        command += ["--output=cat", "--no-pager"]
        # The app may have printed anything.
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stdout

    def health(self, domain: str, release: str, page: Page, which: str) -> Problem | None:
        """Return why the release does not serve, None when it does."""
        return health(domain, release, page, which)

    def shortcomings(self, domain: str, page: Page) -> list[str]:
        """Return what visitors of a release that serves would miss all the same."""
        return shortcomings(domain, page)

    def examine(self, folder: Path, expected: Mapping[str, str]) -> tuple[list[tuple[str, str]], str]:
        """Return what the settings of the release in `folder` make of the environment, and why its import fails."""
        return confined.examine(self, folder, expected)

    def start_candidate(self, folder: Path) -> None:
        """Start the release in `folder` beside the one that serves; raises TooLittleMemory where there is no room."""
        confined.start(self, folder)

    def end_candidate(self) -> None:
        """End what was started."""
        confined.end(self, confined.CANDIDATE)

    def candidate_fits(self) -> None:
        """Raise TooLittleMemory if the candidate has lost a process for lack of memory."""
        confined.require_memory(self, confined.CANDIDATE)

    def crashes(self, *, since: float) -> str:
        """Say how often Gunicorn or a worker ended before its time, "" when that is not too often.

        Gunicorn's own restarts count from its last switch; gunicorn.conf.py tells systemd of its workers.
        """
        shown = self.system("systemctl", "show", "--property=NRestarts,StatusText", "gunicorn.service")
        facts = dict(line.split("=", 1) for line in shown.strip().splitlines())
        ends = [float(end) for end in CRASH.findall(facts["StatusText"])]
        workers = sum(end > since for end in ends)
        if workers >= MOST_CRASHES:
            return f"{workers} of its workers ended before their time within {time.time() - since:.0f} s"
        if int(facts["NRestarts"]) >= MOST_CRASHES:
            return f"it ended {facts['NRestarts']} times"
        return ""

    def leave(self) -> None:
        """Send visitors away, each with the answer to what they ask; return when nobody is here any more.

        Those of a load balancer come until its checks have failed; others as long as they keep their connections.
        """
        self.leaving.touch()
        self.farewell.write_text("keepalive_timeout 0;\n")
        self.systemctl("reload", "nginx.service")
        least = UNHEALTHY_WITHIN if self.balanced.exists() else SHORTEST_LEAVE
        began = time.monotonic()
        while (waited := time.monotonic() - began) < LONGEST_LEAVE:
            if waited > least and not open_connections(*WEB_PORTS):
                return
            self.alive()
            time.sleep(0.25)

    def stay(self) -> None:
        """Let visitors come again, should they have been sent away."""
        if self.leaving.exists():
            self.farewell.unlink(missing_ok=True)
            self.systemctl("reload", "nginx.service")
            self.leaving.unlink()

    def free_memory(self) -> int:
        """Return how many bytes programs can still have, without swapping."""
        return memory("MemAvailable")


def open_connections(*ports: int) -> int:
    """Return how many connections to ports of this machine are open (linux, Documentation/networking/proc_net_tcp)."""
    tables = ("/proc/net/tcp", "/proc/net/tcp6")
    rows = [row.split() for table in tables for row in Path(table).read_text().splitlines()[1:]]
    ends = tuple(f":{port:04X}" for port in ports)
    return sum(row[1].endswith(ends) and row[3] == ESTABLISHED for row in rows)


def write(path: Path, text: str, mode: int) -> None:
    """Replace a file in one step, whenever the power goes away; it never has wider permissions."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def log(text: str) -> None:
    """Write to the journal."""
    print(text, flush=True)  # noqa: T201 - the journal is the reader


def metadata(name: str) -> str:
    """Ask the metadata service, which only root may; https://docs.digitalocean.com/reference/api/metadata/."""
    # Never by a proxy: the address is this machine's own.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(METADATA + name, timeout=5) as answer:
        text: str = answer.read().decode()
        return text.strip()


def link(name: Path, folder: Path) -> None:
    """Point a link at a folder in one step."""
    new = name.with_name(f"{name.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(folder)
    new.replace(name)


def serve(machine: Machine, release: str) -> None:
    """Point `current` at a release in one step, and restart Gunicorn behind its socket."""
    link(machine.current, machine.releases / release)
    # An earlier failure must not stop this start.
    machine.systemctl("reset-failed", "gunicorn.socket", "gunicorn.service")
    machine.systemctl("start", "gunicorn.socket")
    try:
        machine.systemctl("restart", "gunicorn.service")
    except AgentError as error:
        raise AgentError(f"{error}\n{machine.journal()}") from error


def serving(machine: Machine) -> str:
    """Return the release that is switched on, "" if none is."""
    return machine.current.readlink().name if machine.current.is_symlink() else ""
