"""Database clusters go through the states of the real API; behind them is a real PostgreSQL that keeps its rules."""

import base64
from http import HTTPStatus
from pathlib import Path

import psycopg
import pytest
from azure.core.exceptions import HttpResponseError

from tests.api_client import CLUSTER, Api, Body, until


def connect(api: Api, cluster: Body, tmp_path: Path, **fields: str) -> psycopg.Connection:
    """Connect as doadmin, or as fields say, checking the server's name against the cluster's own authority."""
    ca = tmp_path / "ca.crt"
    ca.write_bytes(base64.b64decode(api.client.databases.get_ca(cluster["id"])["ca"]["certificate"]))
    connection = cluster["connection"]
    return psycopg.connect(
        host=connection["host"],
        port=connection["port"],
        user=fields.get("user", connection["user"]),
        password=fields.get("password", connection["password"]),
        dbname=fields.get("dbname", connection["database"]),
        sslmode=fields.get("sslmode", "verify-full"),
        sslrootcert=str(ca),
        autocommit=True,
    )


def test_cluster_is_creating_then_online(api: Api) -> None:
    """The answer to the creation has everything but a running server."""
    body = CLUSTER | {"private_network_uuid": api.vpc()["id"], "tags": ["db"], "project_id": "", "rules": None}
    created = api.client.databases.create_cluster(body)["database"]
    assert created["status"] == "creating"
    assert created["connection"]["password"] in created["connection"]["uri"]
    assert created["connection"]["database"] == "defaultdb"
    assert created["private_connection"]["password"] == created["connection"]["password"]
    assert created["maintenance_window"]["day"] == "tuesday"
    assert (created["version"], created["tags"], created["storage_size_mib"]) == ("17", ["db"], 30720)
    online = until(
        lambda: api.client.databases.get_cluster(created["id"])["database"], lambda found: found["status"] == "online"
    )
    assert online["connection"] == created["connection"]


def test_bad_clusters_are_refused(api: Api) -> None:
    """Each broken rule is told."""
    vpc = {"private_network_uuid": api.vpc()["id"]}
    api.fault(kind="slow", of="database", seconds=600)  # its server is not needed here
    api.client.databases.create_cluster(CLUSTER | {"name": "taken"} | vpc)
    for fields, said in (
        ({"name": "has_underscore"}, "name: must be"),
        ({"name": "taken"}, "is not available"),
        ({"size": "db-s-2vcpu-5gb"}, "size: must be one of"),
        ({"size": "db-s-1vcpu-1gb", "num_nodes": 2}, "comes in 1 nodes, got 2"),
        ({"num_nodes": 4}, "comes in 1, 2, 3 nodes, got 4"),
        ({"num_nodes": 0}, "comes in 1, 2, 3 nodes, got 0"),
        ({"version": "9"}, "version: must be one of"),
        ({"region": "mars1"}, "region: must be one of"),
        ({"storage_size_mib": "1024"}, "storage_size_mib: must be at least 30720"),
    ):
        response = api.post("/v2/databases", CLUSTER | vpc | fields)
        assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY, fields
        assert said in response.json()["message"]


def test_doadmin_is_no_superuser(api: Api, tmp_path: Path) -> None:
    """The administrator may create roles and databases, not more; the plan's connections are the server's."""
    cluster = api.cluster()
    with connect(api, cluster, tmp_path) as session:
        query = "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        assert session.execute(query).fetchone() == (False, True, True)
        assert session.execute("SHOW max_connections").fetchone() == ("50",)
        assert session.execute("SHOW superuser_reserved_connections").fetchone() == ("3",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("ALTER SYSTEM SET work_mem = '1GB'")


def test_connections_without_tls_are_refused(api: Api, tmp_path: Path) -> None:
    """As in the cloud, there is no plain connection."""
    cluster = api.cluster()
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        connect(api, cluster, tmp_path, sslmode="disable")


def test_users_have_no_privileges_at_first(api: Api, tmp_path: Path) -> None:
    """A new role can log in to a new database, which is doadmin's, and may not create tables."""
    cluster = api.cluster()
    api.client.databases.add(cluster["id"], {"name": "polls"})
    user = api.client.databases.add_user(cluster["id"], {"name": "app"})["user"]
    assert user["role"] == "normal"
    with connect(api, cluster, tmp_path, dbname="polls", user="app", password=user["password"]) as session:
        owner = session.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'polls'").fetchone()
        assert owner == ("doadmin",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("CREATE TABLE public.t (id int)")
    with connect(api, cluster, tmp_path, dbname="polls") as session:
        session.execute("GRANT CREATE ON SCHEMA public TO app")
        session.execute("ALTER ROLE app SET timezone = 'UTC'")


def test_user_that_owns_tables_stays(api: Api, tmp_path: Path) -> None:
    """PostgreSQL's own reason is in the error, and the user still exists."""
    cluster = api.cluster()
    user = api.client.databases.add_user(cluster["id"], {"name": "app"})["user"]
    with connect(api, cluster, tmp_path) as session:
        session.execute("GRANT CREATE ON SCHEMA public TO app")
    with connect(api, cluster, tmp_path, user="app", password=user["password"]) as session:
        session.execute("CREATE TABLE public.t (id int)")
    with pytest.raises(HttpResponseError, match="cannot be dropped because some objects depend on it"):
        api.client.databases.delete_user(cluster["id"], "app")
    assert api.client.databases.get_user(cluster["id"], "app")["user"] == user


def test_what_every_cluster_has_stays(api: Api) -> None:
    """Defaultdb and doadmin can't be deleted."""
    cluster = api.cluster()
    for path in ("dbs/defaultdb", "users/doadmin"):
        response = api.raw.delete(f"/v2/databases/{cluster['id']}/{path}")
        assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_names_are_used_once(api: Api) -> None:
    """A second user, database or pool of the same name is refused."""
    cluster = api.cluster()
    pool = {"name": "pool", "mode": "transaction", "size": 5, "db": "defaultdb", "user": "doadmin"}
    for kind, body in (("users", {"name": "app"}), ("dbs", {"name": "polls"}), ("pools", pool)):
        path = f"/v2/databases/{cluster['id']}/{kind}"
        assert [api.post(path, body).status_code for _ in range(2)] == [201, 422]


def test_databases_come_and_go(api: Api, tmp_path: Path) -> None:
    """A dropped database is gone from the server too, even with a session in it."""
    cluster = api.cluster()
    api.client.databases.add(cluster["id"], {"name": "polls"})
    with connect(api, cluster, tmp_path, dbname="polls"):
        api.client.databases.delete(cluster["id"], "polls")
    assert [db["name"] for db in api.client.databases.list(cluster["id"])["dbs"]] == ["defaultdb"]
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        connect(api, cluster, tmp_path, dbname="polls")


def test_pools_share_the_plans_connections(api: Api) -> None:
    """All pools together may have max_connections - 3, and the error shows the sum."""
    cluster = api.cluster()
    path = f"/v2/databases/{cluster['id']}/pools"
    pool = {"mode": "transaction", "db": "defaultdb", "user": "doadmin"}
    assert api.post(path, pool | {"name": "one", "size": 40}).status_code == HTTPStatus.CREATED
    refused = api.post(path, pool | {"name": "two", "size": 8})
    assert refused.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert "40 (one) + 8 (two) = 48 backend connections, db-s-1vcpu-2gb has 47" in refused.json()["message"]
    assert api.post(path, pool | {"name": "two", "size": 7}).status_code == HTTPStatus.CREATED
    assert api.raw.put(f"{path}/two", json=pool | {"size": 8}).status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_bad_pools_are_refused(api: Api) -> None:
    """A pool needs a mode, a size, a database and a user that exist."""
    cluster = api.cluster()
    pool = {"name": "pool", "mode": "transaction", "size": 5, "db": "defaultdb", "user": "doadmin"}
    for fields in ({"mode": "magic"}, {"size": 0}, {"db": "none"}, {"user": "none"}, {"name": "ab"}):
        response = api.post(f"/v2/databases/{cluster['id']}/pools", pool | fields)
        assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY, fields


def test_pool_is_answered_with_its_users_connection(api: Api) -> None:
    """The pool's name is its database; without a user there is no password."""
    cluster = api.cluster()
    user = api.client.databases.add_user(cluster["id"], {"name": "app"})["user"]
    body = {"name": "web", "mode": "transaction", "size": 5, "db": "defaultdb"}
    pool = api.client.databases.add_connection_pool(cluster["id"], body | {"user": "app"})["pool"]
    assert pool == api.client.databases.get_connection_pool(cluster["id"], "web")["pool"]
    assert (pool["connection"]["database"], pool["connection"]["password"]) == ("web", user["password"])
    inbound = api.client.databases.add_connection_pool(cluster["id"], body | {"name": "any"})["pool"]
    assert (inbound["user"], inbound["connection"]["password"]) == ("", "")


def test_trusted_sources_keep_their_ids(api: Api) -> None:
    """A rule that stays has the same uuid, whether the client sends it or not; an empty list opens the cluster."""
    cluster = api.cluster()

    def put(rules: list[Body]) -> list[Body]:
        assert (
            api.raw.put(f"/v2/databases/{cluster['id']}/firewall", json={"rules": rules}).status_code
            == HTTPStatus.NO_CONTENT
        )
        listed: list[Body] = api.client.databases.list_firewall_rules(cluster["id"])["rules"]
        return listed

    sent = {"uuid": "", "cluster_uuid": "", "created_at": "0001-01-01T00:00:00Z", "type": "tag", "value": "web"}
    first = put([sent])
    assert (first[0]["cluster_uuid"], first[0]["value"]) == (cluster["id"], "web")
    both = put([{"type": "ip_addr", "value": "192.0.2.0/24"}, first[0]])
    assert both[1] == first[0]
    assert put([{"type": "tag", "value": "web"}])[0]["uuid"] == first[0]["uuid"]
    assert put([]) == []


def test_bad_sources_are_refused(api: Api) -> None:
    """IPv6, Droplets that don't exist and unknown types."""
    cluster = api.cluster()
    for type_, value, status in (
        ("ip_addr", "2001:db8::1", 422),
        ("ip_addr", "everybody", 422),
        ("droplet", "1", 422),
        ("planet", "earth", 422),
        ("k8s", "x", 501),
    ):
        rules = {"rules": [{"type": type_, "value": value}]}
        response = api.raw.put(f"/v2/databases/{cluster['id']}/firewall", json=rules)
        assert response.status_code == status, (type_, value)


def test_maintenance_window_is_stored_with_seconds(api: Api) -> None:
    """As the real API does."""
    cluster = api.cluster()
    api.client.databases.update_maintenance_window(cluster["id"], {"day": "Sunday", "hour": "13:00"})
    window = api.client.databases.get_cluster(cluster["id"])["database"]["maintenance_window"]
    assert (window["day"], window["hour"]) == ("sunday", "13:00:00")


def test_resize_changes_the_servers_connections(api: Api, tmp_path: Path) -> None:
    """The cluster is resizing, then online with the new plan's limit, and its data is still there."""
    cluster = api.cluster()
    with connect(api, cluster, tmp_path) as session:
        session.execute("CREATE TABLE kept (id int)")
    api.client.databases.update_cluster_size(cluster["id"], {"size": "db-s-2vcpu-4gb", "num_nodes": 2})
    until(
        lambda: api.client.databases.get_cluster(cluster["id"])["database"]["status"], lambda status: status == "online"
    )
    with connect(api, cluster, tmp_path) as session:
        assert session.execute("SHOW max_connections").fetchone() == ("100",)
        assert session.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    with pytest.raises(HttpResponseError, match="can't be reduced"):
        api.client.databases.update_cluster_size(cluster["id"], {"size": "db-s-2vcpu-4gb", "num_nodes": 1})


def test_more_nodes_keep_the_connections(api: Api, tmp_path: Path) -> None:
    """A standby is made beside the primary, which serves meanwhile; here it is only answered."""
    cluster = api.cluster()
    with connect(api, cluster, tmp_path) as session:
        api.client.databases.update_cluster_size(cluster["id"], {"size": "db-s-1vcpu-2gb", "num_nodes": 2})
        found = until(
            lambda: api.client.databases.get_cluster(cluster["id"])["database"],
            lambda database: database["status"] == "online",
        )
        assert found["num_nodes"] == 2
        assert found["standby_connection"] == found["connection"]
        assert "standby_connection" not in cluster
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_version_only_goes_up(api: Api) -> None:
    """An upgrade shows at once; a downgrade is refused."""
    cluster = api.cluster(version="16")
    api.client.databases.update_major_version(cluster["id"], {"version": "17"})
    assert api.client.databases.get_cluster(cluster["id"])["database"]["version"] == "17"
    with pytest.raises(HttpResponseError, match="must be above 17"):
        api.client.databases.update_major_version(cluster["id"], {"version": "16"})


def test_deleted_cluster_takes_its_server_along(api: Api) -> None:
    """The API forgets it at once, the server ends, its files are removed."""
    cluster = api.cluster()
    folder = api.world.home / "clusters" / cluster["id"]
    assert folder.exists()
    api.client.databases.destroy_cluster(cluster["id"])
    assert api.raw.get(f"/v2/databases/{cluster['id']}").status_code == HTTPStatus.NOT_FOUND
    assert api.raw.get(f"/v2/databases/{cluster['id']}/users/doadmin").status_code == HTTPStatus.NOT_FOUND
    until(folder.exists, lambda exists: not exists)
