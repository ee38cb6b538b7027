"""Makes the measurements of a schedule, one after the other, and says how far it is."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from operations.benchmark import pgbench
from operations.benchmark.account import BenchmarkError
from operations.benchmark.pgbench import Case, Run
from operations.benchmark.rig import Rig

Say = Callable[[str], None]
MINUTES = 90  # seconds from which a duration is shown in minutes


def fill(rig: Rig, scale: int, say: Say) -> None:
    """Make the tables."""
    say(f"filling {scale * pgbench.MIB_PER_SCALE} MiB of tables: some {scale * pgbench.SECONDS_PER_SCALE:.0f} s")
    rig.set_pool(None)
    answer = rig.client.ask("pgbench", arguments=pgbench.filling(scale), sampling=0)
    if answer["status"]:
        raise BenchmarkError(f"pgbench --initialize ended with {answer['status']}: {answer['errors'].strip()}")


def all_of(rig: Rig, cases: Sequence[Case], say: Say) -> list[Run]:
    """Measure each case in turn."""
    runs: list[Run] = []
    began, spent = time.monotonic(), 0.0
    for number, case in enumerate(cases):
        known = sum(one.seconds + pgbench.warm_up(one) for one in cases[:number])
        around = (spent - known) / number if number else pgbench.AROUND
        left = sum(one.seconds + pgbench.warm_up(one) + around for one in cases[number:])
        rounds = cases[-1].round
        say(f"round {case.round} of {rounds}: {case}: {case.seconds} s; about {minutes(left)} left")
        runs.append(one_of(rig, case, rig.order.pool_size))
        spent = time.monotonic() - began
    return runs


def one_of(rig: Rig, case: Case, pool_size: int) -> Run:
    """Measure one case: a checkpoint, connections counted, a rehearsal, and then for good."""
    rig.set_pool(None)  # its idle backends would be refused to those who come directly
    rig.client.ask("checkpoint")
    if case.way == "pool":
        rig.set_pool(pool_size)
    connected = rig.client.ask("connect", service=case.way, clients=case.clients)
    if not connected["accepted"]:
        raise BenchmarkError(f"{case}: must have a connection at least, all were refused: {connected['refusals'][0]}")
    for clients in pgbench.attempts(connected["accepted"]):
        answer = _rehearsed(rig, case, clients, math.ceil(connected["took_s"]))
        if not pgbench.was_refused(answer):
            break
    return pgbench.read(case, connected, answer)


def _rehearsed(rig: Rig, case: Case, clients: int, connecting: int) -> dict[str, Any]:
    """Run pgbench for a short time, and then for the case's; what was refused is not tried for longer.

    Its time runs from before it connects, which it does not count as throughput: that is added.
    """
    for seconds, sampling in ((pgbench.warm_up(case), 0.0), (case.seconds, pgbench.SAMPLING[case.script])):
        answer: dict[str, Any] = rig.client.ask(
            "pgbench", arguments=pgbench.arguments(case, clients, seconds + connecting), sampling=sampling
        )
        if pgbench.was_refused(answer):
            break
    return answer


def minutes(seconds: float) -> str:
    """Show a duration as people say it."""
    return f"{seconds / 60:.0f} min" if seconds >= MINUTES else f"{seconds:.0f} s"
