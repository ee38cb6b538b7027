"""Database: closed, private, two roles, nothing dropped by accident."""

import json
from typing import Any

import pytest

from tests.components.recording import Graph, run_program


def test_the_cluster(graph: Graph) -> None:
    """Explicit name, private network, tag, maintenance window."""
    inputs = graph["db"].inputs
    assert inputs["name"] == "shop-db"
    assert (inputs["engine"], inputs["version"], inputs["size"], inputs["nodeCount"]) == (
        "pg",
        "17",
        "db-s-2vcpu-4gb",
        1,
    )
    assert inputs["privateNetworkUuid"] == "shop-vpc-id"
    assert inputs["tags"] == ["shop"]
    assert inputs["maintenanceWindows"] == [{"day": "sunday", "hour": "03:00"}]


def test_the_disk_grows_by_itself(graph: Graph) -> None:
    """A full one would make the database read-only."""
    autoscale = graph["db"].inputs["storageAutoscale"]
    assert autoscale == {"enabled": True, "thresholdPercent": 80, "incrementGib": 10}
    assert "storageSizeMib" not in graph["db"].inputs


def test_the_edition_advanced(settings: dict[str, Any]) -> None:
    """Another engine, and no question for a certificate authority, which it does not have."""
    graph = run_program(
        settings | {"database": {"edition": "advanced", "size": "gd-2vcpu-8gb", "nodes": 2, "extensions": ["vector"]}}
    )
    inputs = graph["db"].inputs
    assert (inputs["engine"], inputs["size"], inputs["nodeCount"]) == ("advanced_pg", "gd-2vcpu-8gb", 2)
    assert graph["grants"].inputs["ca"] == ""
    assert graph.outputs["connection_budget"]["supply"].endswith("of 200 backend connections, assumed as on Standard")
    assert "database_ca" not in json.loads(graph["environment"].inputs["document"])


def test_trusted_sources_are_the_droplets_and_what_is_named(graph: Graph) -> None:
    """Everybody else is turned away."""
    rules = graph["trusted-sources"].inputs["rules"]
    assert rules == [{"type": "tag", "value": "shop-web"}, {"type": "ip_addr", "value": "203.0.113.0/24"}]


def test_the_trusted_sources_are_never_emptied(graph: Graph) -> None:
    """Deleting the resource would open a living cluster to everybody."""
    assert graph["trusted-sources"].options.retainOnDelete


@pytest.mark.parametrize("role", ["migrator", "app", "database", "grants"])
def test_what_is_inside_goes_with_the_cluster(graph: Graph, role: str) -> None:
    """A role that owns tables can't be dropped."""
    assert graph.deleted_with(role) == "shop-db"


@pytest.mark.parametrize("role", ["migrator", "app"])
def test_the_tables_go_before_the_roles_that_own_them(graph: Graph, role: str) -> None:
    """When the cluster is replaced, the engine deletes what is in it one by one, last made first."""
    assert graph.waits_for("database", role)


def test_grants_know_both_roles_and_the_limits(graph: Graph) -> None:
    """Settings sit on the role, where a pooler can't lose them."""
    inputs = graph["grants"].inputs
    assert (inputs["migrator"], inputs["app"], inputs["database"]) == ("migrator", "app", "app")
    assert inputs["host"] == "shop-db.example"
    assert inputs["extensions"] == ["citext"]
    lasting = {"client_encoding": "UTF8", "default_transaction_isolation": "read committed", "timezone": "UTC"}
    ends_with_its_client = {
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "25s",
        "client_connection_check_interval": "5s",
    }
    assert inputs["migrator_settings"] == lasting | ends_with_its_client | {"lock_timeout": "3s"}
    assert inputs["app_settings"] == lasting | {
        "statement_timeout": "30s",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "60s",
    }
