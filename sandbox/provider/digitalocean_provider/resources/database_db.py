"""DatabaseDb: a database in a cluster."""

from digitalocean_provider.operation import Operation
from digitalocean_provider.resources.database_user import part_of_cluster
from digitalocean_provider.schema import REQUIRED, Field, Schema
from plugin_base.wire import Properties

SCHEMA = Schema(
    type_name="digitalocean:index/databaseDb:DatabaseDb",
    label="database",
    fields={
        "name": Field(auto_name=True, replaces=True),
        "clusterId": Field(role=REQUIRED, replaces=True),
    },
)


def _id(cluster: str, name: str) -> str:
    return f"{cluster}/database/{name}"


def locate(imported: str) -> tuple[str, Properties]:
    """Turn the id given to `pulumi import` into the resource's own id and what reading needs."""
    cluster, name = part_of_cluster("database", imported)
    return _id(cluster, name), {"clusterId": cluster, "name": name}


def create(op: Operation, inputs: Properties) -> Properties:
    """Create the database, owned by doadmin."""
    cluster = inputs["clusterId"]
    name = op.call("POST", "databases", cluster, "dbs", body={"name": inputs["name"]})["db"]["name"]
    op.keep(_id(cluster, name), {"clusterId": cluster, "name": name})
    return read(op, op.id, op.known) or {}


def read(op: Operation, _id: str, state: Properties) -> Properties | None:
    """Return the database, or None when it is gone."""
    reply = op.find("GET", "databases", state["clusterId"], "dbs", state["name"])
    return None if reply is None else {"clusterId": state["clusterId"], "name": reply["db"]["name"]}


def delete(op: Operation, _id: str, state: Properties) -> None:
    """Drop the database with its data."""
    op.find("DELETE", "databases", state["clusterId"], "dbs", state["name"])
