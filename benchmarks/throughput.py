"""Answers: how many requests a second does a Droplet with one vCPU serve, and how many with the tutorial's set-up.

Both run by turns on the same Droplet, behind the same Nginx, with the same cluster, in a world of its own:
`python -m benchmarks.throughput [ROUNDS [SECONDS]]`. It needs root, and a machine without a full world.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.machine import RESULTS, publish, table
from benchmarks.web import accounts, load
from benchmarks.web.load import Climb, Report
from benchmarks.web.pages import Page, pages
from benchmarks.web.setups import OURS, apply, tutorial
from benchmarks.web.site import Site, deployed

ROUNDS, SECONDS = 3, 5.0
AIM, LEAST = 4, 2.5  # times the tutorial's vote page
BEGIN = 0.7  # of what a closed loop got: where the rates begin to rise
CONNECTIONS = 16  # of the closed loop: more than there are threads
WARM = 1.0  # seconds
LOW = 30  # a second, which every set-up serves: its p99 is that of a site that is not busy
COST = 0.8  # of the rate that held: where processor time is read


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one round found of a page, served by a set-up."""

    climb: Climb
    low: Report
    cost: dict[str, float]  # milliseconds of processor time a request, by program


def attack(page: Page, rate: float, seconds: float) -> Report:
    """Ask for a page at a rate; 0 is as fast as the answers come."""
    return load.attack(page.targets, rate, seconds, connections=CONNECTIONS)


def costs(site: Site, page: Page, rate: float, seconds: float) -> dict[str, float]:
    """Return what a request costs each program, in milliseconds of a core."""
    before = site.processor()
    report = attack(page, rate, seconds)
    spent = {name: total - before.get(name, 0) for name, total in site.processor().items()}
    return {name: 1000 * taken / report.requests for name, taken in spent.items()}


def look(site: Site, page: Page, seconds: float) -> Found:
    """Warm up, find the rate that breaks the page, and what a request costs below it."""
    attack(page, 0, WARM)
    estimate = attack(page, 0, seconds)
    climb = load.climb(lambda rate: attack(page, rate, seconds), BEGIN * estimate.served)
    rate = COST * climb.held.offered
    return Found(climb=climb, low=attack(page, LOW, seconds), cost=costs(site, page, rate, seconds))


def measure(site: Site, rounds: int, seconds: float) -> dict[tuple[str, str], list[Found]]:
    """Look at each page of each set-up once a round, the set-ups in an order that changes."""
    both = (tutorial(site.database()), OURS)
    found: dict[tuple[str, str], list[Found]] = defaultdict(list)
    with pages(site) as asked:
        for number in range(rounds):
            for setup in both[:: 1 if number % 2 else -1]:
                apply(site.droplet, setup)
                site.wait()
                for page in asked.values():
                    said = f"round {number + 1} of {rounds}: {setup.name}, {page.name}"
                    print(said, file=sys.stderr, flush=True)  # noqa: T201 - it takes its time
                    found[setup.name, page.name].append(look(site, page, seconds))
    return found


def rates(found: dict[tuple[str, str], list[Found]]) -> list[tuple[object, ...]]:
    """Rows of what held and what broke, page by page."""
    rows: list[tuple[object, ...]] = []
    for name in dict.fromkeys(page for _, page in found):
        ours, theirs = ([one.climb for one in found[setup, name]] for setup in ("ours", "tutorial"))
        for setup, climbs in (("tutorial", theirs), ("ours", ours)):
            held = load.spread([climb.held.offered for climb in climbs])
            p99 = median(climb.held.p99 for climb in climbs)
            low = median(one.low.p99 for one in found[setup, name])
            times = load.ratio([climb.held.offered for climb in ours], [climb.held.offered for climb in theirs])
            whys = "; ".join(dict.fromkeys(climb.why for climb in climbs))
            used = f"{max(climb.held.processor for climb in climbs):.0%}"
            row = (name, setup, held, f"{p99 * 1000:.0f}", f"{low * 1000:.0f}", whys, used)
            rows.append((*row, times if setup == "ours" else ""))
    return rows


def cost_of(found: dict[tuple[str, str], list[Found]], key: tuple[str, str], programs: Iterable[str]) -> float:
    """Return what a request costs some programs, in milliseconds: the middle of the rounds."""
    return median(sum(one.cost.get(program, 0) for program in programs) for one in found[key])


def spent(found: dict[tuple[str, str], list[Found]], parts: dict[str, dict[str, float]]) -> list[tuple[object, ...]]:
    """Rows of what a request costs, program by program; Gunicorn's part of the vote page is taken apart."""
    keys = sorted(found)

    def row(says: str, programs: Iterable[str]) -> tuple[object, ...]:
        return (says, *(f"{cost_of(found, key, programs):.2f}" for key in keys))

    rows: list[tuple[object, ...]] = []
    for where, programs in (("Droplet", accounts.DROPLET), ("cluster", accounts.CLUSTER)):
        rows.append(row(f"**the {where}, in all**", programs))
        for name, says in programs.items():
            rows.append(row(says, [name]))
            if name == "gunicorn":
                for part in dict.fromkeys(part for setup in parts.values() for part in setup):
                    shown = [f"{parts[setup].get(part, 0):.2f}" if page == "vote page" else "" for setup, page in keys]
                    rows.append((f"… {part}", *shown))
    return rows


def apart(site: Site, seconds: float) -> dict[str, dict[str, float]]:
    """Return what Gunicorn's processes spend on the vote page, in milliseconds, by set-up."""
    found = {}
    with pages(site) as asked:
        page = asked["vote page"]
        for setup in (tutorial(site.database()), OURS):
            apply(site.droplet, accounts.counting(setup))
            site.wait()
            attack(page, 0, WARM)
            since = str(site.droplet.run(["date", "+@%s"]).stdout.strip())
            cost = costs(site, page, 0, seconds)
            said = accounts.read(site.droplet.journal("--unit=gunicorn.service", f"--since={since}", "--output=cat"))
            found[setup.name] = said | {accounts.REST: cost["gunicorn"] - sum(said.values())}
    return found


def report(found: dict[tuple[str, str], list[Found]], parts: dict[str, dict[str, float]], length: str) -> str:
    """Return the body of the page, and keep the numbers beside it."""
    document = {
        "length": length,
        "rounds": {f"{setup}: {page}": [asdict(one) for one in rounds] for (setup, page), rounds in found.items()},
        "gunicorn": parts,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "throughput.json").write_text(json.dumps(document, indent=1) + "\n")
    says = (
        f"{length} Scaled: one core is the Droplet's, the other the cluster's and the generator's (vegeta: HTTP/1.1, "
        "kept connections, a constant rate whatever the answers do). A rate holds without an error, with a p99 of at "
        f"most {load.P99_LIMIT:.0f} s, and with {load.SERVED_SHARE:.0%} of it answered by its end. "
        f"Tutorial: {tutorial('').says}. The aim is {AIM} times as many vote pages."
    )
    head = ("page", "set-up", "holds, a second", "p99 then, ms", f"p99 at {LOW} a second, ms", "breaks by")
    columns = ("program", *(f"{setup}: {page}" for setup, page in sorted(found)))
    times = [
        cost_of(found, ("tutorial", "vote page"), programs) / cost_of(found, ("ours", "vote page"), programs)
        for programs in (accounts.DROPLET, accounts.CLUSTER)
    ]
    costs = (
        "Milliseconds of processor time that a request costs, below the rate that holds. A vote page takes the "
        f"tutorial's Droplet {times[0]:.1f} times as much as ours, and its cluster {times[1]:.1f} times."
    )
    shown = table((*head, "generator's core", "times"), rates(found))
    return "\n\n".join((says, shown, costs, table(columns, spent(found, parts))))


def main() -> None:
    """Measure and publish; exit status 1 when ours is not the tutorial's as many times as it has to be at least."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS  # noqa: PLR2004 - the second argument
    load.install()
    with deployed() as site:
        site.wait()
        site.pin()
        found = measure(site, rounds, seconds)
        parts = apart(site, max(seconds, 10))
    length = f"{rounds} round{'s' if rounds > 1 else ''}, {seconds:g} s for each rate."
    publish(
        "throughput", "How many requests a second does a Droplet with one vCPU serve?", report(found, parts, length)
    )
    ours, theirs = ([one.climb.held.offered for one in found[setup, "vote page"]] for setup in ("ours", "tutorial"))
    sys.exit(load.ratio(ours, theirs).middle < LEAST)


if __name__ == "__main__":
    main()
