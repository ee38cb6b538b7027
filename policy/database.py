"""Rules for the managed database: who reaches it, and how many connections it is asked for."""

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from policy.resources import UNKNOWN, Resource, Stack, is_missing
from policy.rule import Findings, Problems, ResourceRule, StackRule
from sizing import budget, editions, plans

ADMINISTRATOR = "doadmin"


def everywhere(addresses: Iterable[object]) -> list[str]:
    """Addresses that are the whole internet, of either version, alone or in pieces such as its two halves."""
    v4: dict[str, IPv4Network] = {}
    v6: dict[str, IPv6Network] = {}
    for address in map(str, addresses):
        # What is not an address is a tag, an id, or unknown.
        with contextlib.suppress(ValueError):
            v4[address] = IPv4Network(address, strict=False)
        with contextlib.suppress(ValueError):
            v6[address] = IPv6Network(address, strict=False)
    found: list[str] = []
    for pieces, is_open in (
        (list(v4), any(whole.prefixlen == 0 for whole in collapse_addresses(v4.values()))),
        (list(v6), any(whole.prefixlen == 0 for whole in collapse_addresses(v6.values()))),
    ):
        if is_open:
            found += [text for text in pieces if text.endswith("/0")] or pieces
    return found


def closed(resource: Resource) -> Problems:
    """Refuse trusted sources that trust everybody."""
    if is_missing(resource.get("rules")):
        yield "rules: must name at least one trusted source, got []"
    if trusted := everywhere([rule.get("value") for _, rule in resource.items("rules")]):
        yield f'rules: must not be the whole internet, got "{", ".join(trusted)}"'


def in_vpc(resource: Resource) -> Problems:
    """Refuse a database that has no private network."""
    if is_missing(resource.get("privateNetworkUuid")):
        yield 'privateNetworkUuid: must be the id of a VPC, got ""'


def transaction_mode(resource: Resource) -> Problems:
    """Refuse pools whose clients keep a backend to themselves."""
    mode = resource.get("mode")
    if mode is not UNKNOWN and mode != "transaction":
        yield f'mode: must be transaction, got "{mode or ""}"'


def own_user(resource: Resource) -> Problems:
    """Refuse pools of the administrator, or of whoever knows a password."""
    user = resource.get("user")
    if user is not UNKNOWN and (is_missing(user) or user == ADMINISTRATOR):
        yield f'user: must be a role of the app, got "{user or ""}"'


def has_firewall(stack: Stack) -> Findings:
    """Find clusters that have no trusted sources at all."""
    firewalls = stack.of("DatabaseFirewall")
    for cluster in stack.of("DatabaseCluster"):
        if not any(_serves(firewall, cluster) for firewall in firewalls):
            yield cluster, "trusted sources: must be set by a DatabaseFirewall, got none"


def fits_plan(stack: Stack) -> Findings:
    """Find clusters whose pools together want more backend connections than the plan leaves them."""
    for cluster in stack.of("DatabaseCluster"):
        size = cluster.get("size")
        if size not in plans.DATABASE_PLANS:  # unknown yet, or nothing that we could count with
            continue
        available = budget.pool_size(size, 0)
        pools = {pool.name: pool.get("size") for pool in _pools(stack)[cluster.urn]}
        wanted = sum(value for value in pools.values() if isinstance(value, int))
        if wanted > available:
            summands = " + ".join(f"{name} {value}" for name, value in pools.items())
            problem = (
                f"size: must leave {budget.PLATFORM_RESERVE} of {plans.max_connections(size)} backend connections to "
                f'DigitalOcean, got "{size}" with pools of {wanted} ({summands}), {available} are left'
            )
            yield cluster, problem


def new_cluster(stack: Stack) -> Findings:
    """Find clusters that are to be made, and that DigitalOcean does not sell to new ones any more."""
    if editions.ACCEPT_PLAN in stack.accepted:
        return
    for cluster in stack.of("DatabaseCluster"):
        size, nodes = cluster.get("size"), cluster.get("nodeCount")
        # One that is there, or is imported, has its name in DigitalOcean's catalogue of resources.
        is_new = is_missing(cluster.get("clusterUrn")) or cluster.get("clusterUrn") is UNKNOWN
        if is_new and size in plans.DATABASE_PLANS and isinstance(nodes, int):
            got = {"size": ("size", f'"{size}"'), "nodes": ("nodeCount", nodes)}
            beyond = editions.beyond_a_new_cluster(cluster.get("engine"), plans.database_memory(size), nodes)
            for setting, rule in beyond:
                name, value = got[setting]
                yield cluster, f"{name}: {rule}, got {value}"


def _pools(stack: Stack) -> dict[str, list[Resource]]:
    """Pools by the URN of their cluster."""
    found: dict[str, list[Resource]] = defaultdict(list)
    for pool in stack.of("DatabaseConnectionPool"):
        for cluster in _clusters(pool, stack.of("DatabaseCluster")):
            found[cluster.urn].append(pool)
    return found


def _clusters(resource: Resource, clusters: list[Resource]) -> Iterator[Resource]:
    yield from (cluster for cluster in clusters if cluster.urn in resource.uses.get("clusterId", ()))


def _serves(firewall: Resource, cluster: Resource) -> bool:
    """Tell by what its `clusterId` is made from; one that nothing says anything about is not held against anybody."""
    uses = firewall.uses.get("clusterId", ())
    return cluster.urn in uses if uses else firewall.get("clusterId") is UNKNOWN


RULES = (
    StackRule(
        name="database-new-cluster",
        kinds=("DatabaseCluster",),
        why="DigitalOcean refuses a new cluster that is larger, after the rest of the stack was made.",
        fix=editions.WAYS_OUT,
        check=new_cluster,
    ),
    ResourceRule(
        name="database-closed",
        kinds=("DatabaseFirewall",),
        why="Empty rules open a cluster to the internet, and so does a rule for all addresses.",
        fix="name the Droplets' tag, and addresses in database.trustedSources",
        check=closed,
    ),
    StackRule(
        name="database-has-trusted-sources",
        kinds=("DatabaseCluster",),
        why="DigitalOcean creates clusters that take connections from everywhere.",
        fix="add a DatabaseFirewall whose cluster_id is this cluster's id",
        check=has_firewall,
    ),
    ResourceRule(
        name="database-in-vpc",
        kinds=("DatabaseCluster", "DatabaseReplica"),
        why="Outside a VPC of the stack, queries cross a network that is shared with others.",
        fix="set private_network_uuid to the id of the stack's VPC",
        check=in_vpc,
    ),
    ResourceRule(
        name="pool-transaction-mode",
        kinds=("DatabaseConnectionPool",),
        why="In another mode each idle thread of Gunicorn holds a backend connection, and the plan's run out.",
        fix='set mode to "transaction"',
        check=transaction_mode,
    ),
    ResourceRule(
        name="pool-own-user",
        kinds=("DatabaseConnectionPool",),
        why="What reaches the database through the pool must have the app's rights only.",
        fix="set user to the DatabaseUser of the app",
        check=own_user,
    ),
    StackRule(
        name="pool-within-plan",
        kinds=("DatabaseCluster", "DatabaseConnectionPool"),
        why="All pools of a cluster share its connections; when they are gone, migrations and operators get none.",
        fix="lower pool.size, or use a larger database.size",
        check=fits_plan,
    ),
)
