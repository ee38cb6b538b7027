"""What the pool's benchmark runs, in which order, and how it reads what comes back."""

from dataclasses import replace
from typing import Any

import pytest

from operations.benchmark import pgbench
from operations.benchmark.account import BenchmarkError
from operations.benchmark.pgbench import Case

CASE = Case(script="TPC-B", clients=150, way="direct", seconds=60, round=2)
AT = 'connection to server at "private-x" (10.0.0.3), port 25060 failed:'
CONNECTED = {
    "accepted": 97,
    "refusals": [f"{AT} FATAL:  remaining slots are reserved"] * 53,
}
# What pgbench of PostgreSQL 17 prints.
OUTPUT = """\
pgbench (17.10 (Debian 17.10-0+deb13u1))
transaction type: <builtin: TPC-B (sort of)>
scaling factor: 150
query mode: simple
number of clients: 97
number of threads: 2
maximum number of tries: 1
duration: 60 s
number of transactions actually processed: 66012
number of failed transactions: 0 (0.000%)
latency average = 88.079 ms
latency stddev = 61.237 ms
initial connection time = 934.127 ms
tps = 1101.284751 (without initial connection time)
"""
ANSWER: dict[str, Any] = {
    "status": 0,
    "output": OUTPUT,
    "errors": "",
    "p99_us": 250400,
    "cpu_s": 30.0,
    "wall_s": 60.0,
    "began": 1.0,
    "cores": 1,
}
REFUSED = 'pgbench: error: connection to server at "x", port 25060 failed: FATAL:  sorry, too many clients already\n'


def test_a_result_is_read_whole() -> None:
    """Throughput, latency, what the client took, and who was refused, in the server's words."""
    run = pgbench.read(CASE, CONNECTED, ANSWER)
    assert (run.tps, run.latency_ms, run.p99_ms, run.transactions) == (1101.284751, 88.079, 250.4, 66012)
    assert (run.accepted, run.refused, run.measured, run.aborted) == (97, 53, 97, 0)
    assert run.refusal == "remaining slots are reserved"
    assert (run.round, run.script, run.way, run.client_busy) == (2, "TPC-B", "direct", 0.5)


def test_the_server_of_pgbench_of_other_words_is_read_too() -> None:
    """With a connection for each transaction it says something else of the throughput."""
    output = OUTPUT.replace("initial connection time", "average connection time").replace(
        "(without initial connection time)", "(including reconnection times)"
    )
    assert pgbench.read(CASE, CONNECTED, ANSWER | {"output": output}).tps == 1101.284751


def test_a_server_that_stands_still_has_a_result() -> None:
    """Of no transaction pgbench says nothing but that."""
    output = OUTPUT.partition("number of failed")[0].replace("66012", "0")
    run = pgbench.read(CASE, CONNECTED, ANSWER | {"output": output, "p99_us": None})
    assert (run.transactions, run.tps, run.latency_ms, run.p99_ms) == (0, 0, None, None)


def test_clients_that_ended_early_are_counted() -> None:
    """Each once, and what the others did counts."""
    errors = "".join(
        f"pgbench: error: client {number} aborted while establishing connection\n" for number in (3, 11, 3)
    )
    assert pgbench.read(CASE, CONNECTED, ANSWER | {"status": 2, "errors": errors}).aborted == 2


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 1, "output": "", "errors": REFUSED},
        {"status": 2, "errors": "pgbench: error: out of memory"},
        {"output": OUTPUT.replace("tps = ", "tps: ")},
        {"output": OUTPUT.replace("1101.284751", "nan")},
    ],
)
def test_what_is_no_result_ends_the_run(answer: dict[str, Any]) -> None:
    """It names the measurement and says what pgbench said."""
    with pytest.raises(BenchmarkError, match="TPC-B, 150 clients, direct: pgbench ended with"):
        pgbench.read(CASE, CONNECTED, ANSWER | answer)


def test_a_refusal_is_told_from_another_end() -> None:
    """Only what was refused at once is tried again, with fewer clients and never with none."""
    assert pgbench.was_refused({"status": 1, "output": "starting vacuum...end.", "errors": REFUSED})
    assert not pgbench.was_refused(ANSWER)
    assert not pgbench.was_refused({"status": 1, "output": "", "errors": "pgbench: error: out of memory"})
    assert not pgbench.was_refused(ANSWER | {"status": 2, "errors": REFUSED})  # with a result: some went on
    assert list(pgbench.attempts(97)) == [97, 96, 95, 94, 93]
    assert list(pgbench.attempts(2)) == [2, 1]


def test_ways_alternate() -> None:
    """What one round measures first the next one measures last; each pair stands together."""
    plan = pgbench.schedule(60, 3)
    assert len(plan) == 3 * 2 * 5
    for pair in zip(plan[::2], plan[1::2], strict=True):
        assert replace(pair[0], way=pair[1].way) == pair[1]
        assert pair[0].way == ("direct" if pair[0].round % 2 else "pool")


def test_the_tutorials_measurements_are_among_them() -> None:
    """TPC-B with 50 and 150 clients on two threads, for as long as was asked; the rest half as long."""
    plan = pgbench.schedule(600, 1)
    tutorial = {(case.clients, case.way, case.seconds) for case in plan if case.script == "TPC-B"}
    assert tutorial == {(clients, way, 600) for clients in (50, 150) for way in ("direct", "pool")}
    assert {case.seconds for case in plan if case.script != "TPC-B"} == {300}
    expected = ["--client=97", "--jobs=2", "--time=600", "service=direct"]
    assert pgbench.arguments(CASE, 97, 600) == expected
    assert "--connect" in pgbench.arguments(replace(CASE, script="SELECT, connecting"), 50, 30)
    assert "--scale=150" in pgbench.filling(150)


def test_it_ends_in_time() -> None:
    """The default takes 45 minutes at most where machines are there after a minute and a half."""
    assert pgbench.duration(pgbench.schedule(60, 3), 150, 90) <= 45 * 60


@pytest.mark.parametrize(("disk", "scale"), [(60, 150), (10, 150), (6, 128), (4, 1), (0, 1)])
def test_the_scale_fits_the_disk(disk: int, scale: int) -> None:
    """The tutorial's, or the largest that leaves room for the log."""
    assert pgbench.scale_that_fits(150, disk) == scale


def test_the_client_has_as_many_cores_as_threads() -> None:
    """More don't help it, and fewer are what it has."""
    assert [pgbench.busy(60, 60, cores) for cores in (1, 2, 8)] == [1.0, 0.5, 0.5]
