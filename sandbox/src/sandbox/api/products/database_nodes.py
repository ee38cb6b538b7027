"""The nodes of a database cluster: their addresses, and that a standby takes the primary's place when it is gone."""

import asyncio
import functools
import logging
import time
from collections import Counter

from sandbox.api import addresses, errors
from sandbox.api.calls import Cloud
from sandbox.api.products.database_common import record, spec, update
from sandbox.model.store import Body, Resource, Store
from sandbox.model.topology_of import cluster_nodes

logger = logging.getLogger("sandbox.databases")

_PERIOD = 1.0  # seconds between two looks
_PRIMARY_LOOKS = 3  # in a row without an answer until a standby is promoted: a server that restarts is back by then
_STANDBY_LOOKS = 30  # in a row until a standby that doesn't follow is replaced


def address(store: Store, cluster_id: str) -> None:
    """Give each standby node of a cluster its addresses; those that have some keep them."""
    cluster = store.get("database", cluster_id)
    assert cluster is not None, cluster_id
    vpc = store.get("vpc", cluster.body["private_network_uuid"])
    assert vpc is not None, "a VPC with members can't be deleted"
    for _ in range(len(cluster_nodes(cluster)), cluster.body["num_nodes"]):
        private_ip = addresses.private(store, vpc.id, vpc.body["ip_range"])
        new = {"public_ip": addresses.cluster(store), "private_ip": private_ip}
        # Written down one by one, for an address is free that no node has.
        cluster = store.put("database", cluster_id, cluster.body, _with_standby(cluster, new))


async def watch(cloud: Cloud) -> None:
    """Look after the nodes of all clusters, for as long as the API runs."""
    missed: Counter[str] = Counter()
    while cloud.world.depth == "full":
        await asyncio.sleep(_PERIOD)
        for cluster in cloud.store.list("database"):
            watched = cluster.body["num_nodes"] > 1 and cluster.body["status"] == "online"
            if watched and not cloud.lock(cluster.id).locked():  # else it is being changed, or looked at
                cloud.spawn(_look(cloud, cluster.id, missed))


async def switch_over(cloud: Cloud, cluster_id: str) -> int:
    """Let a standby take the primary's place in order, so that nothing is lost; return its number."""
    cloud.find("database", cluster_id)
    if cloud.world.depth != "full":
        raise errors.not_implemented('nodes: a cluster has one server at depth "api"')
    async with cloud.lock(cluster_id):
        cluster = cloud.find("database", cluster_id)
        if cluster.body["num_nodes"] == 1 or cluster.body["status"] != "online":
            raise errors.precondition_failed("cluster is not ready: it must be online and have a standby node")
        return await _change_primary(cloud, cluster, planned=True)


async def _look(cloud: Cloud, cluster_id: str, missed: Counter[str]) -> None:
    """Look once: a primary that is gone is replaced by a standby, a standby that is gone by a new one."""
    async with cloud.lock(cluster_id):
        cluster = cloud.store.get("database", cluster_id)
        if cluster is None or cluster.body["status"] != "online":
            return
        try:
            await _keep_whole(cloud, cluster, missed)
        except errors.ApiError as error:
            logger.error("cluster %s is out of order: %s", cluster_id, error.message)  # noqa: TRY400 - traced already


async def _keep_whole(cloud: Cloud, cluster: Resource, missed: Counter[str]) -> None:
    seen = spec(cloud.store, cluster)
    primary, standbys = f"primary of {cluster.id}", f"standbys of {cluster.id}"
    if not await cloud.run(cloud.realiser.primary_answers, seen):
        missed[primary] += 1
        if missed[primary] >= _PRIMARY_LOOKS:
            missed[primary] = 0
            await _change_primary(cloud, cluster, planned=False)
        return
    missed[primary] = 0
    missed[standbys] += 1
    if await cloud.run(cloud.realiser.standbys_follow, seen):
        missed[standbys] = 0
    elif missed[standbys] >= _STANDBY_LOOKS:
        missed[standbys] = 0
        await cloud.run(cloud.realiser.create_cluster, seen)


async def _change_primary(cloud: Cloud, cluster: Resource, *, planned: bool) -> int:
    """End the primary, promote a standby, lead the cluster's names to it, and make a new standby of the old primary.

    Who is primary is written down before it is: whatever ends the API in between, no two nodes are writable afterwards.
    """
    started = time.monotonic()
    retire = functools.partial(cloud.realiser.retire_primary, planned=planned)
    number = await cloud.run(retire, spec(cloud.store, cluster))
    update(cloud.store, cluster.id, private={"primary": number})
    changed = cloud.find("database", cluster.id)
    await cloud.run(cloud.realiser.promote, spec(cloud.store, changed))
    await cloud.apply()
    record(cloud.store, cluster.id, "cluster_master_promotion")
    logger.warning("cluster %s: node %d is primary after %.1f s", cluster.id, number, time.monotonic() - started)
    await cloud.run(cloud.realiser.create_cluster, spec(cloud.store, changed))
    return number


def _with_standby(cluster: Resource, new: Body) -> Body:
    return cluster.private | {"standbys": [*cluster.private.get("standbys", []), new]}
