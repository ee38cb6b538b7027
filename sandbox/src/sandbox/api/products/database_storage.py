"""The disk of a database cluster: how large it is, and how it grows by itself."""

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Cloud, Fields, Router, answer, nothing
from sandbox.api.products.database_common import online
from sandbox.model import plans
from sandbox.model.store import Body, Resource

router = Router("Database")

_MIB_PER_GIB = 1024
_BOUNDS = {"threshold_percent": (15, 95), "increment_gib": (10, 500)}
# What is added when the cluster doesn't say: a quarter, from 50 to 1024 GiB, in steps of 10 (the official provider's
# description of increment_gib).
_QUARTER, _LEAST_GIB, _MOST_GIB, _STEP_GIB = 4, 50, 1024, 10


class StorageAutoscale(Fields):
    """When a disk grows, and by how much."""

    enabled: bool
    threshold_percent: int | None = None
    increment_gib: int | None = None


class Autoscale(Fields):
    """What of a cluster grows by itself: its storage, nothing else."""

    storage: StorageAutoscale | None = None


def checked(autoscale: Autoscale | None, storage: StorageAutoscale | None = None) -> Body | None:
    """Return what a cluster keeps, from the specification's field or that of DigitalOcean's own Go client."""
    named = autoscale.storage if autoscale else None
    if named and storage and named != storage:
        raise errors.unprocessable("storage_autoscale: must be the same as autoscale.storage; send one of them")
    wanted = named or storage
    if wanted is None:
        return None
    kept: Body = {"enabled": wanted.enabled}
    numbers = {"threshold_percent": wanted.threshold_percent, "increment_gib": wanted.increment_gib}
    for name, value in numbers.items():
        least, most = _BOUNDS[name]
        if value is None or (value == 0 and not wanted.enabled):  # the official provider sends 0 for what isn't set
            continue
        if not least <= value <= most:
            raise errors.unprocessable(f"storage.{name}: must be from {least} to {most}, got {value}")
        kept[name] = value
    return {"storage": kept}


@router.add("GET", "/databases/{id}/autoscale", "databases_get_autoscale")
async def get_autoscale(call: Call) -> Response:
    """Say what grows by itself."""
    cluster = call.cloud.find("database", call.path("id"))
    found = cluster.body.get("autoscale") or {"storage": {"enabled": False}}
    # The specification has it below "autoscale", while DigitalOcean's own Go client reads "storage".
    return answer({"autoscale": found} | found)


@router.add("PUT", "/databases/{id}/autoscale", "databases_update_autoscale")
async def put_autoscale(call: Call) -> Response:
    """Set what grows by itself."""
    cluster = online(call)
    wanted = checked(call.fields(Autoscale))
    if wanted is None:
        raise errors.unprocessable("storage: required")
    call.store.put("database", cluster.id, cluster.body | {"autoscale": wanted})
    return nothing()


def size(plan: plans.DatabasePlan, wanted: int | str | None) -> int:
    """Return the MiB of a new cluster, or raise 422 for fewer than the plan has."""
    if not wanted:
        return plan.disk_mib
    if not str(wanted).isdigit() or int(wanted) < plan.disk_mib:
        raise errors.unprocessable(f"storage_size_mib: must be at least {plan.disk_mib} for {plan.slug}, got {wanted}")
    return int(wanted)


def resized(cluster: Resource, plan: plans.DatabasePlan, wanted: int | str | None) -> int:
    """Return the MiB of a resized cluster: what was added to the old plan's disk stays unless another size is named."""
    added = cluster.body["storage_size_mib"] - plans.DATABASE_PLANS[cluster.body["size"]].disk_mib
    return size(plan, wanted or plan.disk_mib + added)


def grow(cloud: Cloud, cluster_id: str) -> int:
    """Do what DigitalOcean does when a disk is full enough: add one increment, unasked; return the MiB that it has."""
    cluster = cloud.find("database", cluster_id)
    storage = (cluster.body.get("autoscale") or {}).get("storage", {})
    if not storage.get("enabled"):
        raise errors.unprocessable("autoscale: must be enabled, or the disk of this cluster doesn't grow by itself")
    now = cluster.body["storage_size_mib"]
    grown = now + (storage.get("increment_gib") or _increment(now // _MIB_PER_GIB)) * _MIB_PER_GIB
    cloud.store.put("database", cluster.id, cluster.body | {"storage_size_mib": grown})
    return int(grown)


def _increment(gib: int) -> int:
    return min(max(round(gib / _QUARTER / _STEP_GIB) * _STEP_GIB, _LEAST_GIB), _MOST_GIB)
