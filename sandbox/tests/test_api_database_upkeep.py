"""What is set of a cluster and done to it while it runs, and what it says of that."""

from http import HTTPStatus

import pytest

from tests.api_client import Api, Body, until

OUT_OF_BOUNDS: list[tuple[Body, str]] = [
    ({"work_mem": 1025}, "config.work_mem: must be at least 1 and at most 1024, got 1025"),
    ({"work_mem": "8"}, 'config.work_mem: must be of type integer, got "8"'),
    ({"jit": 1}, "config.jit: must be of type boolean, got 1"),
    ({"backup_hour": True}, "config.backup_hour: must be of type integer, got true"),
    ({"track_functions": "some"}, 'config.track_functions: must be one of all, pl, none, got "some"'),
    ({"timezone": "x" * 65}, "config.timezone: must be at most 64 long"),
    ({"pg_partman_bgw.role": "-x"}, "config.pg_partman_bgw.role: must match"),
    ({"wal_sender_timeout": 4999}, "config.wal_sender_timeout: must be 0 or at least 5000, got 4999"),
    ({"pgbouncer": {"server_lifetime": 1}}, "config.pgbouncer.server_lifetime: must be at least 60"),
    ({"pgbouncer": {"ignore_startup_parameters": ["x"]}}, "must be one of extra_float_digits, search_path"),
    ({"sql_mode": "ANSI"}, "config.sql_mode: no setting of PostgreSQL clusters"),
    ({"max_connections": 24, "jit": "on"}, "; config.jit: "),
]


@pytest.fixture
def path(api: Api) -> str:
    """A cluster's."""
    return f"/v2/databases/{api.cluster()['id']}"


def patch(api: Api, path: str, config: Body) -> tuple[int, str]:
    """Set configuration."""
    response = api.raw.patch(f"{path}/config", json={"config": config})
    return response.status_code, response.json()["message"] if response.content else ""


def test_configuration_is_kept(api: Api, path: str) -> None:
    """What isn't named stays, within a group, too; null is not named."""
    assert patch(api, path, {"work_mem": 8, "pgbouncer": {"min_pool_size": 1}, "jit": None}) == (200, "")
    assert patch(api, path, {"timezone": "Europe/Berlin", "pgbouncer": {"autodb_pool_mode": "session"}}) == (200, "")
    assert api.ok(api.raw.get(f"{path}/config"))["config"] == {
        "work_mem": 8,
        "timezone": "Europe/Berlin",
        "pgbouncer": {"min_pool_size": 1, "autodb_pool_mode": "session"},
    }


def test_configuration_has_bounds(api: Api, path: str) -> None:
    """Those of the description; all problems are told, and nothing is kept."""
    for config, said in OUT_OF_BOUNDS:
        status, message = patch(api, path, config)
        assert (status, said in message) == (422, True), message
    assert api.ok(api.raw.get(f"{path}/config"))["config"] == {}


def test_some_settings_only_grow(api: Api, path: str) -> None:
    """As the description says of each."""
    assert patch(api, path, {"max_wal_senders": 30}) == (200, "")
    assert patch(api, path, {"max_wal_senders": 29}) == (
        422,
        "config.max_wal_senders: can't be lowered from 30, got 29",
    )


def test_the_configuration_of_no_cluster(api: Api) -> None:
    """Isn't there."""
    assert api.raw.get("/v2/databases/x/config").status_code == HTTPStatus.NOT_FOUND


def test_events_say_what_was_done(api: Api) -> None:
    """Each with an id of its own, oldest first."""
    cluster = api.cluster()
    path = f"/v2/databases/{cluster['id']}"
    api.resize(cluster["id"], size="db-s-2vcpu-4gb", num_nodes=1)
    assert api.raw.put(f"{path}/install_update").status_code == HTTPStatus.NO_CONTENT
    found = api.ok(api.raw.get(f"{path}/events?page=1&per_page=200"))["events"]
    assert [event["event_type"] for event in found] == [
        "cluster_create",
        "cluster_update",
        "cluster_maintenance_perform",
    ]
    assert len({event["id"] for event in found}) == 3
    assert {event["cluster_name"] for event in found} == {"main"}


def test_a_cluster_moves_to_another_region(api: Api) -> None:
    """Into that region's VPC; the one that it left can go."""
    cluster = api.cluster()
    path = f"/v2/databases/{cluster['id']}"
    assert api.raw.put(f"{path}/migrate", json={"region": "ams3"}).status_code == HTTPStatus.ACCEPTED
    moved = until(lambda: api.ok(api.raw.get(path))["database"], lambda found: found["status"] == "online")
    vpc = api.client.vpcs.get(moved["private_network_uuid"])["vpc"]
    assert (moved["region"], vpc["region"], vpc["default"]) == ("ams3", "ams3", True)
    assert api.raw.put(f"{path}/migrate", json={"region": "ams3"}).status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert api.raw.delete(f"/v2/vpcs/{cluster['private_network_uuid']}").status_code == HTTPStatus.NO_CONTENT


def test_what_a_cluster_has_none_of_here(api: Api, path: str) -> None:
    """An empty list."""
    for name in ("backups", "replicas"):
        assert api.ok(api.raw.get(f"{path}/{name}?page=1&per_page=200")) == {name: []}


def test_metrics_have_an_address_and_a_login(api: Api, path: str) -> None:
    """Where a client looks for them; the login is the same until it is set."""
    [endpoint] = api.ok(api.raw.get(path))["database"]["metrics_endpoints"]
    assert endpoint["port"] == 9273
    first = api.ok(api.raw.get("/v2/databases/metrics/credentials"))
    assert api.ok(api.raw.get("/v2/databases/metrics/credentials")) == first
    mine = {"credentials": {"basic_auth_username": "me", "basic_auth_password": "secret"}}
    assert api.raw.put("/v2/databases/metrics/credentials", json=mine).status_code == HTTPStatus.NO_CONTENT
    assert api.ok(api.raw.get("/v2/databases/metrics/credentials")) == mine
