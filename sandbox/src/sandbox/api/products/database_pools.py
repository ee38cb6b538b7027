"""Connection pools of database clusters."""

import re
from typing import Literal

from starlette.responses import Response

from sandbox.api import errors, switches
from sandbox.api.calls import Call, Cloud, Fields, Router, answer, nothing
from sandbox.api.products.database_common import (
    check_new,
    children,
    connection_body,
    connections,
    named,
    online,
    spec,
)
from sandbox.model import plans
from sandbox.model.realiser import PoolSpec
from sandbox.model.store import Bodies, Body, Resource

router = Router("Database")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{2,62}")


class _Change(Fields):
    mode: Literal["transaction", "session", "statement"]
    size: int
    db: str
    user: str | None = None


class _Pool(_Change):
    name: str


@router.add("POST", "/databases/{id}/pools", "databases_add_connectionPool")
async def create_pool(call: Call) -> Response:
    """Create a pool; all pools of a cluster share its connections."""
    cluster = online(call)
    if cluster.body["engine"] == plans.ADVANCED and not switches.read(call.store).advanced_pools:
        raise errors.unprocessable(f"connection pools are not available for clusters of engine {plans.ADVANCED}")
    fields = call.fields(_Pool)
    if not _NAME.fullmatch(fields.name):
        raise errors.unprocessable(f'name: must be 3-63 letters, digits, dashes and underscores, got "{fields.name}"')
    pool = {
        "name": fields.name,
        "mode": fields.mode,
        "size": fields.size,
        "db": fields.db,
        "user": fields.user or "",
    }
    async with call.cloud.lock(f"pools of {cluster.id}"):
        check_new(call.store, "database_pool", cluster, fields.name)
        others = [other.body for other in children(call.store, "database_pool", cluster.id)]
        if len(others) >= plans.MAX_POOLS:
            raise errors.unprocessable(f"pools: a cluster has at most {plans.MAX_POOLS}")
        await _put_pools(call, cluster, [*others, pool], pool)
    return answer({"pool": _pool_body(call.cloud, cluster, pool)}, 201)


@router.add("GET", "/databases/{id}/pools", "databases_list_connectionPools")
async def list_pools(call: Call) -> Response:
    """List pools."""
    cluster = call.cloud.find("database", call.path("id"))
    pools = [_pool_body(call.cloud, cluster, child.body) for child in children(call.store, "database_pool", cluster.id)]
    return answer({"pools": pools})


@router.add("GET", "/databases/{id}/pools/{name}", "databases_get_connectionPool")
async def get_pool(call: Call) -> Response:
    """Describe a pool."""
    child = named(call, "database_pool")
    cluster = call.cloud.find("database", call.path("id"))
    return answer({"pool": _pool_body(call.cloud, cluster, child.body)})


@router.add("PUT", "/databases/{id}/pools/{name}", "databases_update_connectionPool")
async def update_pool(call: Call) -> Response:
    """Change a pool in place."""
    cluster = online(call)
    child = named(call, "database_pool")
    fields = call.fields(_Change)
    pool = child.body | {"mode": fields.mode, "size": fields.size, "db": fields.db, "user": fields.user or ""}
    async with call.cloud.lock(f"pools of {cluster.id}"):
        others = [o.body for o in children(call.store, "database_pool", cluster.id) if o.id != child.id]
        await _put_pools(call, cluster, [*others, pool], pool)
    return nothing()


@router.add("DELETE", "/databases/{id}/pools/{name}", "databases_delete_connectionPool")
async def delete_pool(call: Call) -> Response:
    """Delete a pool."""
    child = named(call, "database_pool")
    cluster = online(call)
    async with call.cloud.lock(f"pools of {cluster.id}"):
        others = [o.body for o in children(call.store, "database_pool", cluster.id) if o.id != child.id]
        await call.cloud.run(call.cloud.realiser.put_pools, cluster.id, _pool_specs(others))
        call.store.delete("database_pool", child.id)
    return nothing()


async def _put_pools(call: Call, cluster: Resource, pools: Bodies, changed: Body) -> None:
    if changed["size"] < 1:
        raise errors.unprocessable(f"size: must be at least 1, got {changed['size']}")
    if call.store.get("database_db", f"{cluster.id}/{changed['db']}") is None:
        raise errors.unprocessable(f'db: the cluster has no database "{changed["db"]}"')
    if changed["user"] and call.store.get("database_user", f"{cluster.id}/{changed['user']}") is None:
        raise errors.unprocessable(f'user: the cluster has no user "{changed["user"]}"')
    check_size(plans.DATABASE_PLANS[cluster.body["size"]], pools)
    await call.cloud.run(call.cloud.realiser.put_pools, cluster.id, _pool_specs(pools))
    call.store.put("database_pool", f"{cluster.id}/{changed['name']}", changed)


def check_size(plan: plans.DatabasePlan, pools: Bodies) -> None:
    """Raise 422 when pools need more connections than a plan has."""
    available = plan.max_connections - plans.RESERVED_CONNECTIONS
    wanted = sum(pool["size"] for pool in pools)
    if wanted > available:
        shown = " + ".join(f"{pool['size']} ({pool['name']})" for pool in pools)
        raise errors.unprocessable(
            f"size: pools take {shown} = {wanted} backend connections, {plan.slug} has {available} "
            f"({plan.max_connections} - {plans.RESERVED_CONNECTIONS} reserved)"
        )


def _pool_specs(pools: Bodies) -> list[PoolSpec]:
    return [PoolSpec(name=p["name"], mode=p["mode"], size=p["size"], database=p["db"], user=p["user"]) for p in pools]


def _pool_body(cloud: Cloud, cluster: Resource, pool: Body) -> Body:
    endpoint = cloud.realiser.endpoint(spec(cloud.store, cluster))
    user = pool["user"]
    found = cloud.store.get("database_user", f"{cluster.id}/{user}") if user else None
    password = found.body["password"] if found else ""

    def connection(host: str) -> Body:
        return connection_body(host, endpoint.pool_port, pool["name"], user, password)

    return pool | connections(cluster, endpoint, connection)
