"""What is measured, in which order, and what pgbench says of it."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from operations.benchmark.account import BenchmarkError

Way = Literal["direct", "pool"]
Script = Literal["TPC-B", "SELECT", "SELECT, connecting"]

CLIENTS = (50, 150)  # the tutorial's
THREADS = 2  # the tutorial's -j
SCALE = 150  # the tutorial's -s
MIB_PER_SCALE = 16  # 15 MB of tables and indexes for each unit, measured with PostgreSQL 17
KEPT_FREE_MIB = 4096  # for WAL (max_wal_size is 1 GiB), and what DigitalOcean has on a cluster's disk
WARM_UP = 5  # seconds
OPTIONS: Mapping[Script, tuple[str, ...]] = {
    "TPC-B": (),
    "SELECT": ("--select-only",),
    "SELECT, connecting": ("--select-only", "--connect"),
}
# Of how many transactions the latency is written down: it costs the client, and 10 % of a SELECT's are thousands.
SAMPLING: Mapping[Script, float] = {"TPC-B": 1.0, "SELECT": 0.1, "SELECT, connecting": 1.0}
# What a measurement takes beside pgbench, in seconds, until the first ones have told.
AROUND = 12.0
SECONDS_PER_SCALE = 0.5  # to fill the tables
MAKING = 600.0  # seconds until cluster and client are there: DigitalOcean takes minutes for a cluster
STEPS_DOWN = 5  # clients that may be refused after all, though so many connections were just open


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One measurement to make."""

    script: Script
    clients: int
    way: Way
    seconds: int
    round: int = 1

    def __str__(self) -> str:
        way = "through the pool" if self.way == "pool" else "direct"
        return f"{self.script}, {self.clients} clients, {way}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One measurement that was made. Latencies in milliseconds."""

    round: int
    script: str
    clients: int
    way: str
    seconds: int
    accepted: int  # connections, of as many as there are clients
    refused: int
    refusal: str  # the server's own words, empty without one
    measured: int  # clients that pgbench was started with
    aborted: int  # clients that ended before their time
    transactions: int
    tps: float
    latency_ms: float | None  # None: no transaction was finished
    p99_ms: float | None
    client_busy: float  # of the cores that pgbench can use, 0 to 1
    began: float  # seconds since 1970, of the client's clock
    took: float  # seconds


def schedule(seconds: int, rounds: int, *, others: bool = True) -> list[Case]:
    """Return the measurements in their order: ways alternate, so that what drifts is on both sides.

    What the tutorial has not, the others, is measured half as long. A connection for each transaction is measured with
    few clients: with many, those of the last transaction are still ending when the next ones come, and are too many.
    """
    short = max(1, seconds // 2)
    plan: list[tuple[Script, int, int]] = [("TPC-B", clients, seconds) for clients in CLIENTS]
    if others:
        plan += [("SELECT", clients, short) for clients in CLIENTS]
        plan += [("SELECT, connecting", CLIENTS[0], short)]
    ways: list[Way] = ["direct", "pool"]
    return [
        Case(script=script, clients=clients, way=way, seconds=length, round=number)
        for number in range(1, rounds + 1)
        for script, clients, length in plan
        for way in (ways if number % 2 else reversed(ways))
    ]


def duration(cases: list[Case], scale: int, making: float = MAKING) -> float:
    """Estimate in seconds how long a run takes."""
    return making + scale * SECONDS_PER_SCALE + sum(case.seconds + warm_up(case) + AROUND for case in cases)


def warm_up(case: Case) -> int:
    """Return how many seconds a measurement is rehearsed: never longer than it lasts."""
    return min(WARM_UP, case.seconds)


def scale_that_fits(wanted: int, disk_gib: int) -> int:
    """Return the scale, or the largest that a disk has room for."""
    return max(1, min(wanted, (disk_gib * 1024 - KEPT_FREE_MIB) // MIB_PER_SCALE))


def arguments(case: Case, clients: int, seconds: int) -> list[str]:
    """Return pgbench's arguments for so many of the case's clients."""
    threads = min(THREADS, clients)
    return [
        *OPTIONS[case.script],
        f"--client={clients}", f"--jobs={threads}", f"--time={seconds}", f"service={case.way}",
    ]  # fmt: skip


def filling(scale: int) -> list[str]:
    """Return pgbench's arguments to fill the tables, on the server itself."""
    return ["--initialize", "--init-steps=dtGvp", f"--scale={scale}", "--quiet", "service=direct"]


def read(case: Case, connected: Mapping[str, Any], answer: Mapping[str, Any]) -> Run:
    """Understand what pgbench said of a measurement; raises BenchmarkError when it has no result."""
    output, errors = str(answer["output"]), str(answer["errors"])
    aborted = len(set(re.findall(r"client (\d+) aborted", errors)))
    numbers = {
        "transactions": _number(r"^number of transactions actually processed: (\d+)", output),
        "tps": _number(r"^tps = ([\d.]+)", output),
        "latency": _number(r"^latency average = ([\d.]+) ms", output),
        "clients": _number(r"^number of clients: (\d+)", output),
    }
    nothing = numbers["transactions"] == 0  # of which pgbench says no more
    if (None in numbers.values() and not nothing) or (answer["status"] and not aborted):
        raise BenchmarkError(f"{case}: pgbench ended with {answer['status']}: {errors.strip()}\n{output.strip()}")
    refusals = list(connected["refusals"])
    p99 = answer["p99_us"]
    return Run(
        round=case.round,
        script=case.script,
        clients=case.clients,
        way=case.way,
        seconds=case.seconds,
        accepted=int(connected["accepted"]),
        refused=len(refusals),
        refusal=_words(refusals[0]) if refusals else "",
        measured=int(numbers["clients"] or 0),
        aborted=aborted,
        transactions=int(numbers["transactions"] or 0),
        tps=numbers["tps"] or 0.0,
        latency_ms=numbers["latency"],
        p99_ms=None if p99 is None else p99 / 1000,
        client_busy=busy(answer["cpu_s"], answer["wall_s"], answer["cores"]),
        began=answer["began"],
        took=answer["wall_s"],
    )


def busy(cpu_s: float, wall_s: float, cores: int) -> float:
    """Return the share of the cores that pgbench's threads can have which it used."""
    return round(cpu_s / (wall_s * min(cores, THREADS)), 3)


def was_refused(answer: Mapping[str, Any]) -> bool:
    """Tell whether pgbench ended at once since a connection was refused."""
    return bool(answer["status"]) and "tps = " not in answer["output"] and "FATAL: " in answer["errors"]


def attempts(accepted: int) -> Iterator[int]:
    """Yield how many clients to start: all that were accepted, then a few less."""
    yield from range(accepted, max(0, accepted - STEPS_DOWN), -1)


def _number(pattern: str, text: str) -> float | None:
    match = re.search(pattern, text, re.MULTILINE)
    return float(match[1]) if match and math.isfinite(float(match[1])) else None


def _words(refusal: str) -> str:
    """Return what the server said, without the address that libpq puts before it."""
    _, found, words = refusal.partition("FATAL:")
    return words.strip() if found else refusal
