"""What all routes of a database cluster share: its specification, its children, and how clients reach it."""

import re
import secrets
import string
from collections.abc import Callable
from urllib.parse import quote

from sandbox.api import errors
from sandbox.api.calls import Call
from sandbox.model import plans
from sandbox.model.realiser import ClusterSpec, Endpoint
from sandbox.model.store import Body, Resource, Store, now
from sandbox.model.topology_of import cluster_nodes, primary_of

ADMIN = "doadmin"
DEFAULT_DATABASE = "defaultdb"
_IDENTIFIER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")


def spec(store: Store, cluster: Resource) -> ClusterSpec:
    """Collect what a cluster needs to run."""
    plan = plans.DATABASE_PLANS[cluster.body["size"]]
    vpc = store.get("vpc", cluster.body["private_network_uuid"])
    assert vpc is not None, "a VPC with members can't be deleted"
    return ClusterSpec(
        id=cluster.id,
        name=cluster.body["name"],
        version=cluster.body["version"],
        memory_mib=plan.memory_gib * 1024,
        vcpus=plan.vcpus,
        max_connections=plan.max_connections,
        host=cluster.private["host"],
        private_host=cluster.private["private_host"],
        nodes=cluster_nodes(cluster),
        primary=primary_of(cluster),
        vpc_id=vpc.id,
        vpc_range=vpc.body["ip_range"],
        password=cluster.private["password"],
        engine=cluster.body["engine"],
    )


def update(store: Store, cluster_id: str, *, body: Body | None = None, private: Body | None = None) -> None:
    """Change a cluster, unless it was deleted meanwhile."""
    if cluster := store.get("database", cluster_id):
        store.put("database", cluster_id, cluster.body | (body or {}), cluster.private | (private or {}))


def record(store: Store, cluster_id: str, type_: str) -> None:
    """Note that something was done to a cluster, for its list of events."""
    if cluster := store.get("database", cluster_id):
        event = {
            "id": f"ev{store.next_id('database_event'):x}",
            "cluster_name": cluster.body["name"],
            "event_type": type_,
            "create_time": now(),
        }
        update(store, cluster_id, private={"events": [*cluster.private.get("events", []), event]})


def online(call: Call) -> Resource:
    """Return the cluster of a call, or raise 412 unless it is online."""
    cluster = call.cloud.find("database", call.path("id"))
    if cluster.body["status"] != "online":
        raise errors.precondition_failed(f"cluster is not ready: its status is {cluster.body['status']}, not online")
    return cluster


def children(store: Store, kind: str, cluster_id: str) -> list[Resource]:
    """Return what of a kind a cluster has, oldest first."""
    return [child for child in store.list(kind) if child.id.startswith(f"{cluster_id}/")]


def named(call: Call, kind: str) -> Resource:
    """Return the one that a call's path names, or raise 404."""
    cluster = call.cloud.find("database", call.path("id"))
    return call.cloud.find(kind, f"{cluster.id}/{call.path('name')}")


def check_new(store: Store, kind: str, cluster: Resource, name: str) -> None:
    """Raise 422 for a name that a cluster has already."""
    if store.get(kind, f"{cluster.id}/{name}"):
        word = kind.removeprefix("database_")
        raise errors.unprocessable(f'name: a {word} called "{name}" exists already')


def check_identifier(field: str, name: str) -> None:
    """Raise 422 for what can't be the name of a role or a database."""
    if not _IDENTIFIER.fullmatch(name):
        raise errors.unprocessable(f'{field}: must be 1-63 letters, digits, dashes and underscores, got "{name}"')


def connection_body(host: str, port: int, database: str, user: str, password: str) -> Body:
    """Answer how to connect, as the API does."""
    return {
        "protocol": "postgresql",
        "uri": f"postgresql://{quote(user)}:{quote(password)}@{host}:{port}/{quote(database)}?sslmode=require",
        "database": database,
        "host": host,
        "port": port,
        "user": user,
        "password": password,
        "ssl": True,
    }


def connections(cluster: Resource, endpoint: Endpoint, connection: Callable[[str], Body]) -> dict[str, Body]:
    """Answer how to connect to the primary, and to the standby nodes of a cluster that has some."""
    found = {"connection": connection(endpoint.host), "private_connection": connection(endpoint.private_host)}
    if cluster.body["num_nodes"] > 1:
        found["standby_connection"] = connection(endpoint.standby_host)
        found["standby_private_connection"] = connection(endpoint.standby_private_host)
    return found


def new_password() -> str:
    """Return a password like the real ones: a prefix and letters and digits, so that no URI needs escaping."""
    return "AVNS_" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(19))
