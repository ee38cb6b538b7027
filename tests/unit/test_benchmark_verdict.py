"""Which statements hold is decided by the spread of the rounds, and by nothing else."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import pool_sweep
from benchmarks.own_world import share
from operations.benchmark import page, result, verdict
from operations.benchmark.pgbench import Run
from operations.benchmark.result import Result
from operations.benchmark.verdict import Spread

RUN = Run(
    round=1, script="TPC-B", clients=150, way="direct", seconds=60, accepted=97, refused=53, refusal="no slots",
    measured=97, aborted=0, transactions=6000, tps=100.0, latency_ms=900.0, p99_ms=2000.0, client_busy=0.3, began=1.0,
    took=60.0,
)  # fmt: skip
TINY = 1e-9
POSITIVE = st.floats(0.01, 100)


def runs(clients: int, direct: Sequence[float], pool: Sequence[float]) -> list[Run]:
    """Rounds of TPC-B with these throughputs."""
    few = replace(RUN, clients=clients, refused=max(0, clients - 97), accepted=min(97, clients))
    found = [replace(few, round=number, tps=tps) for number, tps in enumerate(direct, 1)]
    through = replace(few, way="pool", accepted=clients, refused=0, refusal="")
    return found + [replace(through, round=number, tps=tps) for number, tps in enumerate(pool, 1)]


def judged(found: Sequence[Run]) -> list[bool | None]:
    """Whether each statement holds."""
    return [one.holds for one in verdict.statements(found)]


AS_THERE = runs(150, [257, 250, 260], [344, 340, 350]) + runs(50, [175, 174, 176], [171, 170, 172])


def test_the_tutorials_own_figures_hold() -> None:
    """All four, where the rounds are close."""
    assert judged(AS_THERE) == [True] * 4


@pytest.mark.parametrize(
    ("pool", "holds"),
    [
        ([133, 120, 140], True),
        ([133, 99, 140], None),  # one round says otherwise, and so much that the tutorial's gain may be there
        ([110, 120, 104], False),  # better in each round, by less than they differ
        ([100, 101, 102], False),
        ([104, 104, 104], False),  # the rounds are alike, but another run may be as far away as that
        ([106, 106, 106], True),
    ],
)
def test_a_gain_has_to_be_larger_than_the_spread(pool: list[float], *, holds: bool | None) -> None:
    """Where it is not, the statement does not hold, and the one of few clients does; noise decides nothing."""
    found = runs(150, [100, 100, 100], pool) + runs(50, [100, 100, 100], pool)
    assert judged(found)[2:] == [holds, None if holds is None else not holds]


def test_rounds_are_compared_pair_by_pair() -> None:
    """What slows both ways of a round down changes nothing."""
    found = verdict.ratio(runs(150, [100, 50, 200], [130, 65, 260]), "TPC-B", 150)
    assert found is not None
    assert found.values == pytest.approx((1.3, 1.3, 1.3))


def test_one_round_decides_nothing() -> None:
    """It has no spread."""
    assert judged(runs(150, [257], [344]) + runs(50, [175], [171]))[2:] == [None, None]
    assert "--rounds" in verdict.statements(runs(150, [257], [344]) + runs(50, [175], [171]))[2].why


def test_refusals_are_judged_by_their_number() -> None:
    """In every round, and with the server's words."""
    all_served = [replace(run, refused=0) for run in AS_THERE]
    lost = [replace(run, aborted=1) if run.way == "pool" else run for run in AS_THERE]
    assert judged(all_served)[0] is False
    assert judged(lost)[1] is False
    assert verdict.statements(AS_THERE)[0].why == '53 of 150 were refused: "no slots"'


def test_a_limit_of_the_client_is_named() -> None:
    """Where it was busy in the median of the rounds: with the statement, and on the page."""
    tired = [replace(run, client_busy=0.95 if run.way == "pool" else 0.5) for run in AS_THERE]
    assert "the client is the limit (pool), not the server" in verdict.statements(tired)[2].why
    assert "the client is the limit" not in verdict.statements(AS_THERE)[2].why
    assert "**The client is the limit**" in page.page(made(tired))
    assert "**The client is the limit**" not in page.page(made(AS_THERE))


@given(st.lists(POSITIVE, min_size=1, max_size=5), POSITIVE)
def test_a_spread_has_its_rounds_in_it_whatever_the_unit(values: list[float], factor: float) -> None:
    """Each round lies within; and what is measured in another unit is spread alike."""
    found, scaled = Spread(tuple(values)), Spread(tuple(value * factor for value in values))
    assert found.low <= min(values) + TINY
    assert max(values) <= found.high + TINY
    assert found.agrees(found)
    assert scaled.spread == pytest.approx(found.spread * factor)


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1, 0.2])
def test_two_runs_on_one_machine_agree(noise: float) -> None:
    """Three rounds each, whatever the noise: 98 of 100 pairs of runs overlap, and 5 of 100 see a gain where none is."""
    source = random.Random(17)  # noqa: S311 - noise

    def run() -> Spread:
        return Spread(tuple(1 + source.gauss(0, noise) for _ in range(3)))

    pairs = [(run(), run()) for _ in range(2000)]
    assert sum(one.agrees(other) for one, other in pairs) >= 0.98 * len(pairs)
    assert sum(one.low > 1 for one, _ in pairs) <= 0.05 * len(pairs)


def made(found: Sequence[Run]) -> Result:
    """A result with these runs."""
    return Result(
        date="2026-11-30", region="nyc3", plan="db-s-2vcpu-4gb", client="s-2vcpu-4gb", pool_size=97, scale=150,
        wanted_scale=150, seconds=60, rounds=3, took_s=2400, settings={"server_version": "17.10", "fsync": "on"},
        notes=("a note",), runs=tuple(found),
    )  # fmt: skip


def test_the_page_has_everything() -> None:
    """Refusals, throughput with its range, the tutorial's beside it, ratio with spread, statements, notes."""
    text = page.page(made(AS_THERE))
    assert "| TPC-B | 150 | direct | 97 | 53 | 257 (250 to 260) | 257 | 900 ms | 2000 ms | 30% |" in text
    assert "| TPC-B | 150 | 1.35 ± 0.07 | 1.34, 1.36, 1.35 | 1.33 |" in text
    assert "**holds**" in text
    assert "\n\na note\n\n" in text


def test_the_page_says_what_was_smaller_than_the_tutorials() -> None:
    """A scale for which there was no room, and what it does."""
    small = page.page(replace(made(AS_THERE), scale=80))
    assert "**Scale 80, not 150:**" in small
    assert "**A scale below 150**" in small
    assert "**Scale" not in page.page(made(AS_THERE))


def test_the_plot_is_a_picture_without_scripts() -> None:
    """It has both series, and loads nothing."""
    text = page.plot(made(AS_THERE))
    ET.fromstring(text)  # noqa: S314 - our own
    assert "<script" not in text
    assert "measured" in text
    assert "tutorial" in text


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    """All of it."""
    file = tmp_path / "pool.json"
    result.write(made(AS_THERE), file)
    assert result.read(file) == made(AS_THERE)


@pytest.mark.parametrize(
    ("cores", "server", "client"),
    [({0, 1}, {0}, {1}), ({2, 3, 5}, {2, 3}, {5}), ({0, 1, 2, 3, 4}, {0, 1}, {2, 3})],
)
def test_server_and_client_share_no_core(cores: set[int], server: set[int], client: set[int]) -> None:
    """Each has at most what its plan has."""
    assert share(cores, 2, 2) == {"c": server, "d": client}
    assert share({0}, 2, 2) is None


def test_a_sweep_tries_at_most_six_sizes() -> None:
    """All that the plan leaves among them."""
    assert pool_sweep.sizes(22) == [2, 4, 8, 16, 22]
    assert pool_sweep.sizes(47) == [2, 4, 8, 16, 32, 47]
    assert pool_sweep.sizes(97) == [4, 8, 16, 32, 64, 97]


def test_a_size_is_better_when_it_is_so_by_more_than_the_noise() -> None:
    """By the same rule; the others are not named."""
    tps = {97: [100, 100, 100], 16: [130, 128, 132], 32: [120, 119, 121], 64: [90, 120, 110]}
    points = [
        pool_sweep.Point(plan="db-s-2vcpu-4gb", size=size, run=replace(RUN, round=number, tps=value))
        for size, values in tps.items()
        for number, value in enumerate(values, 1)
    ]
    said = [line for line in pool_sweep.verdicts(points) if line.startswith("db-s-2vcpu-4gb")]
    assert said == [
        "db-s-2vcpu-4gb, TPC-B: 16 is better than 97 (1.30 ± 0.07 times as fast), and so are 32.",
        "db-s-2vcpu-4gb, SELECT: not decided, one round has no spread.",
    ]
    same = [replace(point, run=replace(point.run, tps=100.0)) for point in points]
    said = [line for line in pool_sweep.verdicts(same) if line.startswith("db-s-2vcpu-4gb, TPC-B")]
    assert said == ["db-s-2vcpu-4gb, TPC-B: none is better by more than the noise than 97, all that the plan leaves."]
