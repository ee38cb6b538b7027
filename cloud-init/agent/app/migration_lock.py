"""The lock under which one Droplet alone migrates the database; whoever holds it learns what a migration waits for."""

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from agent.app.process import Popen
from agent.errors import AgentError

PROGRAM = Path(__file__).with_name("hold_lock.py")
PATIENCE = 1800  # seconds for another Droplet's migrations, as long as they may take
PULSE = 5  # seconds between two calls of `tick`
ENDING = 5  # seconds


class MigrationLock:
    """A program that holds the lock."""

    def __init__(self, process: subprocess.Popen[bytes], tick: Callable[[], None]) -> None:
        self._process = process
        self._tick = tick
        assert process.stdout
        self._said = process.stdout.fileno()
        self._unread = b""

    def wait(self) -> None:
        """Return when the lock is held, or when there is none to hold."""
        end = time.monotonic() + PATIENCE
        while b"\n" not in self._unread:
            if select.select([self._said], [], [], PULSE)[0]:
                data = os.read(self._said, 65536)
                if not data:
                    errors = self._process.communicate()[1].decode(errors="replace")
                    raise AgentError(f"the lock for migrations can't be had\n{errors}")
                self._unread += data
            if time.monotonic() > end:
                raise AgentError(f"the lock for migrations was not free within {PATIENCE} s: another Droplet has it")
            self._tick()
        self._unread = self._unread.partition(b"\n")[2]

    def last_wait(self) -> str:
        """Return what a migration has waited for, and who kept it; "" when that was not seen."""
        while select.select([self._said], [], [], 0)[0] and (data := os.read(self._said, 65536)):
            self._unread += data
        lines = self._unread.decode(errors="replace").splitlines()
        return lines[-1].partition(" ")[2] if lines else ""


@contextlib.contextmanager
def migration_lock(
    popen: Popen, python: Path, directory: Path, environment: Mapping[str, str], tick: Callable[[], None]
) -> Iterator[MigrationLock]:
    """Hold the lock; `environment` has the migrator's DATABASE_URL."""
    process = popen(
        [str(python), "-I", str(PROGRAM)],
        directory=directory,
        environment=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        lock = MigrationLock(process, tick)
        lock.wait()
        yield lock
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=ENDING)  # its input ends, and so does it
        process.kill()
        process.wait()
