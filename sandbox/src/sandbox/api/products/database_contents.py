"""What is in a database cluster: databases and users."""

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Fields, Router, answer, nothing
from sandbox.api.products.database_common import (
    ADMIN,
    DEFAULT_DATABASE,
    check_identifier,
    check_new,
    children,
    named,
    new_password,
    online,
)

router = Router("Database")


class _Database(Fields):
    name: str


class _User(Fields):
    name: str


@router.add("POST", "/databases/{id}/dbs", "databases_add")
async def create_database(call: Call) -> Response:
    """Create a database, which belongs to doadmin."""
    cluster = online(call)
    name = call.fields(_Database).name
    check_identifier("name", name)
    check_new(call.store, "database_db", cluster, name)
    await call.cloud.run(call.cloud.realiser.create_database, cluster.id, name)
    call.store.put("database_db", f"{cluster.id}/{name}", {"name": name})
    return answer({"db": {"name": name}}, 201)


@router.add("GET", "/databases/{id}/dbs", "databases_list")
async def list_databases(call: Call) -> Response:
    """List databases."""
    cluster = call.cloud.find("database", call.path("id"))
    return answer({"dbs": [child.body for child in children(call.store, "database_db", cluster.id)]})


@router.add("GET", "/databases/{id}/dbs/{name}", "databases_get")
async def get_database(call: Call) -> Response:
    """Describe a database."""
    return answer({"db": named(call, "database_db").body})


@router.add("DELETE", "/databases/{id}/dbs/{name}", "databases_delete")
async def delete_database(call: Call) -> Response:
    """Drop a database; not the one that every cluster has."""
    child = named(call, "database_db")
    name = child.body["name"]
    if name == DEFAULT_DATABASE:
        raise errors.unprocessable(f"{DEFAULT_DATABASE} can't be deleted")
    pools = [p.body["name"] for p in children(call.store, "database_pool", call.path("id")) if p.body["db"] == name]
    if pools:
        raise errors.unprocessable(f'database "{name}" is used by pools: {", ".join(pools)}; delete them first')
    await call.cloud.run(call.cloud.realiser.drop_database, call.path("id"), name)
    call.store.delete("database_db", child.id)
    return nothing()


@router.add("POST", "/databases/{id}/users", "databases_add_user")
async def create_user(call: Call) -> Response:
    """Create a role that can log in and nothing more; the answer has its password."""
    cluster = online(call)
    name = call.fields(_User).name
    check_identifier("name", name)
    check_new(call.store, "database_user", cluster, name)
    password = new_password()
    await call.cloud.run(call.cloud.realiser.create_user, cluster.id, name, password)
    user = {"name": name, "role": "normal", "password": password}
    call.store.put("database_user", f"{cluster.id}/{name}", user)
    return answer({"user": user}, 201)


@router.add("GET", "/databases/{id}/users", "databases_list_users")
async def list_users(call: Call) -> Response:
    """List users."""
    cluster = call.cloud.find("database", call.path("id"))
    return answer({"users": [child.body for child in children(call.store, "database_user", cluster.id)]})


@router.add("GET", "/databases/{id}/users/{name}", "databases_get_user")
async def get_user(call: Call) -> Response:
    """Describe a user."""
    return answer({"user": named(call, "database_user").body})


class _Reset(Fields):
    """Nothing is said about PostgreSQL: the field of the real API is for MySQL."""


@router.add("POST", "/databases/{id}/users/{name}/reset_auth", "databases_reset_auth")
async def reset_user(call: Call) -> Response:
    """Give a role a new password; connections that are open stay."""
    cluster = online(call)
    child = named(call, "database_user")
    call.fields(_Reset)
    password = new_password()
    await call.cloud.run(call.cloud.realiser.create_user, cluster.id, child.body["name"], password)
    user = child.body | {"password": password}
    call.store.put("database_user", child.id, user)
    return answer({"user": user})


@router.add("DELETE", "/databases/{id}/users/{name}", "databases_delete_user")
async def delete_user(call: Call) -> Response:
    """Drop a role that owns nothing."""
    child = named(call, "database_user")
    if child.body["name"] == ADMIN:
        raise errors.unprocessable(f"{ADMIN} can't be deleted")
    await call.cloud.run(call.cloud.realiser.drop_user, call.path("id"), child.body["name"])
    call.store.delete("database_user", child.id)
    return nothing()
