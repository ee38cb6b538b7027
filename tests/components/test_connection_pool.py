"""ConnectionPool: transaction mode, as large as the plan allows."""

from tests.components.recording import Graph


def test_the_pool(graph: Graph) -> None:
    """An explicit name, so that a replacement deletes first: two full pools do not fit a plan."""
    inputs = graph["pool"].inputs
    assert inputs == {
        "clusterId": "shop-db-id",
        "name": "app-pool",
        "mode": "transaction",
        "size": 95,
        "dbName": "app",
        "user": "app",
    }


def test_the_pool_is_deleted_by_itself(graph: Graph) -> None:
    """A pool can be protected by nothing (every change replaces it), so the engine must never just forget it."""
    assert graph.deleted_with("pool") == ""
    assert not graph["pool"].options.protect
