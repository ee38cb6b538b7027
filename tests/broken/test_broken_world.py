"""Parts of a full world that die, one by one and all together: what heals itself, and what `sandbox up` fixes."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.machines import cgroups, machine
from sandbox.network import namespaces
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import World
from tests.commands import PATH, run
from tests.internet_side import python
from tests.pulumi_stack import PulumiStack
from tests.worlds import Deployment

pytestmark = pytest.mark.full

HEALS_WITHIN = 120  # seconds: on a machine that is busy with other tests


def until(look: Callable[[], object], wanted: object, seconds: float = HEALS_WITHIN) -> None:
    """Poll until `look` answers what is wanted; on failure say what it answered last.

    To look is to start a command, which what is waited for has to share the machine with: less often by and by.
    """
    deadline = time.monotonic() + seconds
    pause = 0.1
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline, f"after {seconds} s: {seen!r}, wanted {wanted!r}"
        time.sleep(pause)
        pause = min(pause * 1.5, 1)


def first_page(deployed: Deployment) -> str:
    """HTTP status of the site's first page, which needs Nginx, Gunicorn, the pool and PostgreSQL."""
    curl = ("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "5")
    return deployed.exec(*curl, deployed.url, check=False).stdout


def states(world: World) -> dict[str, str]:
    """What `sandbox status` says of each part; nothing when the world is stopped."""
    done = run("sandbox", "status", "--json", home=world.home, check=False)
    assert done.returncode in {0, 3}, done.stderr
    return {row["name"]: row["state"] for row in json.loads(done.stdout)["parts"]}


def everything_runs(world: World) -> bool:
    """Whether status has nothing to complain of."""
    found = set(states(world).values())
    return found == {"running", "active", "online"}


def kill(pids: set[int]) -> None:
    """Kill processes, and wait until they are gone."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: {pid for pid in pids if Path(f"/proc/{pid}/exe").exists()}, set())


def end_all_processes(world: World) -> None:
    """End all that runs, those processes too that others start while they are ended."""
    kill({Supervisor(world).pid()})
    cgroups.kill()


def droplet(deployed: Deployment) -> str:
    """Name of the machine of the Droplet that serves now."""
    [identifier] = PulumiStack(deployed.world).outputs()["droplet_ids"]
    return f"d{identifier}"


def kept(deployed: Deployment) -> object:
    """What must survive: the static files in the Space, and the answer of a page that reads the database."""
    buckets = deployed.outputs["buckets"]
    assert isinstance(buckets, dict)
    look = 'answer = sorted(item["Key"] for item in s3().list_objects_v2(Bucket=given["bucket"])["Contents"])'
    return python(deployed.world, look, bucket=buckets["assets"]), deployed.exec("curl", "-sS", deployed.url).stdout


def comes_back(deployed: Deployment, before: object) -> None:
    """`sandbox up` brings everything back, with its data."""
    run("sandbox", "up", home=deployed.world.home)
    until(lambda: first_page(deployed), "200")
    until(lambda: everything_runs(deployed.world), True)  # noqa: FBT003 - what is wanted
    assert kept(deployed) == before


def test_every_process_may_be_killed(deployed: Deployment) -> None:
    """Each is started again by itself, machines too; of Pebble `status` says that it is gone, and `up` fixes that."""
    supervisor = Supervisor(deployed.world)
    before = {status.name: status.pid for status in supervisor.status()}
    assert {"api", "dns", "front", "metadata", "pebble", "proxy", "ceph-mon", "ceph-osd"} <= before.keys()
    assert len([name for name in before if name.startswith("machine-")]) == 2

    def started_again() -> set[str]:
        now = {status.name: status.pid for status in supervisor.status() if status.state == "RUNNING"}
        return {name for name, pid in before.items() if now.get(name, pid) != pid}

    for pid in before.values():
        kill({pid})
    until(started_again, before.keys() - {"pebble"})
    until(lambda: first_page(deployed), "200")
    assert states(deployed.world)["pebble"] == "exited"
    # No flapping: what had its port taken by a survivor would start again and again.
    pids = {status.name: status.pid for status in supervisor.status()}
    run("sandbox", "up", home=deployed.world.home)
    until(lambda: everything_runs(deployed.world), True)  # noqa: FBT003 - what is wanted
    now = {status.name: status.pid for status in supervisor.status()}
    assert {name for name in now if now[name] != pids[name]} == {"pebble"}
    api = ("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}")
    assert deployed.exec(*api, "https://api.digitalocean.com/v2/account").stdout == "401"


def test_a_machine_whose_system_dies_is_off_and_can_be_started(deployed: Deployment) -> None:
    """As after pulling the plug: `status` says so, and `up` switches it on again."""
    machine.kill(deployed.world, droplet(deployed))
    assert "active, but its machine is off" in states(deployed.world).values()
    until(lambda: first_page(deployed), "000")
    run("sandbox", "up", home=deployed.world.home)
    until(lambda: first_page(deployed), "200")


@pytest.mark.prove
def test_a_killed_supervisor(deployed: Deployment) -> None:
    """`status` says what still runs without it; `up` ends that, and goes on from disk."""
    before = kept(deployed)
    kill({Supervisor(deployed.world).pid()})
    told = run("sandbox", "status", home=deployed.world.home, check=False)
    assert told.returncode == 3
    assert "its supervisor is dead" in told.stdout
    comes_back(deployed, before)


@pytest.mark.prove
def test_half_a_reboot_that_left_the_network(deployed: Deployment) -> None:
    """All processes gone; mounts, namespaces and control groups are still there."""
    before = kept(deployed)
    end_all_processes(deployed.world)
    told = run("sandbox", "status", home=deployed.world.home, check=False)
    assert (told.returncode, told.stdout) == (3, f"full world in {deployed.world.home}: stopped\n")
    assert namespaces.ROUTER in namespaces.namespaces()
    comes_back(deployed, before)


def test_half_a_reboot_that_left_the_disk(deployed: Deployment) -> None:
    """What lives in memory is gone: processes, mounts, namespaces, control groups, nft tables; the disk is there."""
    before = kept(deployed)
    end_all_processes(deployed.world)
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        if str(deployed.world.home) in line:
            subprocess.run(["umount", "--lazy", line.split()[4]], check=True)
    for name in namespaces.namespaces():
        subprocess.run(["ip", "netns", "del", name], check=True)
    cgroups.remove()
    subprocess.run(["nft", "delete", "table", "ip", namespaces.HOST_TABLE], check=True)
    comes_back(deployed, before)


@pytest.fixture
def dropping() -> Iterator[None]:
    """A packet filter that forwards nothing, as Docker leaves it, on this machine."""
    ruleset = "table ip test_docker { chain FORWARD { type filter hook forward priority 0; policy drop; }; }\n"
    subprocess.run(["nft", "-f", "-"], input=ruleset, text=True, check=True)
    yield
    subprocess.run(["nft", "delete", "table", "ip", "test_docker"], check=True)


@pytest.mark.usefixtures("dropping")
def test_a_docker_hosts_forward_policy(deployed: Deployment) -> None:
    """Machines lose the mirrors; `sandbox up` lets the world through, and only the world."""
    here = machine.load_machine(deployed.world, droplet(deployed))
    # Whatever it answers: it is reached.
    mirror = ["curl", "--silent", "--output", "/dev/null", "--max-time", "5", "http://deb.debian.org/debian/"]
    assert here.run(mirror, check=False).returncode != 0
    run("sandbox", "up", home=deployed.world.home)
    assert here.run(mirror, check=False).returncode == 0
    listed = subprocess.run(["nft", "list", "chain", "ip", "test_docker", "FORWARD"],
                            capture_output=True, text=True, check=True).stdout  # fmt: skip
    rules = [line.strip() for line in listed.splitlines() if "accept" in line]
    assert len(rules) == 2
    assert all(namespaces.HOST_LINK in rule and "django-do" in rule for rule in rules)


def test_two_at_once_are_one_too_many(deployed: Deployment) -> None:
    """The second `up` or `down` of the same world refuses, and says why."""
    home = deployed.world.home
    argv = ["sandbox", "up"]
    first = subprocess.Popen(argv, env=os.environ | {"PATH": PATH, "SANDBOX_HOME": str(home)},
                             stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert first.stdout
    while "checks" not in first.stdout.readline():  # it is at work
        pass
    os.kill(first.pid, signal.SIGSTOP)
    try:
        second = run("sandbox", "down", home=home, check=False)
        assert second.returncode == 1
        assert f"{home}: another `sandbox up` or `sandbox down` is at work on it" in second.stderr
    finally:
        os.kill(first.pid, signal.SIGCONT)
        first.communicate()
    assert first.returncode == 0
