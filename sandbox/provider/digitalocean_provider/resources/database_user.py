"""DatabaseUser: a login role of a cluster."""

from digitalocean_provider.errors import ProviderError
from digitalocean_provider.operation import Operation
from digitalocean_provider.schema import COMPUTED, REQUIRED, Field, Schema
from plugin_base.wire import Properties

SCHEMA = Schema(
    type_name="digitalocean:index/databaseUser:DatabaseUser",
    label="database user",
    fields={
        "name": Field(auto_name=True, replaces=True),
        "clusterId": Field(role=REQUIRED, replaces=True),
        "password": Field(role=COMPUTED, secret=True),
        "role": Field(role=COMPUTED),
    },
)


def part_of_cluster(kind: str, imported: str) -> tuple[str, str]:
    """Split the id that `pulumi import` takes for a part of a cluster."""
    cluster, _, name = imported.partition(",")
    if not cluster or not name:
        raise ProviderError(f"{kind} to import: must be the cluster's id and the name, `id,name`, got {imported!r}")
    return cluster, name


def _id(cluster: str, name: str) -> str:
    return f"{cluster}/user/{name}"


def _properties(cluster: str, user: Properties, known: str) -> Properties:
    return {
        "name": user["name"],
        "clusterId": cluster,
        "password": user.get("password") or known or None,
        "role": user.get("role") or "normal",
    }


def locate(imported: str) -> tuple[str, Properties]:
    """Turn the id given to `pulumi import` into the resource's own id and what reading needs."""
    cluster, name = part_of_cluster("database user", imported)
    return _id(cluster, name), {"clusterId": cluster, "name": name}


def create(op: Operation, inputs: Properties) -> Properties:
    """Create one at a time per cluster; the answer has the generated password."""
    cluster = inputs["clusterId"]
    with op.one_at_a_time(f"users of {cluster}"):
        user = op.call("POST", "databases", cluster, "users", body={"name": inputs["name"]})["user"]
    properties = _properties(cluster, user, "")
    op.keep(_id(cluster, user["name"]), properties)
    return properties


def read(op: Operation, _id: str, state: Properties) -> Properties | None:
    """Return the role, or None when it is gone."""
    reply = op.find("GET", "databases", state["clusterId"], "users", state["name"])
    return None if reply is None else _properties(state["clusterId"], reply["user"], state.get("password", ""))


def delete(op: Operation, _id: str, state: Properties) -> None:
    """Drop the role, one at a time per cluster."""
    with op.one_at_a_time(f"users of {state['clusterId']}"):
        op.find("DELETE", "databases", state["clusterId"], "users", state["name"])
