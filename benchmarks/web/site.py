"""A full world of its own with the polls app on the smallest Droplet that is usual, and what its processes compute."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import ROOT, command
from benchmarks.own_world import own_world
from sandbox.machines import cgroups, machine
from sandbox.machines.machine import Machine
from sandbox.parts.databases import clusters
from sandbox.world import world as worlds

URL = "https://polls.example"
DROPLET_CORE, OTHER_CORE = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")
# Of a process's name and arguments; what the release's environment runs is the app, whatever serves it.
WHOSE = {"nginx": "nginx", "gunicorn": "gunicorn|/srv/app/.*/venv/", "pgbouncer": "pgbouncer", "postgres": "postgres"}
READY = 30  # seconds that a restarted app has until it answers


@dataclass(frozen=True, kw_only=True)
class Site:
    """The deployed site, from the outside and from below."""

    world: worlds.World

    def machine(self, kind: str) -> Machine:
        """Return the machine of the one Droplet ("d") or the one cluster ("c")."""
        [name] = [name for name in machine.names(self.world) if name.startswith(kind)]
        return machine.load_machine(self.world, name)

    @property
    def droplet(self) -> Machine:
        """The Droplet."""
        return self.machine("d")

    @property
    def cluster(self) -> Machine:
        """The database cluster: PgBouncer and PostgreSQL."""
        return self.machine("c")

    def ask(self, *argv: str, check: bool = True) -> str:
        """Run curl on the internet side; return what it printed."""
        return subprocess.run(
            command("sandbox", "exec", "curl", "--silent", "--show-error", "--max-time", "20", *argv),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=check,
        ).stdout

    def wait(self) -> None:
        """Wait until the app answers."""
        deadline = time.monotonic() + READY
        shown = ("--output", "/dev/null", "--write-out", "%{http_code}")
        while (status := self.ask(*shown, f"{URL}/questions/1/", check=False)) != "200":
            if time.monotonic() > deadline:
                said = self.droplet.run(["journalctl", "--unit=gunicorn.service", "--lines=30", "--no-pager"]).stdout
                sys.exit(f"{URL}: must answer 200 within {READY} s, got {status}\n{said}")

    def pools(self) -> dict[str, int]:
        """Return PgBouncer's counts of the app's pool, such as `cl_waiting`."""
        shown = pooler(self.cluster, "SHOW POOLS")
        [row] = [row for row in shown if row["user"] == "app"]
        return {name: int(value) for name, value in row.items() if value.isdigit()}

    def database(self) -> str:
        """Name of the app's database, which the direct endpoint has."""
        [row] = [row for row in pooler(self.cluster, "SHOW DATABASES") if row["name"] not in {"_auth", "pgbouncer"}]
        return row["database"]

    def pin(self) -> None:
        """Give the Droplet a core of its own, and the other one to all else of this world, and to what starts here."""
        if os.cpu_count() == 1:
            sys.exit("throughput is measured on 2 cores or more, got 1")
        droplet = cgroups.pids(self.droplet.name)
        for pids, core in ((droplet, DROPLET_CORE), (cgroups.pids() - droplet, OTHER_CORE)):
            for pid in pids:
                for thread in _threads(pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.sched_setaffinity(thread, {core})
        os.sched_setaffinity(0, {OTHER_CORE})

    def processor(self) -> dict[str, float]:
        """Seconds of processor time so far, by program: `nginx`, `gunicorn`, …, `others d` (of the Droplet)."""
        spent: dict[str, float] = defaultdict(float)
        for here in (self.droplet, self.cluster):
            for pid in cgroups.pids(here.name):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    name, seconds = _spent(pid)
                    found = (program for program, pattern in WHOSE.items() if re.search(pattern, name))
                    spent[next(found, f"others {here.name[0]}")] += seconds
        return dict(spent)


def _threads(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
    return []


def _spent(pid: int) -> tuple[str, float]:
    """Return what a process is, and its seconds and those of its children that have ended."""
    name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    fields = rest.split()
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return f"{name} {arguments}", sum(map(int, fields[11:15])) / TICKS


def pooler(cluster: Machine, question: str) -> list[dict[str, str]]:
    """Ask PgBouncer's console, as the operator of the cluster does."""
    argv = ("psql", "--csv", "-h", "/var/run/postgresql", "-p", str(clusters.POOL_PORT), "-U", "pgbouncer", "pgbouncer")
    done = cluster.run(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *argv, "-c", question])
    names, *rows = [line.split(",") for line in done.stdout.strip().splitlines()]
    return [dict(zip(names, row, strict=True)) for row in rows]


@contextlib.contextmanager
def deployed() -> Iterator[Site]:
    """Start a world, deploy the app to it, and remove all of it in the end."""
    with own_world() as world:
        subprocess.run(
            command("scripts/stack", "local", "up", "--yes", "--skip-preview"),
            cwd=ROOT,
            stdout=sys.stderr,
            check=True,
        )
        try:
            yield Site(world=world)
        finally:
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
