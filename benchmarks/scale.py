"""Answers: what do many Droplets cost whoever runs Pulumi: how long previews and updates take with 1, 10, 50 and 200.

A stack for each number in one world of its own at the depth `api`, where simulated nodes play the Droplets: `python -m
benchmarks.scale [ROUNDS [COUNT…]]`. No root is needed, but 50 MiB of memory for each Droplet. Previews are made by
turns, before the first `pulumi up` and after it.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.machine import CACHE, ROOT, publish, table
from benchmarks.preview import Took, by_turns, run
from sandbox.model.store import Store
from sandbox.world import world as worlds
from sizing.budget import POOL_CLIENTS, pool_size
from sizing.editions import NEW_STANDARD_GIB, STANDARD
from sizing.plans import database_memory

ROUNDS, UPDATES = 5, 3
COUNTS = (1, 10, 50, 200)
LIMIT, OF, MORE = 2.0, 1, 50  # a preview of MORE Droplets takes at most so many times one of OF


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """A stack with so many Droplets; all fleets have the same size of everything else."""

    count: int
    home: Path
    settings: dict[str, Any]

    @property
    def stack(self) -> str:
        """Its name."""
        return f"scale{self.count}"

    @property
    def file(self) -> Path:
        """Its settings, beside which Pulumi has written the salt of its secrets."""
        return self.home / f"Pulumi.{self.stack}.yaml"

    def make(self) -> None:
        """Make the stack in the running world."""
        (self.home / "Pulumi.yaml").write_bytes((ROOT / "Pulumi.yaml").read_bytes())
        (self.home / "provider").unlink(missing_ok=True)
        (self.home / "provider").symlink_to(ROOT / "provider")
        run("sandbox", "exec", "pulumi", "stack", "init", self.stack, "--cwd", str(self.home), "--non-interactive")
        made = yaml.safe_load(self.file.read_text())
        self.file.write_text(yaml.safe_dump(made | {"config": self.settings}))

    def command(self, name: str, *options: str) -> list[str]:
        """Return a Pulumi command on it."""
        argv = ["pulumi", name, "--non-interactive", "--stack", self.stack, "--config-file", str(self.file), *options]
        return ["sandbox", "exec", *argv]

    def quick_preview(self) -> list[str]:
        """Return the command as scripts/stack has it."""
        within, run_in, *argv = self.command("preview")
        return [within, run_in, "env", "PULUMI_SKIP_CHECKPOINTS=true", *argv]

    def state(self) -> int:
        """Return the size of its state, in bytes."""
        [file] = (self.home.parent / "world/pulumi/state/.pulumi/stacks").glob(f"*/{self.stack}.json")
        return file.stat().st_size


def plan(threads: int) -> str:
    """Return the smallest database plan sold to new clusters with a backend for each thread, or else the largest."""
    sold = sorted((size for size in STANDARD.plans if size.startswith("db-s-")), key=database_memory)
    sold = [size for size in sold if database_memory(size) <= NEW_STANDARD_GIB]
    return next((size for size in sold if pool_size(size, 0) >= threads), sold[-1])


def fleets(counts: list[int], home: Path) -> list[Fleet]:
    """Return a stack for each number: what differs is that alone, and what two stacks of an account may not share."""
    most = max(counts)
    threads = min(4, POOL_CLIENTS // (2 * most))  # of a Droplet, so that the pool accepts all while they are replaced
    local = yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())["config"]
    found = []
    for number, count in enumerate(counts):
        web = local["django-do:web"] | {"count": count, "loadBalancer": True, "workers": 1, "threads": threads}
        settings = local | {
            "django-do:name": f"scale-{count}",
            "django-do:domain": f"scale{count}.example",
            "django-do:network": {"cidr": f"10.{100 + number}.0.0/20"},
            "django-do:database": local["django-do:database"] | {"size": plan(most * threads)},
            "django-do:web": web,
        }
        found.append(Fleet(count=count, home=home, settings=settings))
    return found


@contextmanager
def api_world(home: Path) -> Iterator[worlds.World]:
    """Start a world whose account may have many Droplets, and remove it whatever happens."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else it compiles the project anew each time, and nothing else
    os.environ["PATH"] = os.pathsep.join([str(ROOT / ".venv/bin"), str(CACHE / "bin"), os.environ["PATH"]])
    os.environ["SANDBOX_HOME"] = str(home)
    for one in (signal.SIGTERM, signal.SIGHUP):  # an exception, as Ctrl-C is
        signal.signal(one, lambda number, _frame: sys.exit(128 + number))
    run("sandbox", "up", "--depth", "api", "--home", str(home))
    try:
        run("sandbox", "switch", "droplet-limit", "300")
        yield worlds.load(home)
    finally:
        run("sandbox", "down")


def previews(stacks: list[Fleet], rounds: int) -> dict[int, list[Took]]:
    """Preview all by turns, in both ways; return the medians."""
    programs = {}
    for fleet in stacks:
        run(*fleet.command("preview"))  # warms caches
        programs |= {f"{fleet.count} plain": fleet.command("preview"), f"{fleet.count} quick": fleet.quick_preview()}
    took = by_turns(programs, rounds)
    return {fleet.count: [took[f"{fleet.count} plain"], took[f"{fleet.count} quick"]] for fleet in stacks}


def last_call(world: worlds.World) -> int:
    """Return the number of the last call that the API has got."""
    store = Store(world.database, read_only=True)
    try:
        return max((request["number"] for request in store.requests()), default=0)
    finally:
        store.close()


def shown(took: Took) -> str:
    """Show the clock's time and, in brackets, the processor's."""
    return f"{took.elapsed:.1f} ({took.processor:.1f})"


def main() -> None:
    """Measure in a new world and publish; exit status 1 when a preview of many takes more than the limit."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    counts = [*map(int, sys.argv[2:])] or [*COUNTS]
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        home = Path(folder, "project")
        home.mkdir()
        stacks = fleets(counts, home)
        with api_world(Path(folder, "world")) as world:
            for fleet in stacks:
                fleet.make()
            new = previews(stacks, rounds)
            updates: list[tuple[object, ...]] = []
            for fleet in stacks:
                before = last_call(world)
                first = run(*fleet.command("up", "--yes", "--skip-preview"))
                updates.append((fleet.count, shown(first), last_call(world) - before))
            old = previews(stacks, rounds)
            no_changes = ("--yes", "--skip-preview", "--expect-no-changes")
            again = by_turns({str(fleet.count): fleet.command("up", *no_changes) for fleet in stacks}, UPDATES)
            updates = [
                (*row, shown(again[str(fleet.count)]), f"{fleet.state() / 2**20:.1f}")
                for row, fleet in zip(updates, stacks, strict=True)
            ]
    rows = [
        (
            state,
            count,
            *(cell for one, of in zip(took[count], took[counts[0]], strict=True) for cell in compared(one, of)),
        )
        for state, took in (("not deployed", new), ("deployed", old))
        for count in counts
    ]
    settings = stacks[0].settings
    publish(
        "scale",
        "What do many Droplets cost whoever runs Pulumi?",
        f"Medians of {rounds} previews each, and of {UPDATES} `up` with nothing to do, by turns, the whole command's "
        "time (`sandbox exec` included): elapsed, and in brackets the processor's in all its processes. Each stack has "
        f"a load balancer, {settings['django-do:database']['size']}, and on each Droplet one worker with "
        f"{settings['django-do:web']['threads']} threads. The aim is that a preview of {MORE} Droplets takes at most "
        f"{LIMIT:.0f} times one of {OF}. [What grows, and why](../../docs/benchmarks.md#many-droplets).\n\n"
        + table(("stack", "Droplets", "`pulumi preview`, s", "times", "`scripts/stack … preview`, s", "times"), rows)
        + "\n\n"
        + table(("Droplets", "first `up`, s", "calls of the API", "`up` with nothing to do, s", "state, MiB"), updates),
    )
    if {OF, MORE} <= {*counts}:
        both = (took[MORE][way].elapsed / took[OF][way].elapsed for took in (new, old) for way in (0, 1))
        sys.exit(max(both) > LIMIT)


def compared(took: Took, of: Took) -> tuple[str, str]:
    """Show a time, and how many times another one it is, by the clock and by the processor."""
    return shown(took), f"{took.elapsed / of.elapsed:.2f} ({took.processor / of.processor:.2f})"


if __name__ == "__main__":
    main()
