"""Asks at a constant rate whatever the answers do (an open loop), and says from which rate on that breaks the site.

vegeta asks, over HTTP/1.1 with connections that are kept: with HTTP/2 one connection would play all visitors.
"""

import contextlib
import csv
import json
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.machine import CACHE, ROOT

P99_LIMIT = 1.0  # seconds
SERVED_SHARE = 0.95  # of the rate; the rest are those that are still waited for in the end
SENT_SHARE = 0.98  # of the rate; below it the generator can't keep up
FINENESS = 1.05  # the rate that holds and the one that breaks are no further apart
STEP = 1.25
LEAST = 0.5  # a second; a site that does not hold this serves nothing
PATIENCE = 10  # seconds until a visitor goes; longer than P99_LIMIT, so that a queue shows itself before errors do
VEGETA = CACHE / "bin" / "vegeta"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What came of one attack. Rates are requests a second, times are seconds."""

    offered: float  # 0: as fast as the answers come (a closed loop)
    sent: float
    served: float  # answered well, until the last answer
    requests: int
    success: float  # share
    p50: float
    p99: float
    statuses: dict[str, int]  # "0": no answer
    errors: tuple[str, ...]
    processor: float  # share of a core that the generator used


@dataclass(frozen=True, kw_only=True, slots=True)
class Climb:
    """The highest rate that held, and the lowest that didn't."""

    held: Report
    broke: Report
    why: str


def read(text: str, *, offered: float, processor: float) -> Report:
    """Read vegeta's report in JSON, whose times are nanoseconds."""
    said = json.loads(text)
    return Report(
        offered=offered,
        sent=said["rate"],
        served=said["throughput"],
        requests=said["requests"],
        success=said["success"],
        p50=said["latencies"]["50th"] / 1e9,
        p99=said["latencies"]["99th"] / 1e9,
        statuses=said["status_codes"],
        errors=tuple(said["errors"] or ()),
        processor=processor,
    )


def broken(report: Report) -> str:
    """Why this rate is more than the site serves; empty while it holds."""
    if report.success < 1:
        found = ", ".join(f"{count} x {status}" for status, count in sorted(report.statuses.items()))
        return f"errors ({found})"
    if report.p99 > P99_LIMIT:
        return f"p99 {report.p99:.1f} s"
    if report.served < SERVED_SHARE * report.offered:
        return f"serves {report.served:.0f} of {report.offered:.0f} a second"
    return ""


def limited(report: Report) -> bool:
    """Whether the generator sent less than it should have: what is then found is its limit, and not the site's."""
    return report.sent < SENT_SHARE * report.offered


def climb(attack: Callable[[float], Report], start: float) -> Climb:
    """Raise the rate until it breaks, then narrow it down; begins lower where the first rate breaks already."""
    held: Report | None = None
    broke: Report | None = None
    rate = start
    while held is None or broke is None or broke.offered > held.offered * FINENESS:
        report = attack(rate)
        if broken(report) or limited(report):
            broke = report
        else:
            held = report
        if held is None:
            rate /= STEP**2
            if rate < LEAST:
                raise SystemExit(f"the site must serve {LEAST} requests a second, breaks: {broken(report)}")
        elif broke is None:
            rate *= STEP
        else:
            rate = (held.offered + broke.offered) / 2
    why = broken(broke)
    return Climb(held=held, broke=broke, why=f"generator, sends {broke.sent:.0f} a second" if limited(broke) else why)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """The middle of some rounds, and how far they are apart."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 0 if self.middle >= 100 else 1 if self.middle >= 10 else 2  # noqa: PLR2004 - three figures
        return f"{self.middle:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Median, least and most."""
    return Spread(middle=median(values), low=min(values), high=max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times as much, round by round: what slows the machine for a while slows both sides of a round."""
    return spread([one / other for one, other in zip(ours, theirs, strict=True)])


def wins(ratio_of_rounds: Spread) -> bool:
    """Whether it is more than the noise: in no round less."""
    return ratio_of_rounds.low > 1


def install() -> None:
    """Provide vegeta, once for all clones."""
    subprocess.run([ROOT / "toolchain/install-vegeta", CACHE], check=True, stdout=subprocess.DEVNULL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What one request got. Times are seconds."""

    at: float  # since the first request
    status: int  # 0: none
    after: float
    error: str


def attack(targets: Path, rate: float, seconds: float, *, connections: int = 0) -> Report:
    """Ask from the internet side for some seconds; rate 0 is a closed loop with so many connections."""
    with _results(targets, rate, seconds, patience=PATIENCE, connections=connections) as (results, used):
        written = _read(results, "report", "-type=json")
    return read(written, offered=rate, processor=used)


def answers(targets: Path, rate: float, seconds: float, *, patience: float) -> list[Answer]:
    """Ask from the internet side at a rate; return every answer in the order of the questions."""
    with _results(targets, rate, seconds, patience=patience, connections=0) as (results, _):
        written = _read(results, "encode", "-to=csv")
    return timeline(written)


def timeline(written: str) -> list[Answer]:
    """Read vegeta's results in CSV, which begin: time, status, latency (these in nanoseconds), bytes, bytes, error."""
    lines = sorted((int(line[0]), int(line[1]), int(line[2]), line[5]) for line in csv.reader(written.splitlines()))
    began = lines[0][0]
    return [
        Answer(at=(at - began) / 1e9, status=status, after=after / 1e9, error=error)
        for at, status, after, error in lines
    ]


def _read(results: Path, *argv: str) -> str:
    return subprocess.run([VEGETA, *argv, results], capture_output=True, text=True, check=True).stdout


@contextlib.contextmanager
def _results(
    targets: Path, rate: float, seconds: float, *, patience: float, connections: int
) -> Iterator[tuple[Path, float]]:
    """Ask, and lend vegeta's file of results and the share of a core that it used."""
    results = targets.with_suffix(".bin")
    argv = ["sandbox", "exec", str(VEGETA), "attack", "-format=json", f"-targets={targets}", f"-output={results}"]
    argv += [f"-duration={seconds}s", f"-timeout={patience}s", "-http2=false", "-redirects=-1", "-max-body=0"]
    # A rate is a number of requests in a time, both whole.
    argv += [f"-rate={round(rate * 1000)}/1000s"] if rate else ["-rate=0", f"-max-workers={connections}"]
    began, spent = time.monotonic(), _processor()
    subprocess.run(argv, cwd=ROOT, check=True)
    used = (_processor() - spent) / (time.monotonic() - began)
    try:
        yield results, used
    finally:
        results.unlink()


def _processor() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
