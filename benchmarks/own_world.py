"""A full world for a benchmark alone, and cores for each of its machines."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.machine import CACHE, ROOT, command
from sandbox.machines import cgroups, machine
from sandbox.world import world as worlds

LOOK = 0.5  # seconds
CLUSTER, DROPLET = "c", "d"  # what machines' names begin with


@contextmanager
def own_world() -> Iterator[worlds.World]:
    """Start a world, and remove it whatever happens."""
    os.environ["PATH"] = os.pathsep.join([str(ROOT / ".venv/bin"), str(CACHE / "bin"), os.environ["PATH"]])
    home = worlds.default_home("full").with_name("benchmark")
    os.environ["SANDBOX_HOME"] = str(home)
    for one in (signal.SIGTERM, signal.SIGHUP):  # an exception, as Ctrl-C is
        signal.signal(one, lambda number, _frame: sys.exit(128 + number))
    with _alone(home.with_name("benchmark.lock")):
        down = command("sandbox", "down")
        subprocess.run(down, cwd=ROOT, check=True, stdout=sys.stderr)  # of a run that was killed
        try:
            subprocess.run(command("sandbox", "up", "--depth", "full"), cwd=ROOT, check=True, stdout=sys.stderr)
            yield worlds.load(home)
        finally:
            subprocess.run(down, cwd=ROOT, check=True, stdout=sys.stderr)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """End the program while another benchmark runs: all have one world, which the first to end would remove."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("another benchmark is running; wait for its end")
        yield


def inside(*argv: str) -> None:
    """Run a command on the internet side of the world; it has said itself why it failed."""
    done = subprocess.run(command("sandbox", "exec", *argv), cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def share(cores: set[int], server: int, client: int) -> dict[str, set[int]] | None:
    """Give the cluster's machine cores of its own, and what is left to the client; None where there is one core only.

    Each gets at most what its plan has: the server before the client, which has one at least.
    """
    if len(cores) < 2:  # noqa: PLR2004 - one for each
        return None
    free = sorted(cores)
    of_server = min(server, len(free) - 1)
    return {CLUSTER: {*free[:of_server]}, DROPLET: {*free[of_server : of_server + client]}}


@contextmanager
def watched(look: Callable[[], None]) -> Iterator[None]:
    """Do something twice a second as long as the block lasts; what fails of it fails the block in the end."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(LOOK):
            look()

    with ThreadPoolExecutor(max_workers=1) as thread:
        looking = thread.submit(go_on)
        try:
            yield
        finally:
            ended.set()
        looking.result()


def pin(world: worlds.World, shares: Mapping[str, set[int]]) -> None:
    """Keep every process of each machine on its machine's cores; those that it starts later are there, too."""
    for name in machine.names(world):
        for thread in _threads(name):
            with suppress(ProcessLookupError):  # it has ended meanwhile
                if os.sched_getaffinity(thread) != shares[name[0]]:
                    os.sched_setaffinity(thread, shares[name[0]])


def _threads(name: str) -> set[int]:
    """Return the ids of a machine's threads; of what ends just now they are found at the next look."""
    found: set[int] = set()
    with suppress(FileNotFoundError):  # a group
        for pid in cgroups.pids(name):
            with suppress(FileNotFoundError, ProcessLookupError):  # a process
                found.update(int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir())
    return found
