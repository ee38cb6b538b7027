"""What follows from the runs: ratios with their spread, and which of the tutorial's statements hold."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from operations.benchmark.pgbench import CLIENTS, Run

# The tutorial's figures, in transactions a second: cluster of 4 GiB and 2 vCPUs, scale 150, 600 s, pool of 97.
# https://www.digitalocean.com/community/tutorials/managed-databases-connection-pools-and-postgresql-benchmarking-using-pgbench
TUTORIAL = {("direct", 50): 175, ("direct", 150): 257, ("pool", 150): 344, ("pool", 50): 171}
TUTORIAL_RATIOS = {50: 0.98, 150: 1.33}
# By so much two medians of one machine differed, however alike the rounds were (docs/benchmarks.md): no spread is less.
FLOOR = 0.05
CLIENT_IS_THE_LIMIT = 0.9  # of its cores
FEW, MANY = CLIENTS
Figures = Iterable[Run]


@dataclass(frozen=True, slots=True)
class Spread:
    """A value measured in several rounds: its median, and how far another median may be from it."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """The rounds' range, which for three rounds is wider than what medians of three differ by."""
        return max(max(self.values) - min(self.values), FLOOR * self.middle)

    @property
    def low(self) -> float:
        """The least that another run may find."""
        return self.middle - self.spread

    @property
    def high(self) -> float:
        """The most."""
        return self.middle + self.spread

    def agrees(self, other: "Spread") -> bool:
        """Tell whether two runs say the same."""
        return self.low <= other.high and other.low <= self.high

    def __str__(self) -> str:
        return f"{self.middle:.2f} ± {self.spread:.2f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One of the tutorial's, and what became of it."""

    text: str
    holds: bool | None  # None: not decided
    why: str

    @property
    def verdict(self) -> str:
        """In words."""
        return {True: "holds", False: "not here", None: "not decided"}[self.holds]


def of(runs: Figures, script: str, clients: int, way: str) -> list[Run]:
    """Return the rounds of one measurement, in order."""
    return sorted(
        (run for run in runs if (run.script, run.clients, run.way) == (script, clients, way)), key=lambda run: run.round
    )


def ratio(runs: Sequence[Run], script: str, clients: int) -> Spread | None:
    """Return throughput through the pool divided by direct, each round's pair by itself; None without pairs."""
    direct = {run.round: run.tps for run in of(runs, script, clients, "direct")}
    pool = {run.round: run.tps for run in of(runs, script, clients, "pool")}
    values = tuple(pool[number] / direct[number] for number in sorted(direct.keys() & pool.keys()) if direct[number])
    return Spread(values) if values else None


def client_is_the_limit(runs: Iterable[Run]) -> bool:
    """Tell whether what was measured is the load generator, in the median of the rounds."""
    return median(run.client_busy for run in runs) >= CLIENT_IS_THE_LIMIT


def statements(runs: Sequence[Run]) -> list[Statement]:
    """Judge the tutorial's statements by the runs of TPC-B."""
    return [_refused(runs), _all_served(runs), _more_with_many(runs), _no_more_with_few(runs)]


def _refused(runs: Sequence[Run]) -> Statement:
    found = of(runs, "TPC-B", MANY, "direct")
    refused = sorted({run.refused for run in found})
    said = next((run.refusal for run in found if run.refusal), "")
    return Statement(
        text=f"Of {MANY} clients that connect directly some are refused",
        holds=all(run.refused for run in found),
        why=f"{_counts(refused)} of {MANY} were refused" + (f': "{said}"' if said else ""),
    )


def _all_served(runs: Sequence[Run]) -> Statement:
    found = of(runs, "TPC-B", MANY, "pool")
    lost = sorted({run.refused + run.aborted for run in found})
    return Statement(
        text=f"Through the pool all {MANY} are served",
        holds=not any(lost),
        why=f"{_counts(lost)} of {MANY} were refused or ended early",
    )


def _more_with_many(runs: Sequence[Run]) -> Statement:
    found = ratio(runs, "TPC-B", MANY)
    text = f"With {MANY} clients the pool has more throughput (tutorial: +33 %)"
    return Statement(text=text, holds=gain(found), why=_ratio_in_words(runs, found, MANY))


def _no_more_with_few(runs: Sequence[Run]) -> Statement:
    found = ratio(runs, "TPC-B", FEW)
    more = gain(found)
    text = f"With {FEW} clients it has not (tutorial: -2 %)"
    return Statement(text=text, holds=None if more is None else not more, why=_ratio_in_words(runs, found, FEW))


def gain(found: Spread | None) -> bool | None:
    """Tell whether there is a gain: the whole interval is above 1.

    There is none where the interval has 1 in it, or is below, and excludes a gain as large as the tutorial's. Where it
    has both in it, or there is one round only, that is not decided.
    """
    if found is None or len(found.values) == 1:
        return None
    if found.low > 1:
        return True
    return False if found.high < TUTORIAL_RATIOS[MANY] else None


def _ratio_in_words(runs: Sequence[Run], found: Spread | None, clients: int) -> str:
    if found is None or len(found.values) == 1:
        return "one round has no spread; ask for more by --rounds"
    if gain(found) is None:
        return f"pool / direct is {found}: the rounds differ by more than could be gained; repeat it on a quiet machine"
    compared = "more" if found.low > 1 else "less" if found.high < 1 else "no difference beyond the spread"
    words = f"pool / direct is {found}: {compared}"
    sides = {way: of(runs, "TPC-B", clients, way) for way in ("direct", "pool")}
    limited = [way for way, side in sides.items() if client_is_the_limit(side)]
    return words + (f"; the client is the limit ({' and '.join(limited)}), not the server" if limited else "")


def _counts(values: list[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"
