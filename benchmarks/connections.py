"""Answers: from how many threads on is the pool the limit, where do requests wait then, and what do visitors see.

One Droplet plays many: its threads are raised against a small pool, at a rate that stays the same, while each page
holds a backend for a while: `python -m benchmarks.connections`. It needs root, and a machine without a full world.
"""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from benchmarks.machine import publish, table
from benchmarks.web import load
from benchmarks.web.load import Answer, Report
from benchmarks.web.pages import Page, pages
from benchmarks.web.setups import CONF, Setup, apply
from benchmarks.web.site import Site, deployed
from sandbox.parts.databases import clusters

HELD = 0.05  # seconds for which a page holds its backend
RATE, SECONDS = 120, 5.0
POOLS, SHAPES = (2, 4, 8), ((2, 1), (2, 2), (2, 4), (2, 8))  # backends; workers and threads of each
# The collapse: more than the pool serves, for long enough that requests meet every timeout on the way.
WORST_POOL, WORST_SHAPE, WORST_SECONDS, PATIENCE = 2, (2, 4), 40.0, 90.0
MOMENTS = (0, 2, 5, 10, 20, 30, 39)  # seconds after the first request
SLOW = """
ALTER TABLE polls_question RENAME TO polls_question_stored;
CREATE VIEW polls_question AS SELECT * FROM polls_question_stored WHERE pg_sleep(:held) IS NOT NULL;
GRANT SELECT ON polls_question TO app;
"""


@dataclass(frozen=True, kw_only=True)
class Queues:
    """The most that was seen at one moment."""

    backlog: int  # requests that no worker has taken
    waiting: int  # clients of the pool that wait for a backend
    active: int  # backends at work


def slow_down(site: Site) -> None:
    """Let the query of a question hold its backend for a while, as those of a busy database do."""
    operator = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "psql", "-q"]
    where = ["-p", str(clusters.PORT), "-d", site.database(), "-v", f"held={HELD}", "-v", "ON_ERROR_STOP=1"]
    site.cluster.run([*operator, *where], input=SLOW)


def resize(site: Site, size: int) -> None:
    """Give the pool another size."""
    change = ["sed", "-i", f"s/pool_size=[0-9]*/pool_size={size}/", "/etc/pgbouncer/pools.ini"]
    site.cluster.run(change)
    site.cluster.run(["systemctl", "restart", "pgbouncer"])


def shape(workers: int, threads: int) -> Setup:
    """Return ours with other numbers of workers and threads."""
    text = f"\nworkers, threads, worker_connections = {workers}, {threads}, {2 * threads}\n"
    return Setup(name=f"{workers}x{threads}", says="", appended={CONF: text})


def queues(site: Site, stop: threading.Event) -> Queues:
    """Watch where requests wait, until told to stop."""
    seen = [Queues(backlog=0, waiting=0, active=0)]
    while not stop.is_set():
        pools = site.pools()
        listed = site.droplet.run(["ss", "--no-header", "--listening", "--unix", "src", "/run/gunicorn.sock"]).stdout
        backlog = int(re.split(r"\s+", listed)[2])
        seen.append(Queues(backlog=backlog, waiting=pools["cl_waiting"], active=pools["sv_active"]))
    return Queues(**{name: max(getattr(one, name) for one in seen) for name in ("backlog", "waiting", "active")})


def watched(site: Site, page: Page) -> tuple[Report, Queues]:
    """Ask at the rate, and watch meanwhile."""
    stop, reports = threading.Event(), []

    def ask() -> None:
        try:
            reports.append(load.attack(page.targets, RATE, SECONDS))
        finally:
            stop.set()

    asking = threading.Thread(target=ask)
    asking.start()
    found = queues(site, stop)
    asking.join()
    return reports[0], found


def limits(site: Site, page: Page) -> Iterator[tuple[object, ...]]:
    """Rows of each size of the pool with each number of threads."""
    for size in POOLS:
        resize(site, size)
        for workers, threads in SHAPES:
            apply(site.droplet, shape(workers, threads))
            site.wait()
            report, seen = watched(site, page)
            most = min(RATE, min(size, workers * threads) / HELD)
            yield (
                *(size, f"{workers} x {threads} = {workers * threads}", f"{most:.0f}", f"{report.served:.0f}"),
                *(f"{report.p50 * 1000:.0f}", f"{report.p99 * 1000:.0f}", seen.active, seen.waiting, seen.backlog),
                "the pool" if workers * threads > size else "the threads",
                ", ".join(f"{count} x {status}" for status, count in report.statuses.items()),
            )


def collapse(answers: list[Answer]) -> list[tuple[object, ...]]:
    """Rows of what a visitor gets who asks at some moment after the load began."""
    rows: list[tuple[object, ...]] = []
    for moment in MOMENTS:
        here = [answer for answer in answers if moment <= answer.at < moment + 1]
        counted = Counter(str(answer.status) if answer.status else answer.error for answer in here)
        shown = ", ".join(f"{count / len(here):.0%} {status}" for status, count in counted.most_common())
        rows.append((moment, shown, f"{median(answer.after for answer in here):.1f}"))
    return rows


def main() -> None:
    """Measure and publish."""
    load.install()
    with deployed() as site, pages(site) as asked:
        site.wait()
        site.pin()
        slow_down(site)
        page = asked["vote page"]
        rows = list(limits(site, page))
        resize(site, WORST_POOL)
        apply(site.droplet, shape(*WORST_SHAPE))
        site.wait()
        answers = load.answers(page.targets, RATE, WORST_SECONDS, patience=PATIENCE)
    first = min((answer for answer in answers if answer.status != 200), key=lambda answer: answer.at + answer.after)  # noqa: PLR2004 - OK
    head = ("pool", "workers x threads", "possible a second", "served a second", "p50, ms", "p99, ms")
    head += ("backends at work", "waiting in PgBouncer", "waiting for Gunicorn", "the limit", "answers")
    publish(
        "connections",
        "From how many threads on is the connection pool the limit?",
        f"{RATE} visits a second of a page that holds a backend for {HELD * 1000:.0f} ms, {SECONDS:g} s each; one "
        "Droplet with one vCPU stands for many. The most that was seen at one moment:\n\n"
        + table(head, rows)
        + f"\n\nA pool of {WORST_POOL}, {WORST_SHAPE[0] * WORST_SHAPE[1]} threads, for {WORST_SECONDS:g} s:\n\n"
        + table(("who asks after s", "gets", "after s"), collapse(answers))
        + f"\n\nThe first error came {first.at + first.after:.1f} s after the load began: {first.status} {first.error}",
    )


if __name__ == "__main__":
    main()
