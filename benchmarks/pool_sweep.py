"""Answers: which size of the pool is the best, on plans of 1, 2 and 4 GiB.

As benchmarks/pool.py, with one cluster that grows from plan to plan: `python -m benchmarks.pool_sweep`, 55 minutes. It
needs root, two cores, and a machine without a full world; in the cloud nobody sees a cluster's memory.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import click

from benchmarks.machine import RESULTS, publish, table
from benchmarks.own_world import CLUSTER, inside, own_world, pin, share, watched
from benchmarks.pool import BUFFERS, MAKING, PLAN_CORES, scale, scaled
from operations.benchmark import measure, pgbench, rig
from operations.benchmark.account import Account, BenchmarkError, until
from operations.benchmark.pgbench import Case, Run, Script
from operations.benchmark.pool import made, progress
from operations.benchmark.verdict import Spread
from sandbox.machines import cgroups, machine
from sizing.budget import pool_size
from sizing.plans import database_memory

PLANS = ("db-s-1vcpu-1gb", "db-s-1vcpu-2gb", "db-s-2vcpu-4gb")
SCRIPTS: tuple[Script, ...] = ("TPC-B", "SELECT")
CLIENTS = 150
SIZES = 6  # at most, on each plan
RESIZED = 600.0  # seconds
DROPLET = "s-2vcpu-4gb"


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One measurement, the plan and pool that it was made with, and the most memory that the cluster used meanwhile."""

    plan: str
    size: int
    run: Run
    memory_mib: int = 0
    killed: int = 0  # processes that the kernel has ended for the plan's memory


def sizes(most: int) -> list[int]:
    """Return the sizes to try on a plan: all that it has, and powers of two below."""
    powers = [2**exponent for exponent in range(1, 12) if 2**exponent < most]
    return [*powers[-(SIZES - 1) :], most]


def cases(seconds: int, rounds: int) -> list[tuple[str, int, Case]]:
    """Return plan, size and measurement in their order: a plan's sizes up and down again, round by round."""
    return [
        (plan, size, Case(script=script, clients=CLIENTS, way="pool", seconds=seconds, round=number))
        for plan in PLANS
        for number in range(1, rounds + 1)
        for size in (sizes(pool_size(plan, 0)) if number % 2 else reversed(sizes(pool_size(plan, 0))))
        for script in SCRIPTS
    ]


def measured(seconds: int, rounds: int, scale_: int, file: Path) -> None:
    """Measure everything, on the internet side of the world; a line of JSON for each measurement."""
    plan = cases(seconds, rounds)
    account, say = Account(), progress(time.monotonic())
    estimate = pgbench.duration([case for _, _, case in plan], scale_, MAKING)
    say(f"{len(plan)} measurements, about {measure.minutes(estimate)}")
    order = rig.Order(
        name=rig.new_name(datetime.now(UTC) + timedelta(seconds=2 * estimate)),
        region="nyc3", plan=PLANS[0], client=DROPLET, pool_size=pool_size(PLANS[0], 0),
    )  # fmt: skip
    with made(account, order, say) as there, file.open("w") as lines:
        measure.fill(there, scale_, say)
        has, began = PLANS[0], time.monotonic()
        for number, (name, size, case) in enumerate(plan):
            if name != has:
                resize(there, name)
                has = name
            left = (time.monotonic() - began) / number * (len(plan) - number) if number else estimate
            say(f"{name}, pool of {size}, round {case.round}: {case.script}; about {measure.minutes(left)} left")
            point = Point(plan=name, size=size, run=measure.one_of(there, case, size))
            lines.write(json.dumps(asdict(point)) + "\n")


def resize(there: rig.Rig, plan: str) -> None:
    """Give the cluster another plan, and wait until it answers again."""
    there.set_pool(None)
    path = f"databases/{there.cluster_id}"
    there.account.change(f"{path}/resize", {"size": plan, "num_nodes": 1})
    until(
        f"cluster with {plan}", RESIZED,
        lambda: True if there.account.one(path, "database")["status"] == "online" else None,
    )  # fmt: skip
    there.client.ask("answers", service="direct")


def read(file: Path, seen: Sequence[tuple[float, int, int]]) -> list[Point]:
    """Return the measurements, with what was seen of the cluster's memory meanwhile: time, MiB, processes ended."""
    points = []
    for line in file.read_text().splitlines():
        document = json.loads(line)
        run = Run(**document["run"])
        during = [row for row in seen if run.began <= row[0] <= run.began + run.took]
        memory = max((mib for _, mib, _ in during), default=0)
        ended = during[-1][2] - during[0][2] if during else 0
        points.append(Point(**document | {"run": run, "memory_mib": memory, "killed": ended}))
    return points


def against_all(points: Iterable[Point], plan: str, script: str, size: int) -> Spread | None:
    """Return a size's throughput divided by that of all that the plan has, round by round; None without pairs."""
    by = {
        (point.size, point.run.round): point.run.tps
        for point in points
        if (point.plan, point.run.script) == (plan, script)
    }
    most = pool_size(plan, 0)
    rounds = sorted(number for one, number in by if one == size and by.get((most, number)))
    values = tuple(by[size, number] / by[most, number] for number in rounds)
    return Spread(values) if values else None


def verdicts(points: Sequence[Point]) -> Iterator[str]:
    """Say of each plan what is better than all that it has, by more than the noise."""
    for plan in PLANS:
        most = pool_size(plan, 0)
        for script in SCRIPTS:
            found = {size: against_all(points, plan, script, size) for size in sizes(most) if size != most}
            if all(one is None or len(one.values) == 1 for one in found.values()):
                yield f"{plan}, {script}: not decided, one round has no spread."
                continue
            better = {size: one for size, one in found.items() if one and one.low > 1}
            if better:
                best = max(better, key=lambda size: better[size].middle)
                also = [str(size) for size in better if size != best]
                yield (
                    f"{plan}, {script}: {best} is better than {most} ({better[best]} times as fast)"
                    f"{', and so are ' + ', '.join(also) if also else ''}."
                )
            else:
                yield f"{plan}, {script}: none is better by more than the noise than {most}, all that the plan leaves."


def body(points: Sequence[Point], seconds: int, rounds: int, scale_: int) -> str:
    """Return the page below its head."""
    rows: list[tuple[object, ...]] = []
    keys = dict.fromkeys((point.plan, point.run.script, point.size) for point in points)
    for plan, script, size in sorted(keys, key=lambda key: (PLANS.index(key[0]), SCRIPTS.index(key[1]), key[2])):
        found = [point for point in points if (point.plan, point.run.script, point.size) == (plan, script, size)]
        tps = [point.run.tps for point in found]
        p99 = median(point.run.p99_ms or 0 for point in found)
        rows.append(
            (
                plan, script, size, f"{median(tps):.0f} ({min(tps):.0f} to {max(tps):.0f})",
                against_all(points, plan, script, size) or "", f"{p99:.0f} ms",
                f"{max(point.memory_mib for point in found)} of {database_memory(plan) * 1024} MiB",
                sum(point.killed for point in found), f"{median(point.run.client_busy for point in found):.0%}",
            )
        )  # fmt: skip
    head = ("plan", "", "pool", "transactions a second", "against all", "p99", "memory", "ended for it", "client busy")
    about = (
        f"{CLIENTS} clients through a transaction pool, {rounds} rounds of {seconds} s, scale {scale_} "
        f"({scale_ * pgbench.MIB_PER_SCALE} MiB); one cluster, resized from plan to plan. ± is the rounds' "
        "range, at least 3 %; memory is the most that was used, without files' caches. Otherwise as [pool.md](pool.md)."
    )
    notes = [*scaled(len(os.sched_getaffinity(0))), BUFFERS]
    says = "\n".join(f"- {line}" for line in verdicts(points))
    return "\n\n".join([about, *notes, says, table(head, rows)])


@click.command()
@click.option("--seconds", default=15, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--scale", "wanted", default=pgbench.SCALE, show_default=True)
@click.option("--inside", "file", type=click.Path(path_type=Path), hidden=True)
def main(seconds: int, rounds: int, wanted: int, file: Path | None) -> None:
    """Measure in a world of its own, and publish."""
    if file:
        measured(seconds, rounds, wanted, file)
        return
    shares = share(os.sched_getaffinity(0), PLAN_CORES, PLAN_CORES)
    if shares is None:
        raise BenchmarkError("cores: must be two at least, one for the server and one for the client, is one")
    scale_ = min(wanted, scale())
    seen: list[tuple[float, int, int]] = []

    with tempfile.TemporaryDirectory() as folder, own_world() as world:

        def look() -> None:
            pin(world, shares)
            for name in machine.names(world):
                with suppress(FileNotFoundError):  # it is being made, or removed
                    room = cgroups.room(name)
                    if name.startswith(CLUSTER):
                        seen.append((time.time(), (room.limit - room.available) // 2**20, cgroups.kills(name)))

        lines = Path(folder) / "points.jsonl"
        argv = ["python", "-m", "benchmarks.pool_sweep", f"--seconds={seconds}", f"--rounds={rounds}"]
        with watched(look):
            inside(*argv, f"--scale={scale_}", f"--inside={lines}")
        points = read(lines, seen)
    (RESULTS / "pool_sweep.json").write_text(json.dumps([asdict(point) for point in points], indent=1) + "\n")
    publish("pool_sweep", "Which size of the pool is the best?", body(points, seconds, rounds, scale_))


if __name__ == "__main__":
    main()
