"""Several Droplets behind a load balancer: what visitors lose while the site changes, or loses one of them."""

import ipaddress
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.web.pages import QUESTION
from protocol.certificate import certificate_key
from protocol.health import UNHEALTHY_WITHIN, mark
from sandbox.network import namespaces
from sandbox.network.packet_filter import nat_machine
from sandbox.parts.databases import clusters
from sandbox.world.world import INTERNET_SIDE, World
from tests.fleet.fleet import BALANCED, Fleet, members
from tests.fleet.traffic import RATE, Traffic, nothing_lost, primary, traffic
from tests.internet_side import python
from tests.projects.test_broken_releases import BROKEN
from tests.pulumi_stack import Settings

pytestmark = pytest.mark.full

IN_ITS_HANDS = 10  # requests at most that a Droplet has begun when it dies; of fifty a second it gets half
FAILOVER = 60  # seconds that errors may last after the database's primary died
# What a cluster of before may have, and a new one (at $260 a month).
WITH_A_STANDBY: dict[str, Settings] = {
    "standard": {"database.size": "db-s-1vcpu-2gb", "database.nodes": 2, "database.acceptPlan": True},
    "advanced": {
        "database.edition": "advanced",
        "database.size": "gd-2vcpu-8gb",
        "database.nodes": 2,
        "database.acceptPlan": False,
    },
}
AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
LOCK = "BEGIN; LOCK TABLE polls_choice IN ACCESS SHARE MODE; SELECT pg_sleep(300)"
END = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'report' AND pid <> pg_backend_pid()"""
MIGRATION = """from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("polls", "0002_sample_poll")]
    operations = [migrations.AddField("choice", "note", models.TextField(default=""))]
"""


def askers(world: World, *, seconds: float) -> set[str]:
    """Who asks the Spaces meanwhile, by address."""
    log = world.logs / "spaces-origin.log"
    known = log.stat().st_size
    time.sleep(seconds)
    with log.open() as lines:
        lines.seek(known)
        return {json.loads(line)["from"] for line in lines}


def cut_off_at_most(seen: Traffic, most: int = 3) -> None:
    """Every visitor was served, but for what the balancer had under way at the moment of its end."""
    assert len(seen.lost) <= most, str(seen)
    assert all("reset by peer" in one.error or "EOF" in one.error for one in seen.lost), str(seen)
    assert not seen.lost or seen.lost[-1].at - seen.lost[0].at < 1, str(seen)
    assert seen.votes <= seen.counted <= seen.votes + len(seen.lost), str(seen)


def one_dies(fleet: Fleet) -> None:
    """Kill a Droplet's init among visitors; those after the balancer's checks lose nothing."""
    victim = fleet.machines()[1]
    with traffic(fleet.world) as seen:
        time.sleep(2)
        init = victim.leader()
        assert init
        os.kill(init, signal.SIGKILL)
        died = time.monotonic() - seen.began
        time.sleep(UNHEALTHY_WITHIN + 10)
    assert all(died - 5 < one.at < died + UNHEALTHY_WITHIN + 3 for one in seen.lost), str(seen)
    # A request whose answer was lost may have counted.
    assert seen.votes <= seen.counted <= seen.votes + len(seen.lost), str(seen)
    assert len(seen.lost) <= IN_ITS_HANDS, str(seen)


def test_a_second_droplet_joins(fleet: Fleet) -> None:
    """It gets visitors once it serves."""
    with traffic(fleet.world) as seen:
        fleet.up({"web.count": 2})
    nothing_lost(seen)


def test_a_release_and_its_rollback(fleet: Fleet) -> None:
    """One Droplet after the other, each behind its socket; the balancer's checks notice nothing."""
    first = fleet.stack.outputs()["release"]
    with traffic(fleet.world) as seen, members(fleet.world) as health:
        fleet.up({"app.env.MARK": "1"})
        assert fleet.serving() == {fleet.stack.outputs()["release"]} != {first}
        fleet.up({"app.release": first})
    nothing_lost(seen)
    assert health.keys() == {"healthy"}, health
    del fleet.settings["app.release"]
    fleet.up({})


@pytest.mark.prove
@pytest.mark.parametrize("name", ["an import error", "a first page that fails", "a migration that fails"])
def test_a_release_that_fails_is_met_by_nobody(fleet: Fleet, name: str) -> None:
    """It ends on the first Droplet, with its own text."""
    change, texts = BROKEN[name]
    fleet.up({**BALANCED, "web.count": 2})
    release = fleet.stack.outputs()["release"]
    with traffic(fleet.world) as seen:
        said = fleet.refused({"app.path": fleet.project(change)})
    assert [text for text in texts if text not in said] == []
    assert fleet.serving() == {release}
    nothing_lost(seen)


@pytest.mark.prove
def test_a_release_that_fails_on_the_second_droplet(fleet: Fleet) -> None:
    """The first one had it, and goes back; the text is the second one's own."""
    fleet.up({"web.count": 2})
    release = fleet.stack.outputs()["release"]
    second = mark(fleet.stack.outputs()["droplet_ids"][1])

    def fail(project: Path) -> None:
        views = project / "polls/views.py"
        broken = (
            f'    import os\n    assert os.environ["SERVED_BY"] != "{second}", "not on this one"\n    return render('
        )
        views.write_text(views.read_text().replace("    return render(", broken, 1))

    with traffic(fleet.world) as seen:
        said = fleet.refused({"app.path": fleet.project(fail)})
    assert "not on this one" in said
    assert f"All Droplets that had it went back to {release}" in said
    assert fleet.serving() == {release}
    nothing_lost(seen)


def test_a_migration_that_waits_for_a_table_names_who_has_it(fleet: Fleet) -> None:
    """Visitors wait as long as it does, three seconds, and no longer."""
    release = fleet.stack.outputs()["release"]
    project = fleet.project(lambda folder: (folder / "polls/migrations/0003_note.py").write_text(MIGRATION))
    psql = [
        *AS_POSTGRES,
        "env",
        "PGAPPNAME=report",
        "psql",
        "-p",
        str(clusters.PORT),
        "-U",
        "postgres",
        "-d",
        "app",
        "-c",
    ]
    with ThreadPoolExecutor() as threads, traffic(fleet.world) as seen:
        threads.submit(primary(fleet.world).run, [*psql, LOCK], timeout=400, check=False)
        try:
            said = fleet.refused({"app.path": project})
        finally:
            primary(fleet.world).run([*psql, END])
    assert re.search(
        r"it waited for AccessExclusiveLock on polls_choice, which process \d+ of postgres \(report\)", said
    )
    assert fleet.serving() == {release}
    nothing_lost(seen)


@pytest.mark.prove
def test_a_release_that_crashes_under_visitors_goes_back_by_itself(fleet: Fleet) -> None:
    """Its first page is fine; each vote ends a worker."""
    fleet.up({**BALANCED, "web.count": 2})
    release = fleet.stack.outputs()["release"]

    def crash(project: Path) -> None:
        views = project / "polls/views.py"
        deadly = "    import os\n    os.kill(os.getpid(), 9)\n    asked = get_object_or_404("
        head, vote, rest = views.read_text().partition("def vote(")
        views.write_text(head + vote + rest.replace("    asked = get_object_or_404(", deadly, 1))

    with traffic(fleet.world) as seen:
        # It may end before the first votes do.
        fleet.stack.run(
            "up", "--yes", "--skip-preview", settings={**fleet.settings, "app.path": fleet.project(crash)}, check=False
        )
        end = time.monotonic() + 60
        while fleet.serving() != {release} and time.monotonic() < end:
            time.sleep(0.5)
        back = time.monotonic()
        time.sleep(5)
    assert fleet.serving() == {release}
    droplet, bucket = fleet.stack.outputs()["droplet_ids"][0], fleet.stack.outputs()["buckets"]["state"]
    read = 'answer = json.loads(s3().get_object(Bucket=given["bucket"], Key=given["key"])["Body"].read())["error"]'
    said = python(fleet.world, read, bucket=bucket, key=f"nodes/{droplet}.json")
    assert "of its workers ended before their time" in said
    assert seen.lost, "a control: the generator sees what is lost"
    assert max(one.at for one in seen.lost) < back - seen.began, str(seen)


def test_a_droplet_that_dies_loses_what_it_had_in_its_hands(fleet: Fleet) -> None:
    """The balancer sends nobody there any more after 15 s."""
    one_dies(fleet)


@pytest.mark.prove
def test_all_droplets_are_replaced(fleet: Fleet) -> None:
    """The new ones serve before the old ones go."""
    fleet.up({**BALANCED, "web.count": 2})
    before = fleet.stack.outputs()["droplet_ids"]
    with traffic(fleet.world) as seen:
        fleet.up({"web.packages": ["tree"]})
    assert not {*before} & {*fleet.stack.outputs()["droplet_ids"]}
    nothing_lost(seen)


@pytest.mark.prove
def test_five_releases_on_three_droplets(fleet: Fleet) -> None:
    """One after the other, without a pause."""
    with traffic(fleet.world) as seen:
        fleet.up({"web.count": 3})
        for number in range(5):
            fleet.up({"app.env.MARK": f"five-{number}"})
    nothing_lost(seen)


@pytest.mark.prove
def test_one_of_three_dies_and_all_three_are_replaced(fleet: Fleet) -> None:
    """The dead one is replaced like the others, and nobody notices."""
    fleet.up({"web.count": 3})
    before = fleet.stack.outputs()["droplet_ids"]
    one_dies(fleet)
    with traffic(fleet.world) as seen:
        fleet.up({"web.packages": ["tree", "less"]})
    assert len({*fleet.stack.outputs()["droplet_ids"]} - {*before}) == 3
    nothing_lost(seen)


@pytest.mark.prove
def test_a_droplet_leaves(fleet: Fleet) -> None:
    """It serves the visitors that it has, and is deleted then."""
    fleet.up({"web.count": 3})
    with traffic(fleet.world) as seen:
        fleet.up({"web.count": 2})
    nothing_lost(seen)


@pytest.mark.prove
def test_the_balancers_certificate_is_renewed(fleet: Fleet) -> None:
    """DigitalOcean does it; the program has nothing to do then."""
    fleet.up({**BALANCED, "web.count": 2})
    listed = 'answer = [one["id"] for one in api("GET", "/v2/certificates")["certificates"]]'
    [old] = python(fleet.world, listed)
    with traffic(fleet.world) as seen:
        python(fleet.world, 'answer = api("POST", f"/_sandbox/certificates/{given[\'old\']}/renew")', old=old)
        time.sleep(5)
    assert old not in python(fleet.world, listed)
    nothing_lost(seen)
    fleet.stack.run("up", "--yes", "--skip-preview", "--expect-no-changes", settings=fleet.settings)


@pytest.mark.prove
def test_a_site_moves_behind_the_load_balancer(fleet: Fleet) -> None:
    """From one Droplet's own address; both ways serve until the record of before has run out."""
    fleet.up({"web.loadBalancer": False, "web.count": 1, "dnsPatience": 0})
    with traffic(fleet.world) as seen:
        fleet.up({"web.loadBalancer": True, "dnsPatience": 300})
    nothing_lost(seen)


@pytest.mark.prove
def test_a_site_moves_back_to_one_droplet(fleet: Fleet) -> None:
    """The balancer ends before what lets it in to the Droplets: what visitors keep open to it ends at once."""
    fleet.up({**BALANCED, "web.count": 2})
    with traffic(fleet.world) as seen:
        fleet.up({"web.loadBalancer": False, "web.count": 1, "dnsPatience": 300})
    cut_off_at_most(seen)


@pytest.mark.prove
def test_a_site_moves_back_without_a_certificate(fleet: Fleet) -> None:
    """The kept one has run out behind the balancer: a new one is obtained before the name leads to the Droplet."""
    fleet.up({**BALANCED, "web.count": 1})
    given = {"bucket": fleet.stack.outputs()["buckets"]["state"], "key": certificate_key("polls.example")}
    python(fleet.world, 'answer = s3().delete_object(Bucket=given["bucket"], Key=given["key"]) and None', **given)
    with traffic(fleet.world) as seen:
        fleet.up({"web.loadBalancer": False, "dnsPatience": 300})
    cut_off_at_most(seen)


@pytest.mark.prove
@pytest.mark.parametrize("edition", WITH_A_STANDBY)
def test_the_databases_primary_dies(fleet: Fleet, edition: str) -> None:
    """Its standby takes over, and the site serves again by itself; of the votes only the last moment's are lost."""
    python(fleet.world, 'answer = api("PUT", "/_sandbox/switches", {"old_clusters": True})')
    fleet.up({**BALANCED, "web.count": 2, **WITH_A_STANDBY[edition]})
    with traffic(fleet.world) as seen:
        time.sleep(3)
        leader = primary(fleet.world).leader()
        assert leader
        os.kill(leader, signal.SIGKILL)
        died = time.monotonic() - seen.began
        time.sleep(FAILOVER + 10)
    sys.stdout.write(f"{seen}\n")  # `pytest -rP` shows it
    assert seen.lost, "a control: nobody was served by a dead database"
    assert all(died - 5 < one.at < died + FAILOVER for one in seen.lost), str(seen)
    # Asynchronous: at most what was acknowledged just before. More than those: a vote whose answer was lost.
    assert seen.votes - RATE < seen.counted <= seen.votes + len(seen.lost), str(seen)


@pytest.mark.prove
def test_more_visitors_than_can_be_served(fleet: Fleet) -> None:
    """Who is one too many is told so at once; a busy Droplet stays in the balancer, and serves all again after it."""

    def slow(project: Path) -> None:
        views = project / "polls/views.py"
        page = '    return render(request, "polls/question.html", {"question": asked, "form": VoteForm(asked)})'
        assert page in views.read_text()
        views.write_text(views.read_text().replace(page, f'    __import__("time").sleep(2)\n{page}'))

    fleet.up({**BALANCED, "web.count": 2})
    fleet.up({"app.path": fleet.project(slow)})
    with traffic(fleet.world) as seen, members(fleet.world) as health:
        time.sleep(45)
    kinds = Counter(one.status for one in seen.answers)
    sys.stdout.write(f"answers: {kinds}; members: {health}\n")  # `pytest -rP` shows it
    assert kinds[503] > 50
    assert kinds.keys() <= {200, 302, 503, 0}, "0: the visitor's patience ended"
    assert health.keys() == {"healthy"}
    asked = time.monotonic()
    # Those who have gone are still answered first; meanwhile it comes back when it is told to.
    served = "answer = subprocess.run(given['argv'], capture_output=True, text=True, check=True).stdout"
    curl = ["curl", "--silent", "--fail", "--retry", "30", "--retry-max-time", "150", "--max-time", "100", QUESTION]
    assert "vote" in python(fleet.world, served, timeout=300, argv=curl)
    sys.stdout.write(f"served {time.monotonic() - asked:.0f} s after the last of them\n")
    del fleet.settings["app.path"]
    fleet.up({})


@pytest.mark.prove
def test_droplets_lose_their_public_address_and_get_one_again(fleet: Fleet) -> None:
    """Both ways side by side; without, they install themselves by the NAT gateway, and Spaces see its address."""
    fleet.up({**BALANCED, "web.count": 2})
    before = fleet.stack.outputs()["droplet_ids"]
    with traffic(fleet.world) as seen:
        fleet.up({"web.publicNetwork": False})
    nothing_lost(seen)
    assert not {*before} & {*fleet.stack.outputs()["droplet_ids"]}

    [found] = python(fleet.world, 'answer = api("GET", "/v2/vpc_nat_gateways")["vpc_nat_gateways"]')
    egress = fleet.stack.outputs()["egress_ip_address"]
    assert found["egresses"]["public_gateways"] == [{"ipv4": egress}]
    for one in fleet.machines():
        shown = json.loads(one.run(["ip", "-j", "-4", "addr", "show", "scope", "global"]).stdout)
        assert [address["local"] for link in shown for address in link["addr_info"]] == [one.hardware.private_ip]
        assert one.hardware.public_ip is None
    # Every agent looks for its work each few seconds.
    droplets = {str(address) for address in ipaddress.ip_network("198.51.100.0/25")} - {INTERNET_SIDE}
    assert askers(fleet.world, seconds=10) & (droplets | {egress}) == {egress}
    # Debian's and Python's packages of two Droplets: nothing else of that size could have come by it.
    gateway = namespaces.machine_namespace(nat_machine(found["id"]))
    [link] = json.loads(namespaces.command(["ip", "-n", gateway, "-s", "-j", "link", "show", "eth0"]))
    assert link["stats64"]["rx"]["bytes"] > 20_000_000

    with traffic(fleet.world) as seen:
        fleet.up({"web.publicNetwork": True})
    nothing_lost(seen)
    assert all(one.hardware.public_ip for one in fleet.machines())
    assert egress not in askers(fleet.world, seconds=10)
    assert nat_machine(found["id"]) not in " ".join(namespaces.namespaces())
