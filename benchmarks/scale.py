"""Answers: what do many Droplets cost whoever runs Pulumi: how long previews and updates take with 1, 10, 50 and 200.

A stack for each number in one world of its own at the depth `api`, where simulated nodes play the Droplets: `python -m
benchmarks.scale [ROUNDS [COUNT…]]`. No root is needed, but 50 MiB of memory for each Droplet. Previews are made by turns,
before the first `pulumi up` and after it.
"""

import os
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

ROUNDS = 5
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
        argv = ["sandbox", "exec", "pulumi", name, "--non-interactive", "--stack", self.stack]
        return [*argv, "--config-file", str(self.file), *options]

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
    run("sandbox", "up", "--depth", "api", "--home", str(home))
    try:
        run("sandbox", "switch", "droplet-limit", "300")
        yield worlds.load(home)
    finally:
        run("sandbox", "down")


def previews(stacks: list[Fleet], rounds: int) -> dict[int, Took]:
    """Preview all by turns; return the medians."""
    for fleet in stacks:
        run(*fleet.command("preview"))  # warms caches
    took = by_turns({str(fleet.count): fleet.command("preview") for fleet in stacks}, rounds)
    return {int(name): one for name, one in took.items()}


def calls(world: worlds.World, after: int = 0) -> int:
    """Return how many calls the API has got after a certain one."""
    store = Store(world.database, read_only=True)
    try:
        return len(store.requests(after))
    finally:
        store.close()


def main() -> None:
    """Measure in a new world and publish; exit status 1 when a preview of many takes more than the limit."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    counts = [*map(int, sys.argv[2:])] or [*COUNTS]
    rows: list[tuple[object, ...]] = []
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        home = Path(folder, "project")
        home.mkdir()
        stacks = fleets(counts, home)
        with api_world(Path(folder, "world")) as world:
            for fleet in stacks:
                fleet.make()
            new = previews(stacks, rounds)
            made, asked = {}, {}
            for fleet in stacks:
                before = calls(world)
                made[fleet.count] = run(*fleet.command("up", "--yes", "--skip-preview"))
                asked[fleet.count] = calls(world, before)
            old = previews(stacks, rounds)
            again = by_turns(
                {
                    str(fleet.count): fleet.command("up", "--yes", "--skip-preview", "--expect-no-changes")
                    for fleet in stacks
                },
                3,
            )
            for fleet in stacks:
                count = fleet.count
                first, second, unchanged = new[count], old[count], again[str(count)]
                rows.append(
                    (
                        count,
                        *(f"{one.elapsed:.1f} ({one.processor:.1f})" for one in (first, second)),
                        *(f"{one[count].elapsed / one[counts[0]].elapsed:.2f}" for one in (new, old)),
                        f"{made[count].elapsed:.0f} ({made[count].processor:.0f})",
                        asked[count],
                        f"{unchanged.elapsed:.1f} ({unchanged.processor:.1f})",
                        f"{fleet.state() / 2**20:.1f}",
                    )
                )
    database = stacks[0].settings["django-do:database"]["size"]
    web = stacks[0].settings["django-do:web"]
    head = (
        *("Droplets", "preview before the first `up`, s", "preview after it, s", "times", "times", "first `up`, s"),
        *("its calls of the API", "`up` with nothing to do, s", "state, MiB"),
    )
    publish(
        "scale",
        "What do many Droplets cost whoever runs Pulumi?",
        f"Medians of {rounds} previews each and of 3 `up` with nothing to do, by turns, the whole command's time (`sandbox exec` "
        f"included): elapsed, and in brackets the processor's in all its processes. Each stack has a load balancer, {database}, "
        f"and 1 worker with {web['threads']} threads on each Droplet. The aim is that a preview of {MORE} takes at most "
        f"{LIMIT:.0f} times one of {OF}.\n\n" + table(head, rows) + "\n\n" + EXPLAINED,
    )
    if {OF, MORE} <= {*counts}:
        sys.exit(max(one[MORE].elapsed / one[OF].elapsed for one in (new, old)) > LIMIT)


EXPLAINED = ""


if __name__ == "__main__":
    main()
