"""A cluster with standby nodes, as its clients see it: real replication, and a primary that dies or gives way."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sandbox.machines import machine
from sandbox.network import namespaces
from sandbox.network.packet_filter import cluster_machine
from sandbox.parts.databases.clusters import Clusters
from sandbox.tests.made_cluster import made_cluster
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import INTERNET_SIDE, World
from tests.commands import run
from tests.internet_side import python

pytestmark = pytest.mark.full

ERRORS = 60  # seconds that errors may last after the primary died
WINDOW = 1  # second before its death whose votes may be lost

CONNECT = """
import psycopg
def connect(user, password, database, port, host=given["connection"]["host"]):
    return psycopg.connect(
        host=host, port=port, user=user, password=password, dbname=database, sslmode="verify-full",
        sslrootcert=given["ca"], autocommit=True, connect_timeout=3)
"""
# Casts votes through the pool, one after the other, until 50 came in after the first error, and counts them then.
VOTE = """
admin = connect("doadmin", given["connection"]["password"], "polls", 25060)
admin.execute("create table votes (number int); grant insert on votes to app")
acknowledged, resumed, failed, pool, number = {}, [], [], None, 0
deadline = time.monotonic() + 100
while len(resumed) < 50:
    assert time.monotonic() < deadline, failed[-1]
    number += 1
    try:
        pool = pool or connect("app", given["app"], "web", 25061)
        pool.execute("insert into votes values (%s)", [number])
    except psycopg.Error as error:
        failed.append((time.monotonic(), str(error)))
        pool = None
        time.sleep(0.02)
    else:
        acknowledged[number] = time.monotonic()
        if failed:
            resumed.append(time.monotonic())
admin = connect("doadmin", given["connection"]["password"], "polls", 25060)
kept = {row[0] for row in admin.execute("select number from votes")}
admin.execute("drop table votes")
lost = acknowledged.keys() - kept
died = failed[0][0]
answer = {"errors": resumed[0] - died, "acknowledged": len(acknowledged), "lost": len(lost),
          "window": max([died - acknowledged[one] for one in lost], default=0)}
"""


@pytest.fixture(scope="module")
def cluster(full_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Two nodes of 2 GiB that only the internet side may reach, a user, a database and a pool."""
    python(full_world, 'answer = api("PUT", "/_sandbox/switches", {"old_clusters": True})')
    fields = {"version": "17", "size": "db-s-1vcpu-2gb", "num_nodes": 2}
    visitors = [{"type": "ip_addr", "value": INTERNET_SIDE}]
    with made_cluster(full_world, "failover", ip_range="10.78.0.0/20", pool=10, rules=visitors, **fields) as made:
        authority = tmp_path_factory.mktemp("failover") / "ca.crt"
        authority.write_text(clusters(full_world).cluster_ca(made["id"]))
        yield made | {"ca": str(authority)}
    python(full_world, 'answer = api("DELETE", "/_sandbox/switches")')


def clusters(world: World) -> Clusters:
    """The part of the world that keeps database clusters."""
    return Clusters(world, Supervisor(world))


def eventually(what: str, good: Callable[[], bool], timeout: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + timeout
    while not good():
        assert time.monotonic() < deadline, f"{what}: not within {timeout:.0f} s"
        time.sleep(0.1)


def query(world: World, cluster: dict[str, Any], number: int, statement: str) -> str:
    """Ask the PostgreSQL of one node, as its operator."""
    psql = ["psql", "-X", "-A", "-t", "-p", "25060", "-d", "polls", "-c", statement]
    done = clusters(world).machine(cluster["id"], number).run(["runuser", "-u", "postgres", "--", *psql], check=False)
    return done.stdout.strip()


def states(world: World, cluster: dict[str, Any]) -> list[str]:
    """What each node does, the standby's distance left out."""
    return [state.partition(",")[0] for _, state in sorted(clusters(world).states(cluster["id"]).items())]


def vote(world: World, cluster: dict[str, Any], interrupt: Callable[[], object]) -> dict[str, Any]:
    """Let votes come in, interrupt them, and return what became of them."""
    primary = states(world, cluster).index("primary") + 1
    with ThreadPoolExecutor() as threads:
        result = threads.submit(python, world, CONNECT + VOTE, timeout=150, **cluster)
        counted = "select count(*) > 200 from votes"
        eventually("votes come in", lambda: query(world, cluster, primary, counted) == "t" or result.done())
        interrupt()
        found: dict[str, Any] = result.result()
    said = f"errors for {found['errors']:.1f} s, {found['lost']} of {found['acknowledged']} votes lost\n"
    sys.stdout.write(said)  # `pytest -rP` shows it
    return found


def reaches(world: World, address: str) -> bool:
    """Say whether the internet side gets a connection within two seconds."""
    argv = ["timeout", "2", "bash", "-c", f"< /dev/tcp/{address}/25060"]
    return run("sandbox", "exec", *argv, home=world.home, check=False).returncode == 0


def test_a_standby_has_what_the_primary_writes(full_world: World, cluster: dict[str, Any]) -> None:
    """It is read by a name of its own and can't be written to, and `sandbox status` shows it."""
    assert states(full_world, cluster) == ["primary", "streaming"]
    source = """
connect("doadmin", given["connection"]["password"], "polls", 25060).execute("create table seen as select 42 as n")
answer = None
"""
    python(full_world, CONNECT + source, **cluster)
    eventually("it is copied", lambda: query(full_world, cluster, 2, "table seen") == "42")
    source = """
standby = connect("doadmin", given["connection"]["password"], "polls", 25060, given["standby"])
answer = [standby.execute("table seen").fetchone()[0]]
try:
    standby.execute("create table unseen ()")
except psycopg.Error as error:
    answer.append(error.sqlstate)
"""
    assert python(full_world, CONNECT + source, **cluster) == [42, "25006"]
    shown = run("sandbox", "status", home=full_world.home).stdout
    assert "failover: node 1" in shown
    assert "streaming, " in shown


def test_a_planned_change_loses_nothing(full_world: World, cluster: dict[str, Any]) -> None:
    """The primary stops in order: every vote that was acknowledged is there, and it is a standby afterwards."""
    source = """
answer = api("POST", "/_sandbox/databases/" + given["id"] + "/switch-over")
"""
    found = vote(full_world, cluster, lambda: python(full_world, source, **cluster))
    assert found["lost"] == 0
    assert found["errors"] < ERRORS
    assert states(full_world, cluster) == ["streaming", "primary"]


def test_a_standby_takes_the_place_of_a_dead_primary(full_world: World, cluster: dict[str, Any]) -> None:
    """The names lead to it, with pools, users and trusted sources; what it had is kept, only the end is lost."""
    primary = clusters(full_world).machine(cluster["id"])

    def kill() -> None:
        leader = primary.leader()
        assert leader is not None
        os.kill(leader, signal.SIGKILL)

    found = vote(full_world, cluster, kill)
    assert found["errors"] < ERRORS
    # Replication is asynchronous: at most what was acknowledged just before the kill is lost.
    assert found["window"] < WINDOW
    eventually("the dead one is a standby", lambda: states(full_world, cluster) == ["primary", "streaming"])
    assert query(full_world, cluster, 2, "table seen") == "42"
    assert query(full_world, cluster, 2, "select pg_is_in_recovery()") == "t"
    source = 'answer = api("PUT", "/v2/databases/" + given["id"] + "/firewall", {"rules": given["rules"]})'
    addresses = [clusters(full_world).machine(cluster["id"], number).hardware.public_ip for number in (1, 2)]
    assert [reaches(full_world, address) for address in addresses] == [True, True]
    nobody = [{"type": "ip_addr", "value": "203.0.113.7"}]
    python(full_world, source, **cluster, rules=nobody)
    eventually("it is closed", lambda: not any(reaches(full_world, address) for address in addresses))
    python(full_world, source, **cluster, rules=[])


@pytest.mark.prove
def test_a_third_node_joins_and_all_go(full_world: World, cluster: dict[str, Any]) -> None:
    """More nodes are made while the others serve, and with the cluster its nodes go, all of them."""
    source = """
path = "/v2/databases/" + given["id"]
api("PUT", path + "/resize", {"size": "db-s-1vcpu-2gb", "num_nodes": 3})
deadline = time.monotonic() + 60
while (database := api("GET", path)["database"])["status"] != "online":
    assert time.monotonic() < deadline, database["status"]
    connect("app", given["app"], "web", 25061).close()
    time.sleep(0.3)
answer = database["num_nodes"]
"""
    assert python(full_world, CONNECT + source, **cluster) == 3
    assert states(full_world, cluster) == ["primary", "streaming", "streaming"]
    name = cluster_machine(cluster["id"])
    python(full_world, 'answer = api("DELETE", "/v2/databases/" + given["id"])', **cluster)

    def gone() -> bool:
        left = [one for one in (*machine.names(full_world), *namespaces.namespaces()) if name in one]
        return not left and not (full_world.home / "clusters" / cluster["id"]).exists()

    eventually("its nodes are gone", gone)
    assert [one.name for one in Supervisor(full_world).status() if name in one.name] == []
