"""Managed PostgreSQL: clusters; what is in them and around them is in the other files called database_*."""

import asyncio
import base64
import logging
import re

from starlette.responses import Response

from sandbox.api import addresses, errors, switches
from sandbox.api.calls import Call, Cloud, Fields, Router, answer, nothing
from sandbox.api.products import (
    database_firewalls,
    database_nodes,
    database_plans,
    database_pools,
    database_storage,
    projects,
    tags,
    vpcs,
)
from sandbox.api.products.database_common import (
    ADMIN,
    DEFAULT_DATABASE,
    children,
    connection_body,
    connections,
    new_password,
    online,
    record,
    spec,
    update,
)
from sandbox.model import plans
from sandbox.model.realiser import ClusterSpec
from sandbox.model.store import Bodies, Body, Resource, Store, now
from sandbox.world.world import DATABASE_DOMAIN

router = Router("Database")
logger = logging.getLogger("sandbox.databases")

_METRICS_PORT = 9273
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


class _Create(Fields):
    name: str
    engine: str
    version: str | None = None
    size: str
    region: str
    num_nodes: int
    private_network_uuid: str | None = None
    project_id: str | None = None
    tags: list[str] | None = None
    rules: list[database_firewalls.Rule] | None = None
    storage_size_mib: int | str | None = None
    autoscale: database_storage.Autoscale | None = None
    storage_autoscale: database_storage.StorageAutoscale | None = None


class _Resize(Fields):
    size: str
    num_nodes: int
    storage_size_mib: int | str | None = None


@router.add("POST", "/databases", "databases_create_cluster")
async def create(call: Call) -> Response:
    """Create a cluster; it is online some time after the answer, which has doadmin's password."""
    fields = call.fields(_Create)
    if not _NAME.fullmatch(fields.name):
        raise errors.unprocessable(f'name: must be 3-63 small letters, digits and dashes, got "{fields.name}"')
    if any(cluster.body["name"] == fields.name for cluster in call.store.list("database")):
        raise errors.unprocessable(f'name: database name is not available, "{fields.name}" exists')
    engine = database_plans.engine(fields.engine)
    vpcs.check_region(fields.region)
    plan = database_plans.plan(fields.engine, fields.size, fields.num_nodes)
    database_plans.check_new(call.store, fields.engine, plan, fields.num_nodes)
    version = fields.version or engine.default_version
    database_plans.check_version(call.cloud, fields.engine, version)
    storage = database_storage.size(plan, fields.storage_size_mib)
    autoscale = database_storage.checked(fields.autoscale, fields.storage_autoscale)
    rules = database_firewalls.checked(call.store, fields.rules or [])
    vpc = vpcs.vpc_for(call.cloud, fields.private_network_uuid, fields.region)
    cluster_tags = tags.ensure(call.store, fields.tags)

    number = call.store.next_id("database")
    cluster_id = call.store.next_uuid("database")
    host = f"{fields.name}-do-user-{number % 10_000_000}-0.f.{DATABASE_DOMAIN}"
    body: Body = {
        "id": cluster_id,
        "name": fields.name,
        "engine": fields.engine,
        "version": version,
        "semantic_version": f"{version}.0",
        "num_nodes": fields.num_nodes,
        "size": plan.slug,
        "region": fields.region,
        "status": "creating",
        "created_at": now(),
        "private_network_uuid": vpc.id,
        "tags": cluster_tags,
        "storage_size_mib": storage,
        "autoscale": autoscale,
        "project_id": projects.of_new(call.store, fields.project_id),
        "maintenance_window": {"day": "tuesday", "hour": "03:00:00", "pending": False, "description": []},
    }
    private: Body = {
        "host": host,
        "private_host": f"private-{host}",
        "public_ip": addresses.cluster(call.store),
        "private_ip": addresses.private(call.store, vpc.id, vpc.body["ip_range"]),
        "password": new_password(),
        "rules": rules,
        "project_id": body["project_id"],
    }
    call.store.put("database", cluster_id, body, private)
    database_nodes.address(call.store, cluster_id)
    call.store.put("database_db", f"{cluster_id}/{DEFAULT_DATABASE}", {"name": DEFAULT_DATABASE})
    user = {"name": ADMIN, "role": "primary", "password": private["password"]}
    call.store.put("database_user", f"{cluster_id}/{ADMIN}", user)
    record(call.store, cluster_id, "cluster_create")
    call.cloud.spawn(_create_cluster(call.cloud, cluster_id))
    return answer({"database": _body(call.cloud, call.cloud.find("database", cluster_id))}, 201)


@router.add("GET", "/databases", "databases_list_clusters", query=("tag_name",))
async def list_all(call: Call) -> Response:
    """List clusters, all or by tag."""
    tag = call.query("tag_name")
    clusters = [c for c in call.store.list("database") if not tag or tag in c.body["tags"]]
    return call.listing("databases", (_body(call.cloud, cluster) for cluster in clusters))


@router.add("GET", "/databases/{id}", "databases_get_cluster")
async def get(call: Call) -> Response:
    """Describe a cluster; one that could not be made or resized says why."""
    cluster = call.cloud.find("database", call.path("id"))
    if failure := cluster.private.get("failure"):
        raise errors.server_error(f"sandbox: this cluster is broken, delete it: {failure}")
    return answer({"database": _body(call.cloud, cluster)})


@router.add("DELETE", "/databases/{id}", "databases_destroy_cluster")
async def delete(call: Call) -> Response:
    """Destroy a cluster and all data in it."""
    cluster = call.cloud.find("database", call.path("id"))
    call.store.delete("database", cluster.id)
    for kind in ("database_db", "database_user", "database_pool"):
        for child in children(call.store, kind, cluster.id):
            call.store.delete(kind, child.id)
    # Not found any more, but a member of its VPC with its addresses until the machine is gone, as in the cloud.
    call.store.put("database_leaving", cluster.id, cluster.body, cluster.private)
    call.cloud.spawn(_destroy_cluster(call.cloud, cluster.id))
    return nothing()


@router.add("PUT", "/databases/{id}/resize", "databases_update_clusterSize")
async def resize(call: Call) -> Response:
    """Give a cluster another plan, number of nodes or storage."""
    cluster = online(call)
    fields = call.fields(_Resize)
    plan = database_plans.plan(cluster.body["engine"], fields.size, fields.num_nodes)
    if fields.num_nodes < cluster.body["num_nodes"]:
        raise errors.unprocessable(f"num_nodes: can't be reduced from {cluster.body['num_nodes']}")
    if plan.memory_gib < plans.DATABASE_PLANS[cluster.body["size"]].memory_gib:
        raise errors.unprocessable(f'size: can\'t be reduced from {cluster.body["size"]}, got "{plan.slug}"')
    storage = database_storage.resized(cluster, plan, fields.storage_size_mib)
    pools = [pool.body for pool in children(call.store, "database_pool", cluster.id)]
    database_pools.check_size(plan, pools)
    body = cluster.body | {"size": plan.slug, "num_nodes": fields.num_nodes, "storage_size_mib": storage}
    call.store.put("database", cluster.id, body | {"status": "resizing"})
    database_nodes.address(call.store, cluster.id)
    record(call.store, cluster.id, "cluster_update")
    same = plan.slug == cluster.body["size"] and not cluster.private.get("failure")
    more = fields.num_nodes > cluster.body["num_nodes"] and call.cloud.world.depth == "full"
    work = _set_online if same and not more else _resize_cluster
    call.cloud.spawn(work(call.cloud, cluster.id))
    return Response(status_code=202)


@router.add("GET", "/databases/{id}/ca", "databases_get_ca")
async def get_ca(call: Call) -> Response:
    """Return the authority that signs the cluster's certificate, base64 of PEM; an Advanced cluster has none."""
    cluster = online(call)
    if cluster.body["engine"] == plans.ADVANCED:
        played = switches.read(call.store).advanced_ca
        if played == "none":
            raise errors.not_found()
        if played == "empty":
            return answer({"ca": {"certificate": ""}})
    pem = await call.cloud.run(call.cloud.realiser.cluster_ca, cluster.id)
    return answer({"ca": {"certificate": base64.b64encode(pem.encode()).decode()}})


def existing(store: Store) -> list[ClusterSpec]:
    """Return the clusters that should run, after a restart of the API."""
    return [spec(store, cluster) for cluster in store.list("database") if cluster.body["status"] != "creating"]


def resume(cloud: Cloud) -> None:
    """Go on with what a stopped API left half done."""
    for cluster in cloud.store.list("database"):
        if cluster.body["status"] == "creating" and not cluster.private.get("failure"):
            cloud.spawn(_create_cluster(cloud, cluster.id))
        if cluster.body["status"] == "resizing":
            cloud.spawn(_resize_cluster(cloud, cluster.id))
        if cluster.body["status"] == "migrating":
            cloud.spawn(_set_online(cloud, cluster.id))
    for leaving in cloud.store.list("database_leaving"):
        cloud.spawn(_destroy_cluster(cloud, leaving.id))
    cloud.spawn(database_nodes.watch(cloud))


async def _create_cluster(cloud: Cloud, cluster_id: str) -> None:
    await asyncio.sleep(cloud.faults.delay("database"))
    async with cloud.lock(cluster_id):  # its deletion waits
        await _make_cluster(cloud, cluster_id)


async def _make_cluster(cloud: Cloud, cluster_id: str) -> None:
    cluster = cloud.store.get("database", cluster_id)
    if cluster is None:  # deleted meanwhile
        return
    try:
        await cloud.apply()
        await cloud.run(cloud.realiser.create_cluster, spec(cloud.store, cluster))
    except errors.ApiError as error:
        logger.error("cluster %s could not be made: %s", cluster_id, error.message)  # noqa: TRY400 - traced already
        update(cloud.store, cluster_id, private={"failure": error.message})
        return
    update(cloud.store, cluster_id, body={"status": "online"})


async def _resize_cluster(cloud: Cloud, cluster_id: str) -> None:
    async with cloud.lock(cluster_id):
        cluster = cloud.store.get("database", cluster_id)
        if cluster is None:  # deleted meanwhile
            return
        try:
            await cloud.apply()  # new nodes have addresses
            await cloud.run(cloud.realiser.resize_cluster, spec(cloud.store, cluster))
        except errors.ApiError as error:
            logger.error("cluster %s could not be resized: %s", cluster_id, error.message)  # noqa: TRY400 - traced already
            update(cloud.store, cluster_id, private={"failure": error.message})
            return
    update(cloud.store, cluster_id, body={"status": "online"}, private={"failure": None})


async def _set_online(cloud: Cloud, cluster_id: str) -> None:
    """End what leaves the servers as they are: more storage, another region."""
    async with cloud.lock(cluster_id):
        if cloud.store.get("database", cluster_id) is not None:
            update(cloud.store, cluster_id, body={"status": "online"})


async def _destroy_cluster(cloud: Cloud, cluster_id: str) -> None:
    async with cloud.lock(cluster_id):
        await cloud.run(cloud.realiser.destroy_cluster, cluster_id)
    cloud.store.delete("database_leaving", cluster_id)
    await cloud.apply()


def _body(cloud: Cloud, cluster: Resource) -> Body:
    endpoint = cloud.realiser.endpoint(spec(cloud.store, cluster))
    password = cluster.private["password"]

    def connection(host: str) -> Body:
        return connection_body(host, endpoint.port, DEFAULT_DATABASE, ADMIN, password)

    autoscale = cluster.body.get("autoscale")
    return (
        cluster.body
        | projects.of(cloud.store, cluster)
        | {
            "storage_autoscale": autoscale["storage"]
            if autoscale
            else None,  # its name in DigitalOcean's own Go client
            **connections(cluster, endpoint, connection),
            "users": [child.body for child in children(cloud.store, "database_user", cluster.id)],
            "db_names": [child.body["name"] for child in children(cloud.store, "database_db", cluster.id)],
            "rules": cluster.private["rules"],
            "metrics_endpoints": _metrics_endpoints(cluster),
        }
    )


def _metrics_endpoints(cluster: Resource) -> Bodies:
    """Name where metrics would be: nothing listens there."""
    host = cluster.private["host"]
    hosts = [host, f"standby-{host}"] if cluster.body["num_nodes"] > 1 else [host]
    return [{"host": host, "port": _METRICS_PORT} for host in hosts]
