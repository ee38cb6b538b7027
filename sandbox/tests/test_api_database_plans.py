"""What a new PostgreSQL cluster may be since 30 November 2026, what an existing one may become, and Advanced ones."""

import os
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import psycopg
import pytest
from azure.core.exceptions import HttpResponseError

from sandbox.client import environment
from tests.api_client import CLUSTER, Api, Body
from tests.commands import run

LARGE = {"size": "db-s-4vcpu-8gb", "num_nodes": 2}
ADVANCED = {"engine": "advanced_pg", "size": "gd-2vcpu-8gb"}


def refusal(api: Api, **fields: object) -> str:
    """The words with which a creation is refused."""
    body = CLUSTER | {"private_network_uuid": api.vpc()["id"]} | fields
    response = api.post("/v2/databases", body)
    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY, response.text
    return str(response.json()["message"])


def sizes(api: Api, engine: str) -> dict[int, list[str]]:
    """The plans of an engine by their number of nodes, as the API offers them."""
    layouts = api.client.databases.list_options()["options"][engine]["layouts"]
    return {layout["num_nodes"]: layout["sizes"] for layout in layouts}


def test_new_standard_clusters_are_small(api: Api) -> None:
    """One node and 4 GiB at most; what is refused is told at once, with the way out."""
    said = refusal(api, **LARGE)
    assert "size: must have at most 4 GiB of memory, db-s-4vcpu-8gb has 8; num_nodes: must be 1, got 2" in said
    assert 'engine "advanced_pg"' in said
    assert "num_nodes: must be 1, got 3" in refusal(api, size="db-s-1vcpu-2gb", num_nodes=3)
    assert "at most 4 GiB" in refusal(api, size="gd-2vcpu-8gb")
    assert api.raw.get("/v2/databases").json()["databases"] == []
    assert api.cluster(size="db-s-2vcpu-4gb")["num_nodes"] == 1


def test_options_are_what_a_new_cluster_may_have(api: Api) -> None:
    """Every plan that is offered is created, and no other; the same for an account with old clusters."""
    api.fault(kind="slow", of="database", seconds=600, count=100)  # no server is needed here
    api.vpc()
    offered = {}
    for old in (False, True):
        api.switch(old_clusters=old)
        offered[old] = sizes(api, "pg")
        for nodes in (1, 2, 3):
            for size in ("db-s-1vcpu-1gb", "db-s-2vcpu-4gb", "db-s-4vcpu-8gb"):
                body = CLUSTER | {"name": f"n{nodes}-{size}-{str(old).lower()}", "size": size, "num_nodes": nodes}
                made = api.post("/v2/databases", body | {"private_network_uuid": api.vpc()["id"]}).status_code
                assert (made == HTTPStatus.CREATED) == (size in offered[old].get(nodes, [])), (nodes, size, old)
    assert list(offered[False]) == [1]
    assert [size for size in offered[False][1] if size.endswith(("-8gb", "-16gb", "-32gb"))] == []
    assert (len(offered[False][1]), len(offered[True][1]), len(offered[True][3])) == (9, 33, 30)


def test_existing_large_clusters_go_on(api: Api) -> None:
    """They are read, resized, though never to less, and deleted as before, whatever a new one may be."""
    api.switch(old_clusters=True)
    cluster = api.cluster(**LARGE)
    api.switch(old_clusters=False)
    assert api.resize(cluster["id"], size="db-s-6vcpu-16gb", num_nodes=3)["num_nodes"] == 3
    with pytest.raises(HttpResponseError, match="size: can't be reduced from db-s-6vcpu-16gb"):
        api.resize(cluster["id"], size="db-s-4vcpu-8gb", num_nodes=3)
    api.client.databases.destroy_cluster(cluster["id"])
    assert "at most 4 GiB" in refusal(api, **LARGE)


def test_a_small_cluster_may_grow(api: Api) -> None:
    """The announcement is about new clusters: a resize is allowed, which is assumed."""
    cluster = api.cluster()
    assert api.resize(cluster["id"], **LARGE)["size"] == "db-s-4vcpu-8gb"


def test_switches_are_strict(api: Api) -> None:
    """A name or value that is none is refused and changes nothing; DELETE sets all as in a new world."""
    new = {
        "old_clusters": False,
        "advanced_pools": True,
        "advanced_ca": "none",
        "droplet_limit": "90",
        "rate_limit": False,
    }
    assert api.raw.get("/_sandbox/switches").json() == new
    for fields in ({"old_cluster": True}, {"old_clusters": "yes"}, {"advanced_ca": "other"}, ["old_clusters"]):
        answer = api.raw.put("/_sandbox/switches", json=fields)
        assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY, fields
    api.switch(old_clusters=True)
    assert api.raw.get("/_sandbox/switches").json() == new | {"old_clusters": True}
    assert api.raw.delete("/_sandbox/switches").json() == new


def test_advanced_has_its_own_plans_and_versions(api: Api) -> None:
    """As the specification lists them; the plans of Standard clusters are refused, and the other way round."""
    options = api.client.databases.list_options()["options"]["advanced_pg"]
    assert (options["versions"], options["default_version"]) == (["16", "17", "18"], "18")
    offered = sizes(api, "advanced_pg")
    assert [(nodes, len(found)) for nodes, found in offered.items()] == [(1, 27), (2, 27), (3, 27)]
    assert {"gd-2vcpu-8gb", "gd-48vcpu-192gb-intel", "so1_5-48vcpu-384gb-intel", "c-96-intel"} <= set(offered[3])
    assert "size: must be one of gd-2vcpu-8gb-intel," in refusal(api, engine="advanced_pg")
    assert "version: must be one of 16, 17, 18" in refusal(api, **ADVANCED, version="15")
    assert "comes in 1, 2, 3 nodes, got 4" in refusal(api, **ADVANCED | {"num_nodes": 4})
    assert "size: must be one of db-s-1vcpu-1gb," in refusal(api, size="gd-2vcpu-8gb-intel")
    answer = api.post("/v2/databases", CLUSTER | {"engine": "advanced_mysql"})
    assert (answer.status_code, answer.json()["id"]) == (HTTPStatus.NOT_IMPLEMENTED, "not_implemented")


def test_a_running_world_is_switched_by_command(api: Api) -> None:
    """From one call to the next, without a restart."""
    api.fault(kind="slow", of="database", seconds=600)
    assert "num_nodes: must be 1, got 2" in refusal(api, **LARGE)
    run("sandbox", "switch", "old-clusters", "on", home=api.world.home)
    body = CLUSTER | {"private_network_uuid": api.vpc()["id"]} | LARGE
    assert api.post("/v2/databases", body).status_code == HTTPStatus.CREATED


def test_an_advanced_cluster_lives(api: Api) -> None:
    """Users, databases, trusted sources, pools, resize: assumed to be as on Standard clusters."""
    cluster = api.cluster(**ADVANCED, num_nodes=2)
    assert (cluster["engine"], cluster["version"]) == ("advanced_pg", "18")
    api.client.databases.add(cluster["id"], {"name": "polls"})
    api.client.databases.add_user(cluster["id"], {"name": "app"})
    pool = {"name": "web", "mode": "transaction", "size": 197, "db": "polls", "user": "app"}
    assert api.client.databases.add_connection_pool(cluster["id"], pool)["pool"]["size"] == 197
    rules = {"rules": [{"type": "ip_addr", "value": "192.0.2.0/24"}]}
    assert api.raw.put(f"/v2/databases/{cluster['id']}/firewall", json=rules).status_code == HTTPStatus.NO_CONTENT
    assert api.resize(cluster["id"], size="gd-4vcpu-16gb-intel", num_nodes=3)["size"] == "gd-4vcpu-16gb-intel"


def test_pools_of_advanced_may_be_refused(api: Api) -> None:
    """By a switch, since nobody knows; Standard clusters keep theirs."""
    api.switch(advanced_pools=False)
    pool = {"name": "web", "mode": "transaction", "size": 5, "db": "defaultdb", "user": "doadmin"}
    cluster = api.cluster(**ADVANCED)
    with pytest.raises(HttpResponseError, match="connection pools are not available for clusters of engine"):
        api.client.databases.add_connection_pool(cluster["id"], pool)
    standard = api.cluster(name="standard")
    assert api.client.databases.add_connection_pool(standard["id"], pool)["pool"]["name"] == "web"


def test_advanced_has_no_authority_of_its_own(api: Api) -> None:
    """Who asks is answered in one of the ways that are possible."""
    cluster = api.cluster(**ADVANCED)
    path = f"/v2/databases/{cluster['id']}/ca"
    assert api.raw.get(path).status_code == HTTPStatus.NOT_FOUND
    api.switch(advanced_ca="empty")
    assert api.raw.get(path).json() == {"ca": {"certificate": ""}}
    api.switch(advanced_ca="own")
    assert api.client.databases.get_ca(cluster["id"])["ca"]["certificate"]


CONNECT = """
import sys, psycopg
host, port, password = sys.argv[1:]
with psycopg.connect(host=host, port=port, user="doadmin", password=password, dbname="defaultdb",
                     sslmode="verify-full", sslrootcert="system") as session:
    print(session.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone())
"""


def test_the_systems_trust_store_knows_an_advanced_cluster(api: Api, tmp_path: Path) -> None:
    """`sslrootcert=system` verifies it inside the world, and nowhere else."""
    connection = api.cluster(**ADVANCED)["connection"]
    command = [sys.executable, "-c", CONNECT, connection["host"], str(connection["port"]), connection["password"]]
    inside = environment.clients(api.world, os.environ)
    done = subprocess.run(command, env=inside, capture_output=True, text=True, check=True)
    assert done.stdout == "(True,)\n"
    empty = tmp_path / "nobody.pem"
    empty.touch()
    refused = subprocess.run(
        command, env=inside | {"SSL_CERT_FILE": str(empty)}, capture_output=True, text=True, check=False
    )
    assert "certificate verify failed" in refused.stderr


def sql(connection: Body, query: str, dbname: str) -> list[tuple[object, ...]]:
    """Run a query as doadmin and return its rows."""
    with psycopg.connect(
        host=connection["host"],
        port=connection["port"],
        user=connection["user"],
        password=connection["password"],
        dbname=dbname,
        autocommit=True,
    ) as session:
        return session.execute(query.encode()).fetchall()


def test_advanced_takes_no_other_extensions(api: Api) -> None:
    """In no database of it; a Standard cluster does."""
    advanced = api.cluster(**ADVANCED)
    api.client.databases.add(advanced["id"], {"name": "polls"})
    for dbname in ("defaultdb", "polls"):
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="CREATE EXTENSION is not available"):
            sql(advanced["connection"], "CREATE EXTENSION IF NOT EXISTS citext", dbname)
        there = sql(advanced["connection"], "SELECT extname FROM pg_extension ORDER BY 1", dbname)
        assert {("plpgsql",), ("pg_stat_statements",)} <= set(there)
    standard = api.cluster(name="standard")["connection"]
    there = sql(standard, "SELECT extname FROM pg_extension", "defaultdb")
    assert there == [("plpgsql",)]
