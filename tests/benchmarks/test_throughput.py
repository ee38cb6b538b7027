"""What the benchmark of the throughput makes of what it measures, and a short run of it on the deployed site."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import connections, throughput
from benchmarks.alternatives import ALTERNATIVES
from benchmarks.machine import RESULTS, ROOT
from benchmarks.web import accounts, load
from benchmarks.web.pages import pages, votes
from benchmarks.web.setups import NGINX, PROXY, UNIT
from benchmarks.web.site import Site, pooler
from sizing.budget import ConnectionBudget
from tests.commands import environment
from tests.worlds import Deployment

CLOUD_INIT = ROOT / "cloud-init"

# As vegeta v12.13.0 writes it, without what is not read.
WRITTEN = """{"latencies":{"mean":24000000,"50th":20000000,"95th":80000000,"99th":160000000,"max":250000000},
"duration":3993000000,"wait":19000000,"requests":801,"rate":200.6,"throughput":199.3,"success":0.9975,
"status_codes":{"0":1,"200":799,"502":1},"errors":["502 Bad Gateway"]}"""


def report(**changes: object) -> load.Report:
    """Make a report of a rate that holds, but for the changes."""
    good: dict[str, object] = {"offered": 100.0, "sent": 100.0, "served": 99.0, "requests": 400, "success": 1.0}
    good |= {"p50": 0.01, "p99": 0.1, "statuses": {"200": 400}, "errors": (), "processor": 0.1}
    return load.Report(**good | changes)  # type: ignore[arg-type]


def test_a_report_is_read_in_seconds_with_the_rate_that_was_asked_for() -> None:
    """Whatever vegeta says it has sent."""
    found = load.read(WRITTEN, offered=200.0, processor=0.2)
    assert (found.offered, found.sent, found.served, found.requests) == (200.0, 200.6, 199.3, 801)
    assert (found.p50, found.p99, found.success) == (0.02, 0.16, 0.9975)
    assert found.statuses == {"0": 1, "200": 799, "502": 1}
    assert found.errors == ("502 Bad Gateway",)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"p99": 1.0, "served": 95.0}, ""),
        ({"success": 0.9975, "statuses": {"200": 399, "502": 1}}, "errors (399 x 200, 1 x 502)"),
        ({"p99": 1.01}, "p99 1.0 s"),
        ({"served": 94.9}, "serves 95 of 100 a second"),
        ({"served": 94.9, "p99": 2.0}, "p99 2.0 s"),
    ],
)
def test_a_rate_breaks_by_an_error_a_long_wait_or_answers_that_stay_away(changes: dict[str, object], why: str) -> None:
    """In this order; at the limits it holds."""
    assert load.broken(report(**changes)) == why


def test_a_generator_that_sends_less_than_it_should_is_a_limit_of_its_own() -> None:
    """And is named as what broke, in place of the site."""
    assert not load.limited(report(sent=98.0))
    assert load.limited(report(sent=97.9))

    def slow(rate: float) -> load.Report:
        return report(offered=rate, sent=min(rate, 50.0), served=min(rate, 50.0))

    found = load.climb(slow, 20.0)
    assert 45 < found.held.offered <= 51
    assert found.why == "generator, sends 50 a second"


@given(capacity=st.floats(1, 10_000), start=st.floats(1, 10_000))
def test_the_climb_ends_just_below_what_breaks_wherever_it_begins(capacity: float, start: float) -> None:
    """Rates rise until one breaks; the highest that held and the lowest that broke are close."""
    asked = []

    def site(rate: float) -> load.Report:
        asked.append(rate)
        return report(offered=rate, sent=rate, served=min(rate, capacity), p99=0.1 if rate <= capacity else 2.0)

    found = load.climb(site, start)
    assert found.held.offered <= capacity < found.broke.offered <= found.held.offered * load.FINENESS
    assert found.why == "p99 2.0 s"
    assert len(asked) < 60


def test_a_site_that_serves_nothing_ends_the_climb() -> None:
    """With what its answers were."""
    with pytest.raises(SystemExit, match=r"errors \(4 x 502\)"):
        load.climb(lambda rate: report(offered=rate, sent=rate, success=0.0, statuses={"502": 4}), 100)


def test_a_ratio_is_taken_round_by_round() -> None:
    """A round in which the machine was slow for both says the same as a fast one."""
    found = load.ratio([300, 150, 330], [100, 50, 100])
    assert (found.middle, found.low, found.high) == (3.0, 3.0, pytest.approx(3.3))
    assert str(found) == "3.00 (3.00 to 3.30)"
    assert load.wins(found)
    assert not load.wins(load.ratio([110, 99, 120], [100, 100, 100]))


def test_there_is_a_vote_for_each_choice_of_the_form() -> None:
    """With the token of the page, its cookie, and the page as where it comes from."""
    answer = (
        "HTTP/2 200 \r\nSet-Cookie: csrftoken=abc; Path=/; Secure\r\n\r\n"
        '<input type="hidden" name="csrfmiddlewaretoken" value="t&amp;1">'
        '<input type="radio" name="choice" value="7" required><input type="radio" name="choice" value="8" required>'
    )
    found = votes(answer)
    assert [target["header"]["Cookie"] for target in found] == [["csrftoken=abc"]] * 2  # type: ignore[index]
    assert [target["body"] for target in found] == [
        "Y3NyZm1pZGRsZXdhcmV0b2tlbj10JTI2MSZjaG9pY2U9Nw==",
        "Y3NyZm1pZGRsZXdhcmV0b2tlbj10JTI2MSZjaG9pY2U9OA==",
    ]


def test_accounts_of_processes_are_added_up_from_their_first_line_on() -> None:
    """What a process spent before it was looked at counts as little as one that told once."""
    lines = [
        {"pid": 1, "requests": 100, "queries": 1.0},
        {"pid": 2, "requests": 100, "queries": 0.1},
        {"pid": 1, "requests": 200, "queries": 1.2},
        {"pid": 2, "requests": 300, "queries": 0.5},
        {"pid": 3, "requests": 100, "queries": 9.0},
    ]
    journal = "".join(f"something else\naccounts {json.dumps(line)}\n" for line in lines)
    assert accounts.read(journal) == {"queries": pytest.approx(2.0)}
    with pytest.raises(ValueError, match="must tell its accounts more than once"):
        accounts.read("")


def test_answers_are_told_in_the_order_of_their_questions() -> None:
    """With times since the first question; vegeta writes them in the order of the answers."""
    written = """\
1700000000500000000,504,60000000000,0,0,504 Gateway Time-out,,,1,GET,https://polls.example/,
1700000000000000000,0,90000000000,0,0,"Get: timeout, after 90 s",,,0,GET,https://polls.example/,
"""
    assert load.timeline(written) == [
        load.Answer(at=0.0, status=0, after=90.0, error="Get: timeout, after 90 s"),
        load.Answer(at=0.5, status=504, after=60.0, error="504 Gateway Time-out"),
    ]


def test_the_result_has_each_page_of_each_set_up_its_ratio_and_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the page and in the numbers beside it."""
    monkeypatch.setattr(throughput, "RESULTS", tmp_path)

    def found(rate: float, gunicorn: float) -> throughput.Found:
        climb = load.Climb(held=report(offered=rate), broke=report(offered=1.05 * rate), why="p99 2.0 s")
        return throughput.Found(climb=climb, low=report(), cost={"nginx": 0.5, "gunicorn": gunicorn, "postgres": 1.0})

    rounds = {("ours", page): [found(300, 2.5), found(330, 2.5)] for page in ("vote page", "vote")}
    rounds |= {("tutorial", page): [found(100, 11.5), found(100, 11.5)] for page in ("vote page", "vote")}
    shown = throughput.report(rounds, {"ours": {"Django": 2.0}, "tutorial": {"Django": 9.0}}, "2 rounds.")
    assert "| vote page | ours | 315 (300 to 330) | 100 | 100 | p99 2.0 s | 10% | 3.15 (3.00 to 3.30) |" in shown
    assert "| vote | tutorial | 100 (100 to 100) | 100 | 100 | p99 2.0 s | 10% |  |" in shown
    assert "Droplet 4.0 times as much as ours, and its cluster 1.0 times" in shown
    assert "| **the Droplet, in all** | 3.00 | 3.00 | 12.00 | 12.00 |" in shown
    assert "| … Django |  | 2.00 |  | 9.00 |" in shown
    kept = json.loads((tmp_path / "throughput.json").read_text())
    assert [one["climb"]["held"]["offered"] for one in kept["rounds"]["ours: vote page"]] == [300, 330]


def test_a_visitor_of_an_overload_is_told_by_when_they_asked() -> None:
    """What they got, most first, and after how long."""
    answers = [
        load.Answer(at=moment + part / 4, status=status, after=after, error="")
        for moment in connections.MOMENTS
        for part, (status, after) in enumerate([(200, 1.0), (504, 60.0), (504, 60.0), (504, 60.0)])
    ]
    assert connections.collapse(answers)[0] == (0, "75% 504, 25% 200", "60.0")


def test_each_alternative_changes_a_text_that_is_deployed() -> None:
    """Else it would be measured as what it is not."""
    deployed = {NGINX: "nginx/nginx.conf", PROXY: "nginx/proxy.conf", UNIT: "units/gunicorn.service"}
    changes = [
        (setup.name, path, old) for setup in ALTERNATIVES for path, pairs in setup.replaced.items() for old, _ in pairs
    ]
    assert len(changes) > 5
    assert [change for change in changes if change[2] not in (CLOUD_INIT / deployed[change[1]]).read_text()] == []


def test_what_was_measured_is_what_the_budget_says() -> None:
    """Statements wait for a backend where the threads of one Droplet are more than backends, and only there."""
    page = (RESULTS / "connections.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (\d+) x (\d+) = \d+ (?:\|[^|]*){5}\| (\d+) ", page, re.MULTILINE)
    assert len(rows) == len(connections.POOLS) * len(connections.SHAPES)
    for pool, workers, threads, waiting in (map(int, row) for row in rows):
        budget = ConnectionBudget(
            max_connections=25, direct_connections=2, pool_size=pool, workers=workers, threads=threads
        )
        if budget.limited_from > 1:
            assert waiting == 0
        elif pool < connections.RATE * connections.HELD:  # all backends are at work all the time
            assert waiting == workers * threads - pool


@pytest.mark.full
def test_each_page_is_served_and_each_vote_is_counted(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over HTTPS at a constant rate, through the pool or without a query, with what it costs each program."""
    for name in ("PATH", "SANDBOX_HOME"):
        monkeypatch.setenv(name, environment(deployed.world.home)[name])
    load.install()
    site = Site(world=deployed.world)

    def transactions() -> int:
        return sum(
            int(row["xact_count"])
            for row in pooler(site.cluster, "SHOW STATS_TOTALS")
            if row["database"] != "pgbouncer"
        )

    def counted() -> int:
        found = re.search(r"(\d+) votes? so far", site.ask(f"{deployed.url}/questions/1/results/"))
        return int(found[1]) if found else 0

    with pages(site) as asked:
        votes_before = counted()
        began = {}
        reports = {}
        for name, page in asked.items():
            began[name] = transactions()
            reports[name] = throughput.attack(page, 20, 2)
            began[f"{name}, then"] = transactions()
        cost = throughput.costs(site, asked["vote page"], 20, 2)
    assert {name: (report.requests, report.success) for name, report in reports.items()} == dict.fromkeys(
        asked, (40, 1)
    )
    assert reports["vote"].statuses == {"302": 40}
    assert counted() - votes_before == 40
    assert began["no query, then"] == began["no query"]
    assert began["vote page, then"] - began["vote page"] >= 40
    assert min(cost[name] for name in ("nginx", "gunicorn", "pgbouncer", "postgres")) > 0
