"""A managed PostgreSQL cluster, made through the API and used by psycopg from the internet side."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.machines import images
from sandbox.parts.databases.clusters import Clusters
from sandbox.tests.made_cluster import made_cluster
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import World
from sizing.editions import STANDARD
from tests.internet_side import python

pytestmark = pytest.mark.full

BUILD = 600  # seconds until an image is built by a busy machine

# Connects to the cluster by its public name, as a runner does while the firewall is still open.
CONNECT = """
import base64, psycopg
connection = given["connection"]
with open(given["ca"], "w") as file:
    file.write(base64.b64decode(given["certificate"]).decode())

def connect(user, password, database, port=25060, **options):
    return psycopg.connect(**({
        "host": connection["host"], "port": port, "user": user, "password": password, "dbname": database,
        "sslmode": "verify-full", "sslrootcert": given["ca"], "autocommit": True, "connect_timeout": 10} | options))

def refusal(*arguments, **options):
    try:
        connect(*arguments, **options)
    except psycopg.OperationalError as error:
        return str(error)
    return "connected"
"""


@pytest.fixture(scope="module", params=tuple(images.POSTGRES))
def cluster(
    request: pytest.FixtureRequest, full_world: World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """A 1 GiB cluster with a user `app`, a database `polls` and a transaction-mode pool of the largest size."""
    # The first cluster of a version may have to wait for its image.
    patience = 100 if images.path_of(images.POSTGRES[request.param]).is_dir() else BUILD
    fields = {"version": request.param, "size": "db-s-1vcpu-1gb", "num_nodes": 1}
    with made_cluster(full_world, "clusters", ip_range="10.77.0.0/20", pool=22, patience=patience, **fields) as made:
        made["ca"] = str(tmp_path_factory.mktemp("clusters") / "ca.crt")
        yield made


def clusters(world: World) -> Clusters:
    """The part of the world that keeps database clusters."""
    return Clusters(world, Supervisor(world))


def test_a_version_that_is_not_made_here_is_refused(full_world: World, cluster: dict[str, Any]) -> None:
    """Neither a new cluster of another version is made, nor an existing one upgraded in place."""
    answer = python(
        full_world,
        """
def refusal(method, path, **body):
    status, _, text = fetch("https://api.digitalocean.com/v2/databases" + path, method, json.dumps(body).encode(),
                            Authorization="Bearer " + os.environ["DIGITALOCEAN_TOKEN"], Content_Type="application/json")
    return [status, json.loads(text)["message"]]
other = {"name": "other", "engine": "pg", "region": "nyc3", "size": "db-s-1vcpu-1gb", "num_nodes": 1}
answer = [refusal("POST", "", **other, version="16"), refusal("PUT", f"/{given['id']}/upgrade", version="18")]
""",
        **cluster,
    )
    upgrade = {
        "17": [501, 'sandbox: version: no cluster is upgraded in place at depth "full"; make another one'],
        "18": [422, 'version: must be above 18, got "18"'],
    }
    made = 'sandbox: version: at depth "full" must be one of 17, 18, got "16"'
    assert answer == [[501, made], upgrade[cluster["version"]]]


def test_doadmin_creates_every_extension_that_the_settings_know(full_world: World, cluster: dict[str, Any]) -> None:
    """All that `database.extensions` takes is there, in each version, without a superuser."""
    answer = python(
        full_world,
        CONNECT
        + """
admin = connect("doadmin", connection["password"], "defaultdb")
answer = []
for name in given["extensions"]:
    try:
        admin.execute(f'create extension "{name}" cascade')
    except psycopg.Error as error:
        answer.append([name, str(error)])
""",
        extensions=STANDARD.extensions,
        **cluster,
    )
    assert answer == []


def test_the_plan_limits_connections_and_keeps_three(full_world: World, cluster: dict[str, Any]) -> None:
    """1 GiB is 25 connections; 22 are for users, and the 23rd is refused with PostgreSQL's own words."""
    answer = python(
        full_world,
        CONNECT
        + """
held = []
try:
    while len(held) < 40:
        held.append(connect("app", given["app"], "polls"))
except psycopg.OperationalError as error:
    refused = str(error)
shown = held[0].execute("show max_connections").fetchone()[0]
answer = [shown, len(held), "reserved for roles with the SUPERUSER attribute" in refused]
""",
        **cluster,
    )
    assert answer == ["25", 22, True]


def test_a_pool_of_all_unreserved_connections_gets_them_all(full_world: World, cluster: dict[str, Any]) -> None:
    """22 transactions run at once through the pool of 22; the 23rd waits, and PgBouncer counts it."""
    answer = python(
        full_world,
        CONNECT
        + """
held = []
for _ in range(22):
    one = connect("app", given["app"], "web", 25061, autocommit=False)
    one.execute("select 1")
    held.append(one)
direct = refusal("app", given["app"], "polls")
answer = [len(held), "SUPERUSER" in direct]
""",
        **cluster,
    )
    assert answer == [22, True]
    [pool] = [row for row in clusters(full_world).show(cluster["id"], "POOLS") if row["database"] == "web"]
    assert pool["pool_mode"] == "transaction"
    [database] = [row for row in clusters(full_world).show(cluster["id"], "DATABASES") if row["name"] == "web"]
    assert database["pool_size"] == "22"


def test_both_ports_lead_to_the_version_asked_for(full_world: World, cluster: dict[str, Any]) -> None:
    """PostgreSQL itself says which it is, directly and through the pool."""
    answer = python(
        full_world,
        CONNECT
        + """
answer = [connect("app", given["app"], database, port).info.server_version // 10000
          for database, port in (("polls", 25060), ("web", 25061))]
""",
        **cluster,
    )
    assert answer == [int(cluster["version"])] * 2


def test_connections_are_verified_encrypted_and_authenticated(full_world: World, cluster: dict[str, Any]) -> None:
    """Both ports prove the host's name by the cluster's authority and refuse plain text and wrong passwords."""
    answer = python(
        full_world,
        CONNECT
        + """
answer = {}
for port, database in ((25060, "polls"), (25061, "web")):
    answer[port] = [
        refusal("app", given["app"], database, port),
        "certificate verify failed" in refusal("app", given["app"], database, port, sslrootcert="system"),
        refusal("app", given["app"], database, port, sslmode="disable").rpartition("FATAL:")[2].strip()[:20],
        refusal("app", "wrong", database, port).rpartition("FATAL:")[2].strip(),
    ]
""",
        **cluster,
    )
    assert answer == {
        "25060": ["connected", True, "no pg_hba.conf entry", 'password authentication failed for user "app"'],
        "25061": ["connected", True, "SSL required", "SASL authentication failed"],
    }


def test_the_certificate_names_both_hosts(full_world: World, cluster: dict[str, Any]) -> None:
    """verify-full works by the private name too, which is how Droplets connect."""
    ca = clusters(full_world).cluster_ca(cluster["id"])
    assert ca.startswith("-----BEGIN CERTIFICATE-----")
    answer = python(
        full_world,
        CONNECT
        + """
# The internet side can't reach the private address, so the private name is checked on the public one.
address = socket.gethostbyname(connection["host"])
answer = [refusal("app", given["app"], "polls", host=name, hostaddr=address)
          for name in (connection["host"], given["private"]["host"])]
answer.append("does not match" in refusal("app", given["app"], "polls", host="other.example", hostaddr=address))
""",
        **cluster,
    )
    assert answer == ["connected", "connected", True]


def test_doadmin_administers_but_is_no_superuser(full_world: World, cluster: dict[str, Any]) -> None:
    """It makes databases and roles and grants rights; it can't change the server or other people's roles."""
    answer = python(
        full_world,
        CONNECT
        + """
admin = connect("doadmin", connection["password"], "polls")
def outcome(statement):
    try:
        admin.execute(statement)
    except psycopg.Error as error:
        return error.sqlstate
    return "ok"
answer = [outcome(s) for s in (
    "create role helper login", "drop role helper", "create database scratch", "drop database scratch",
    "grant usage, create on schema public to app", "create extension pg_trgm",
    "alter system set work_mem = '1MB'", "create role root superuser", "alter role app set timezone = 'UTC'",
)]
""",
        **cluster,
    )
    assert answer == ["ok", "ok", "ok", "ok", "ok", "ok", "42501", "42501", "42501"]


def test_a_role_that_owns_something_is_not_dropped(full_world: World, cluster: dict[str, Any]) -> None:
    """The API passes on that PostgreSQL refuses; the role is there afterwards."""
    answer = python(
        full_world,
        CONNECT
        + """
path = "/v2/databases/" + given["id"] + "/users"
owner = api("POST", path, {"name": "owner"})["user"]
connect("doadmin", connection["password"], "polls").execute("grant create on schema public to owner")
connect("owner", owner["password"], "polls").execute("create table kept ()")
status, _, text = fetch("https://api.digitalocean.com" + path + "/owner", "DELETE",
                        Authorization="Bearer " + os.environ["DIGITALOCEAN_TOKEN"])
still = refusal("owner", owner["password"], "polls")
connect("owner", owner["password"], "polls").execute("drop table kept")
connect("doadmin", connection["password"], "polls").execute("revoke create on schema public from owner")
api("DELETE", path + "/owner")
answer = [status >= 400, "depend on it" in text, still, "password authentication failed" in
          refusal("owner", owner["password"], "polls")]
""",
        **cluster,
    )
    assert answer == [True, True, "connected", True]


def test_stopping_the_pool_leaves_the_direct_port(full_world: World, cluster: dict[str, Any]) -> None:
    """The two ports are two services."""
    machine = clusters(full_world).machine(cluster["id"])
    machine.run(["systemctl", "stop", "pgbouncer"])
    try:
        answer = python(
            full_world,
            CONNECT
            + """
answer = ["refused" in refusal("app", given["app"], "web", 25061), refusal("app", given["app"], "polls")]
""",
            **cluster,
        )
    finally:
        machine.run(["systemctl", "start", "pgbouncer"])
    assert answer == [True, "connected"]


def test_data_and_pools_survive_losing_power(full_world: World, cluster: dict[str, Any]) -> None:
    """A killed machine comes back with its rows and its pools."""
    write = """
admin = connect("doadmin", connection["password"], "polls")
admin.execute("create table survivor as select 42 as n")
answer = None
"""
    read = """
admin = connect("doadmin", connection["password"], "polls")
answer = admin.execute("table survivor").fetchall()
admin.execute("drop table survivor")
"""
    python(full_world, CONNECT + write, **cluster)
    machine = clusters(full_world).machine(cluster["id"])
    machine.kill()
    started = time.monotonic()
    machine.start()
    machine.wait_booted()
    while machine.run(["pg_isready", "-q", "-p", "25060"], check=False).returncode:
        if time.monotonic() > started + 60:
            pytest.fail(machine.journal("-u", f"postgresql@{cluster['version']}-main", "-n", "20"))
        time.sleep(0.1)
    assert python(full_world, CONNECT + read, **cluster) == [[42]]
    assert "web" in {row["name"] for row in clusters(full_world).show(cluster["id"], "DATABASES")}


def test_resizing_gives_the_new_plans_connections(full_world: World, cluster: dict[str, Any]) -> None:
    """2 GiB is 50 connections, and the data is kept."""
    answer = python(
        full_world,
        CONNECT
        + """
path = "/v2/databases/" + given["id"]
connect("doadmin", connection["password"], "polls").execute("create table moved ()")
api("PUT", path + "/resize", {"size": "db-s-1vcpu-2gb", "num_nodes": 1})
deadline = time.monotonic() + 60
while True:
    database = api("GET", path)["database"]
    if database["status"] == "online" and database["size"] == "db-s-1vcpu-2gb":
        break
    assert time.monotonic() < deadline, database
    time.sleep(0.3)
admin = connect("doadmin", connection["password"], "polls")
answer = [admin.execute("show max_connections").fetchone()[0], refusal("app", given["app"], "web", 25061)]
admin.execute("drop table moved")
""",
        **cluster,
    )
    assert answer == ["50", "connected"]
