"""What is done to a database cluster while it runs: maintenance, updates, another region, and what is said of it."""

import re

from starlette.responses import Response

from sandbox.api import addresses, errors
from sandbox.api.calls import Call, Cloud, Fields, Router, answer, nothing
from sandbox.api.products import database_plans, vpcs
from sandbox.api.products.database_common import new_password, online, record, update

router = Router("Database")

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_HOUR = re.compile(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?")

_CREDENTIALS = "metrics_credentials"


class _Maintenance(Fields):
    day: str
    hour: str


class _Upgrade(Fields):
    version: str


class _Migrate(Fields):
    region: str
    private_network_uuid: str | None = None


class _Login(Fields):
    basic_auth_username: str
    basic_auth_password: str


class _Credentials(Fields):
    credentials: _Login


@router.add("PUT", "/databases/{id}/maintenance", "databases_update_maintenanceWindow")
async def maintenance(call: Call) -> Response:
    """Set when updates may be installed."""
    cluster = call.cloud.find("database", call.path("id"))
    fields = call.fields(_Maintenance)
    if fields.day.lower() not in _DAYS:
        raise errors.unprocessable(f'day: must be one of {", ".join(_DAYS)}, got "{fields.day}"')
    if not _HOUR.fullmatch(fields.hour):
        raise errors.unprocessable(f'hour: must be HH:MM, got "{fields.hour}"')
    hour = fields.hour if fields.hour.count(":") > 1 else f"{fields.hour}:00"
    window = cluster.body["maintenance_window"] | {"day": fields.day.lower(), "hour": hour}
    call.store.put("database", cluster.id, cluster.body | {"maintenance_window": window})
    record(call.store, cluster.id, "cluster_update")
    return nothing()


@router.add("PUT", "/databases/{id}/upgrade", "databases_update_major_version")
async def upgrade(call: Call) -> Response:
    """Record a higher major version; no database is converted at depth "api", where this is allowed."""
    cluster = online(call)
    version = call.fields(_Upgrade).version
    database_plans.check_version(call.cloud, cluster.body["engine"], version)
    if int(version) <= int(cluster.body["version"]):
        raise errors.unprocessable(f'version: must be above {cluster.body["version"]}, got "{version}"')
    if call.cloud.world.depth == "full":
        raise errors.not_implemented('version: no cluster is upgraded in place at depth "full"; make another one')
    body = cluster.body | {"version": version, "semantic_version": f"{version}.0"}
    call.store.put("database", cluster.id, body)
    record(call.store, cluster.id, "cluster_update")
    return nothing()


@router.add("PUT", "/databases/{id}/install_update", "databases_install_update")
async def install_update(call: Call) -> Response:
    """Begin maintenance, which finds nothing to do."""
    record(call.store, online(call).id, "cluster_maintenance_perform")
    return nothing()


@router.add("PUT", "/databases/{id}/migrate", "databases_update_region")
async def migrate(call: Call) -> Response:
    """Move a cluster to another region, and into a VPC there; here only its record moves."""
    cluster = online(call)
    fields = call.fields(_Migrate)
    vpcs.check_region(fields.region)
    if fields.region == cluster.body["region"]:
        raise errors.unprocessable(f'region: the cluster is in "{fields.region}" already')
    if call.cloud.world.depth == "full":
        raise errors.not_implemented('region: no cluster moves at depth "full"; make another one')
    vpc = vpcs.vpc_for(call.cloud, fields.private_network_uuid, fields.region)
    private_ip = addresses.private(call.store, vpc.id, vpc.body["ip_range"])
    body = {"region": fields.region, "private_network_uuid": vpc.id, "status": "migrating"}
    update(call.store, cluster.id, body=body, private={"private_ip": private_ip})
    record(call.store, cluster.id, "cluster_update")
    call.cloud.spawn(_arrive(call.cloud, cluster.id))
    return Response(status_code=202)


@router.add("GET", "/databases/{id}/events", "databases_list_events_logs")
async def events(call: Call) -> Response:
    """List what was done to a cluster, oldest first."""
    return answer({"events": call.cloud.find("database", call.path("id")).private.get("events", [])})


@router.add("GET", "/databases/{id}/backups", "databases_list_backups")
async def backups(call: Call) -> Response:
    """List backups: none are taken here."""
    call.cloud.find("database", call.path("id"))
    return answer({"backups": []})


@router.add("GET", "/databases/{id}/replicas", "databases_list_replicas")
async def replicas(call: Call) -> Response:
    """List read-only nodes: none can be made here."""
    call.cloud.find("database", call.path("id"))
    return answer({"replicas": []})


@router.add("GET", "/databases/metrics/credentials", "databases_get_cluster_metrics_credentials")
async def get_credentials(call: Call) -> Response:
    """Answer the login of all clusters' metrics, which nothing here serves."""
    kept = call.store.get(_CREDENTIALS, _CREDENTIALS)
    if kept is None:
        login = {"basic_auth_username": "metrics", "basic_auth_password": new_password()}
        kept = call.store.put(_CREDENTIALS, _CREDENTIALS, login)
    return answer({"credentials": kept.body})


@router.add("PUT", "/databases/metrics/credentials", "databases_update_cluster_metrics_credentials")
async def put_credentials(call: Call) -> Response:
    """Set that login."""
    call.store.put(_CREDENTIALS, _CREDENTIALS, call.fields(_Credentials).credentials.model_dump())
    return nothing()


async def _arrive(cloud: Cloud, cluster_id: str) -> None:
    await cloud.apply()
    async with cloud.lock(cluster_id):
        update(cloud.store, cluster_id, body={"status": "online"})
