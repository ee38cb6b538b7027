"""Asks at a constant rate whatever the answers do (an open loop), and says from which rate on that breaks the site.

vegeta asks, over HTTP/1.1 with connections that are kept: with HTTP/2 one connection would play all visitors.
"""

import json
import os
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
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


def attack(targets: Path, rate: float, seconds: float, *, connections: int = 0, core: int | None = None) -> Report:
    """Ask from the internet side for some seconds; rate 0 is a closed loop with so many connections."""
    results = targets.with_suffix(".bin")
    argv = ["sandbox", "exec", str(VEGETA), "attack", "-format=json", f"-targets={targets}", f"-output={results}"]
    argv += [f"-duration={seconds}s", f"-timeout={PATIENCE}s", "-http2=false", "-redirects=-1", "-max-body=0"]
    # A rate is a number of requests in a time, both whole.
    argv += [f"-rate={round(rate * 1000)}/1000s"] if rate else ["-rate=0", f"-max-workers={connections}"]
    began, spent = time.monotonic(), _processor()
    subprocess.run(
        argv, cwd=ROOT, check=True, preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core})
    )
    used = (_processor() - spent) / (time.monotonic() - began)
    report = subprocess.run(
        [VEGETA, "report", "-type=json", results], capture_output=True, text=True, check=True
    ).stdout
    results.unlink()
    return read(report, offered=rate, processor=used)


def _processor() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
