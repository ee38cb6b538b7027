"""DatabaseConnectionPool: a PgBouncer pool of a cluster. Nothing about it can be updated, as in the official plugin."""

from digitalocean_provider.operation import Operation
from digitalocean_provider.resources.database_cluster import connections
from digitalocean_provider.resources.database_user import part_of_cluster
from digitalocean_provider.schema import COMPUTED, REQUIRED, Field, Schema
from plugin_base.wire import Properties

SCHEMA = Schema(
    type_name="digitalocean:index/databaseConnectionPool:DatabaseConnectionPool",
    label="connection pool",
    fields={
        "name": Field(auto_name=True, replaces=True, length=(3, 63)),
        "clusterId": Field(role=REQUIRED, replaces=True),
        "dbName": Field(role=REQUIRED, replaces=True),
        "mode": Field(role=REQUIRED, replaces=True, choices=("session", "transaction", "statement")),
        "size": Field(role=REQUIRED, replaces=True),
        "user": Field(replaces=True),
        "host": Field(role=COMPUTED),
        "password": Field(role=COMPUTED, secret=True),
        "port": Field(role=COMPUTED),
        "privateHost": Field(role=COMPUTED),
        "privateUri": Field(role=COMPUTED, secret=True),
        "uri": Field(role=COMPUTED, secret=True),
    },
)


def _id(cluster: str, name: str) -> str:
    return f"{cluster}/{name}"


def _properties(cluster: str, pool: Properties, state: Properties) -> Properties:
    return connections(pool, state.get("password", "")) | {
        "name": pool["name"],
        "clusterId": cluster,
        "dbName": pool["db"],
        "mode": pool["mode"],
        "size": pool["size"],
        "user": pool.get("user") or None,
    }


def locate(imported: str) -> tuple[str, Properties]:
    """Turn the id given to `pulumi import` into the resource's own id and what reading needs."""
    cluster, name = part_of_cluster("connection pool", imported)
    return _id(cluster, name), {"clusterId": cluster, "name": name}


def create(op: Operation, inputs: Properties) -> Properties:
    """Create the pool."""
    cluster = inputs["clusterId"]
    body = {
        "name": inputs["name"],
        "mode": inputs["mode"],
        "size": inputs["size"],
        "db": inputs["dbName"],
        "user": inputs.get("user", ""),
    }
    pool = op.call("POST", "databases", cluster, "pools", body=body)["pool"]
    op.keep(_id(cluster, pool["name"]), _properties(cluster, pool, {}))
    return read(op, op.id, op.known) or {}


def read(op: Operation, id_: str, state: Properties) -> Properties | None:
    """Return the pool, or None when it is gone."""
    cluster, _, name = id_.partition("/")
    reply = op.find("GET", "databases", cluster, "pools", name)
    return None if reply is None else _properties(cluster, reply["pool"], state)


def delete(op: Operation, id_: str, _state: Properties) -> None:
    """Remove the pool, cutting its clients off."""
    cluster, _, name = id_.partition("/")
    op.find("DELETE", "databases", cluster, "pools", name)
