"""A world's processes, run by supervisord: put, remove, restart, signal and list them."""

import contextlib
import os
import shlex
import subprocess
import sys
import xmlrpc.client
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from supervisor.xmlrpc import Faults, SupervisorTransport  # type: ignore[import-untyped]

from sandbox.world.waiting import until
from sandbox.world.world import World, WorldError

SOCKET_PATH_MAX = (
    104  # bytes of sun_path on the narrowest system (107 on Linux); supervisord adds a suffix while binding
)
SHUTDOWN_DEADLINE = 60.0  # seconds: the longest stop_wait, and some
START_DEADLINE = 15.0  # seconds


class SupervisorError(WorldError):
    """supervisord or one of its programs did not do as told; the text names the log to read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """One supervised process. Times in seconds; lower priorities start earlier and stop later."""

    name: str
    command: list[str]
    autorestart: bool | Literal["unexpected"] = True
    exit_codes: tuple[int, ...] = (0,)
    stop_wait: int = 10
    environment: dict[str, str] = field(default_factory=dict)
    directory: Path | None = None
    user: str | None = None
    priority: int = 999


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessStatus:
    """What supervisord says of a process; pid is 0 when there is none."""

    name: str
    state: str
    pid: int
    description: str


class Supervisor:
    """supervisord of one world, spoken to over its unix socket."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.socket = world.run / "supervisor.sock"
        self.pid_file = world.run / "supervisord.pid"
        self.folder = world.run / "supervisor.d"
        self.configuration = world.run / "supervisord.conf"

    def problem(self) -> str | None:
        """Say why supervisord can't run in this world's home, or None."""
        limit = SOCKET_PATH_MAX - len(".12345678")
        if len(os.fsencode(self.socket)) > limit:
            return (
                f"--home: the path of a unix socket in it may have {limit} bytes, got {self.socket}; use a shorter path"
            )
        return None

    def start(self) -> None:
        """Start supervisord with no program; one that runs already is kept with its programs."""
        if self.running():
            return
        if problem := self.problem():
            raise SupervisorError(problem)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.world.logs.mkdir(parents=True, exist_ok=True)
        # Programs of a supervisord that died are put again by those who own them, in their order.
        for stale in (*self.folder.glob("*.ini"), self.socket, self.pid_file):
            stale.unlink(missing_ok=True)
        self.configuration.write_text(self._render())
        command = [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(self.configuration)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise SupervisorError(f"supervisord did not start: {(done.stderr or done.stdout).strip()}")
        log = self.world.logs / "supervisord.log"
        until(
            lambda: None if self.running() else "does not answer",
            START_DEADLINE,
            lambda last: SupervisorError(f"supervisord {last}; see {log}"),
        )

    def stop(self) -> None:
        """Stop every program and supervisord itself, and wait until it is gone."""
        if not self.running():
            return
        with self._rpc() as rpc:
            pid = rpc.getPID()
            rpc.stopAllProcesses(False)  # noqa: FBT003 - do not wait; left alone, shutdown() stops one after the other
            rpc.shutdown()

        def missing() -> str | None:
            if not _alive(pid):
                return None
            self.running()  # wakes supervisord, which else looks once a second whether a program has ended
            return f"supervisord (pid {pid}) did not stop within {SHUTDOWN_DEADLINE:.0f} s"

        until(missing, SHUTDOWN_DEADLINE, SupervisorError)

    def running(self) -> bool:
        """Whether supervisord answers."""
        if not self.socket.exists():
            return False
        try:
            with self._rpc() as rpc:
                return bool(rpc.getState()["statename"] == "RUNNING")
        except (SupervisorError, OSError, xmlrpc.client.Error):
            return False

    def pid(self) -> int:
        """Process id of supervisord."""
        with self._rpc() as rpc:
            return int(rpc.getPID())

    def put(self, program: Program) -> None:
        """Make this program run as described: add it, replace it when it changed, start it when it is not running."""
        path = self.folder / f"{program.name}.ini"
        text = self._render_program(program)
        known = program.name in {status.name for status in self.status()}
        if not known or not path.exists() or path.read_text() != text:
            part = path.with_suffix(".part")
            part.write_text(text)
            part.chmod(0o600)  # environments may hold secrets
            part.rename(path)
            with self._rpc() as rpc:
                rpc.reloadConfig()
                if known:
                    self._stop(rpc, program.name)
                    rpc.removeProcessGroup(program.name)
                rpc.addProcessGroup(program.name)
        with self._rpc() as rpc:
            self._start(rpc, program.name)

    def remove(self, name: str) -> None:
        """Stop a program and forget it; unknown names are fine."""
        (self.folder / f"{name}.ini").unlink(missing_ok=True)
        with self._rpc() as rpc:
            rpc.reloadConfig()
            try:
                self._stop(rpc, name)
                rpc.removeProcessGroup(name)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode != Faults.BAD_NAME:
                    raise

    def restart(self, name: str) -> None:
        """Stop a program, wait for its end, and start it."""
        with self._rpc() as rpc:
            self._stop(rpc, name)
            self._start(rpc, name)

    def halt(self, name: str) -> None:
        """Stop a program and keep it, so that `restart` starts it again; returns when it has ended."""
        with self._rpc() as rpc:
            self._stop(rpc, name)

    def signal(self, name: str, signal: str) -> None:
        """Send a signal, "HUP" for example."""
        with self._rpc() as rpc, self._explained(name):
            rpc.signalProcess(name, signal)

    def status(self) -> list[ProcessStatus]:
        """All programs, by name."""
        with self._rpc() as rpc:
            return [
                ProcessStatus(
                    name=info["name"], state=info["statename"], pid=info["pid"], description=info["description"]
                )
                for info in rpc.getAllProcessInfo()
            ]

    @contextlib.contextmanager
    def _rpc(self) -> Iterator[Any]:
        # The XML-RPC interface: http://supervisord.org/api.html
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self.socket}")
        proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        try:
            yield proxy.supervisor
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise SupervisorError(f"{self.world.home}: supervisord does not answer; run `sandbox up`") from error
        except xmlrpc.client.Error as error:
            log = self.world.logs / "supervisord.log"
            raise SupervisorError(f"{self.world.home}: supervisord refuses: {error}; see {log}") from error
        finally:
            transport.close()

    @contextlib.contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except xmlrpc.client.Fault as fault:
            log = self.world.logs / f"{name}.log"
            raise SupervisorError(f"process {name}: {fault.faultString}; see {log}") from fault

    def _start(self, rpc: Any, name: str) -> None:  # noqa: ANN401 - a dynamic proxy
        with self._explained(name):
            try:
                rpc.startProcess(name, False)  # noqa: FBT003 - XML-RPC has no keywords; False: do not wait startsecs
            except xmlrpc.client.Fault as fault:
                if fault.faultCode != Faults.ALREADY_STARTED:
                    raise

    def _stop(self, rpc: Any, name: str) -> None:  # noqa: ANN401 - a dynamic proxy
        try:
            rpc.stopProcess(name)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != Faults.NOT_RUNNING:
                raise

    def _render(self) -> str:
        user = "user=root\n" if os.geteuid() == 0 else ""  # said explicitly, else supervisord warns at each start
        return (
            f"[supervisord]\n{user}nodaemon=false\nlogfile={_plain(str(self.world.logs / 'supervisord.log'))}\n"
            f"pidfile={_plain(str(self.pid_file))}\nminfds=1024\nminprocs=64\numask=022\n"
            f"[unix_http_server]\nfile={_plain(str(self.socket))}\nchmod=0600\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[include]\nfiles={_plain(str(self.folder))}/*.ini\n"
        )

    def _render_program(self, program: Program) -> str:
        restart = program.autorestart if isinstance(program.autorestart, str) else str(program.autorestart).lower()
        lines = [
            f"[program:{program.name}]",
            f"command={_plain(shlex.join(program.command))}",
            "autostart=false",  # put() starts it: it learns at once when that fails
            f"autorestart={restart}",
            f"exitcodes={','.join(str(code) for code in program.exit_codes)}",
            "startsecs=1",
            "startretries=10",
            "stopsignal=TERM",
            f"stopwaitsecs={program.stop_wait}",
            "killasgroup=true",
            f"stdout_logfile={_plain(str(self.world.logs / program.name))}.log",
            "stdout_logfile_maxbytes=20MB",
            "stdout_logfile_backups=1",
            "redirect_stderr=true",
            f"priority={program.priority}",
        ]
        if program.environment:
            pairs = ",".join(f"{key}={_quoted(value)}" for key, value in sorted(program.environment.items()))
            lines.append(f"environment={_plain(pairs)}")
        if program.directory:
            lines.append(f"directory={_plain(str(program.directory))}")
        if program.user:
            lines.append(f"user={program.user}")
        return "\n".join(lines) + "\n"


def _plain(value: str) -> str:
    """Escape a value for supervisord's configuration, which expands % and can't hold some characters at all."""
    if any(bad in value for bad in ("\n", " ;", " #")):
        raise ValueError(f"supervisord can't hold a line break, ' ;' or ' #' in a value, got {value!r}")
    return value.replace("%", "%%")


def _quoted(value: str) -> str:
    """Quote the value of an environment variable: supervisord knows quotes but no escapes."""
    if '"' not in value:
        return f'"{value}"'
    if "'" not in value:
        return f"'{value}'"
    raise ValueError(f"supervisord can't hold both kinds of quotes in a variable, got {value!r}")


def _alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie (PID 1 of a container may be slow to collect them)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
