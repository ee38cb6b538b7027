"""Several Droplets behind a load balancer: what visitors lose while the site changes, or loses one of them."""

import ipaddress
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from protocol.health import UNHEALTHY_WITHIN, mark
from sandbox.machines import machine
from sandbox.machines.machine import Machine
from sandbox.network import namespaces
from sandbox.network.packet_filter import nat_machine
from sandbox.parts.databases import clusters
from sandbox.world.world import INTERNET_SIDE, World
from tests.commands import ROOT
from tests.fleet.traffic import Traffic, traffic
from tests.internet_side import python
from tests.pulumi_stack import PulumiStack, Settings
from tests.worlds import Deployment

pytestmark = pytest.mark.full

AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
LOCK = "BEGIN; LOCK TABLE polls_choice IN ACCESS SHARE MODE; SELECT pg_sleep(45)"
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


class Fleet:
    """The stack "local", whose settings are changed one after the other."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.stack = PulumiStack(world)
        self.settings: dict[str, object] = {}
        self.folder = folder
        self.projects = 0

    def up(self, settings: Settings) -> None:
        """Change settings and deploy."""
        self.settings |= settings
        self.stack.up(settings=self.settings)

    def refused(self, settings: Settings) -> str:
        """Deploy settings that can't work; return what was said. The next update does not have them."""
        done = self.stack.run("up", "--yes", "--skip-preview", settings={**self.settings, **settings}, check=False)
        assert done.returncode != 0, done.stdout
        return " ".join((done.stdout + done.stderr).split())

    def project(self, change: Callable[[Path], object]) -> str:
        """Return a copy of the app with a change."""
        self.projects += 1
        copy = self.folder / f"app-{self.projects}"
        ignored = shutil.ignore_patterns(".venv", "__pycache__", "*.sqlite3")
        shutil.copytree(ROOT / "app", copy, ignore=ignored)
        change(copy)
        return str(copy)

    def machines(self) -> list[Machine]:
        """The machines of the Droplets that the stack has."""
        return [machine.load_machine(self.world, f"d{one}") for one in self.stack.outputs()["droplet_ids"]]

    def serving(self) -> set[str]:
        """The releases that its Droplets serve."""
        return {Path(one.run(["readlink", "/srv/app/current"]).stdout.strip()).name for one in self.machines()}

    def cluster(self) -> Machine:
        """The machine of the database."""
        [name] = [one for one in machine.names(self.world) if one.startswith("c")]
        return machine.load_machine(self.world, name)


@pytest.fixture(scope="module")
def fleet(deployed: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """The deployed site behind a load balancer, with its one Droplet; it stays there: what comes later destroys it."""
    fleet = Fleet(deployed.world, tmp_path_factory.mktemp("projects"))
    fleet.up({"web.loadBalancer": True, "dnsPatience": 0})  # nobody is asking yet
    return fleet


def nothing_lost(seen: Traffic) -> None:
    """Every visitor was served, and every vote that was answered with success is counted."""
    assert not seen.lost, str(seen)
    assert seen.votes == seen.counted, str(seen)


def test_a_second_droplet_joins(fleet: Fleet) -> None:
    """It gets visitors once it serves."""
    with traffic(fleet.world) as seen:
        fleet.up({"web.count": 2})
    nothing_lost(seen)


def test_a_release_and_its_rollback(fleet: Fleet) -> None:
    """One Droplet after the other, each behind its socket."""
    first = fleet.stack.outputs()["release"]
    with traffic(fleet.world) as seen:
        fleet.up({"app.env.MARK": "1"})
        assert fleet.serving() == {fleet.stack.outputs()["release"]} != {first}
        fleet.up({"app.release": first})
    nothing_lost(seen)
    del fleet.settings["app.release"]
    fleet.up({})


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
    psql = ["psql", "-p", str(clusters.PORT), "-U", "postgres", "-d", "app", "-c", LOCK]
    with traffic(fleet.world) as seen, ThreadPoolExecutor() as threads:
        threads.submit(fleet.cluster().run, [*AS_POSTGRES, "env", "PGAPPNAME=report", *psql], timeout=90)
        said = fleet.refused({"app.path": project})
    assert re.search(
        r"it waited for AccessExclusiveLock on polls_choice, which process \d+ of postgres \(report\)", said
    )
    assert fleet.serving() == {release}
    nothing_lost(seen)


@pytest.mark.prove
def test_a_release_that_crashes_under_visitors_goes_back_by_itself(fleet: Fleet) -> None:
    """Its first page is fine; each vote ends a worker."""
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
    victim = fleet.machines()[1]
    with traffic(fleet.world) as seen:
        time.sleep(2)
        init = victim.leader()
        assert init
        os.kill(init, signal.SIGKILL)
        died = time.monotonic() - seen.began
        time.sleep(UNHEALTHY_WITHIN + 10)
    assert all(died - 5 < one.at < died + UNHEALTHY_WITHIN + 3 for one in seen.lost), str(seen)


@pytest.mark.prove
def test_all_droplets_are_replaced(fleet: Fleet) -> None:
    """The new ones serve before the old ones go."""
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
def test_a_droplet_leaves(fleet: Fleet) -> None:
    """It serves the visitors that it has, and is deleted then."""
    fleet.up({"web.count": 3})
    with traffic(fleet.world) as seen:
        fleet.up({"web.count": 2})
    nothing_lost(seen)


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
    fleet.up({"web.loadBalancer": True, "web.count": 2, "dnsPatience": 0})
    with traffic(fleet.world) as seen:
        fleet.up({"web.loadBalancer": False, "web.count": 1, "dnsPatience": 300})
    nothing_lost(seen)


@pytest.mark.prove
def test_droplets_lose_their_public_address_and_get_one_again(fleet: Fleet) -> None:
    """Both ways side by side; without, they install themselves by the NAT gateway, and Spaces see its address."""
    fleet.up({"web.loadBalancer": True, "web.count": 2, "dnsPatience": 0})
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
