"""What a change of each kind of resource means to the people who run the site."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from operations.preview import way_in
from operations.preview.effect import Effect, Level, because, renamed, site
from operations.preview.events import Change, Preview
from sizing import plans
from sizing.editions import (
    ACCEPT_NO_FAILOVER,
    ACCEPT_PLAN,
    ADVANCED,
    LIMITS,
    POOLS_UNKNOWN,
    beyond_a_new_cluster,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Meaning:
    """What a kind is called, which part of the site it is, and what its changes do."""

    noun: str
    part: str
    effects: Callable[[Change, Preview], Iterator[Effect]]


# What the user has accepted by a setting of that name: said in each preview.
ACCEPTED = {
    ACCEPT_PLAN: "a new Standard cluster may have more than DigitalOcean sells to new ones: if the account "
    "may not have it, `pulumi up` fails when it creates the cluster",
    ACCEPT_NO_FAILOVER: "the database has one node: when that fails, the site is down until DigitalOcean has "
    "recovered it from its backup, and what was written last may be lost",
}
INSTEAD = (
    "Instead: take the change back; or make a second stack beside this one, restore the data into it "
    "(docs/runbook.md), and move the name"
)


def _lost(what: str) -> Callable[[Change, Preview], Iterator[Effect]]:
    def effects(change: Change, _preview: Preview) -> Iterator[Effect]:
        if change.verb in {"replaced", "deleted"}:
            yield Effect(
                Level.DATA_LOSS,
                f"`{change.name}` is {change.verb}, and {what} with it. Because of: {because(change)}. {INSTEAD}",
            )

    return effects


def _cluster(change: Change, preview: Preview) -> Iterator[Effect]:
    yield from _lost("everything in it")(change, preview)
    if change.verb != "updated":
        return
    if "version" in change.reasons:
        yield Effect(
            Level.OUTAGE,
            "PostgreSQL is upgraded in place: the database is away for minutes, and there is no way back to the "
            "old version. Try it on a copy first",
        )
    if fewer := _fewer(change):
        yield Effect(Level.CARE, f"`pulumi up` would fail: a cluster never gets less than it has, here {fewer}")
    elif set(_beyond(change.new)) - set(_beyond(change.old)):
        yield Effect(
            Level.CARE,
            f"`pulumi up` may fail: {LIMITS}; whether one that was made since then may grow beyond that is not known",
        )
    if "size" in change.reasons and not fewer:
        yield Effect(
            Level.OUTAGE,
            "the cluster is resized in place, with its data: connections break when it changes over, and requests that "
            "need the database fail for seconds",
        )
    elif "nodeCount" in change.reasons and not fewer:
        yield Effect(
            Level.CARE,
            "the cluster gets standby nodes in place, and its primary goes on; DigitalOcean does not say whether "
            "connections break meanwhile",
        )


def _beyond(cluster: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Tell what of a cluster is more than a new one may have."""
    memory, nodes = _memory(cluster.get("size")), _count(cluster.get("nodeCount"))
    return list(beyond_a_new_cluster(str(cluster.get("engine")), memory, nodes))


def _fewer(change: Change) -> str:
    """Tell what of a cluster's nodes or its plan's memory would be less than before."""
    for name, number in (("nodeCount", _count), ("size", _memory)):
        old, new = (number(side.get(name)) for side in (change.old, change.new))
        if old and new and new < old:
            return f"{because(change)}: {change.new[name]} instead of {change.old[name]}"
    return ""


def _count(nodes: object) -> int:
    """Return the number of nodes, 0 while it is not known."""
    return int(nodes) if isinstance(nodes, int | float) else 0


def _memory(size: object) -> int:
    """Return the GiB of a cluster's plan, 0 of one that is not known."""
    return plans.database_memory(size) if isinstance(size, str) and size in plans.DATABASE_PLANS else 0


def _pool(change: Change, preview: Preview) -> Iterator[Effect]:
    clusters = [resource for resource in preview.has.values() if resource.kind == "DatabaseCluster"]
    if change.verb in {"created", "replaced"} and any(one.inputs.get("engine") == ADVANCED.engine for one in clusters):
        yield Effect(Level.CARE, POOLS_UNKNOWN)
    if change.verb == "replaced":
        yield Effect(
            Level.OUTAGE,
            "the connection pool is deleted and made again, since a pool can't change in place: requests that need the "
            f"database fail for about a second. Because of: {because(change)}",
        )
    if change.verb == "deleted":
        yield Effect(Level.OUTAGE, "the connection pool is deleted: the site has no way to its database")


def _bucket(change: Change, preview: Preview) -> Iterator[Effect]:
    role = change.name.rpartition("-")[2]
    made_here = any(resource.kind == "SpacesKey" for resource in preview.has.values())
    if role in {"releases", "media"} and change.verb == "replaced" and not made_here:
        yield Effect(
            Level.CARE, f"`storage.keys` are not for the new `{change.name}`, so `pulumi up` would fail: take them out"
        )
    if role == "state":
        return  # the Droplets report again
    what = {
        "assets": "its objects (static files; the next release uploads its own again)",
        "releases": "every earlier release (there is nothing to go back to)",
    }.get(role, "its objects (what people uploaded)")
    yield from _lost(what)(change, preview)
    if change.verb in {"replaced", "deleted"} and not change.old.get("forceDestroy"):
        yield Effect(
            Level.CARE, f"deleting `{change.name}` fails while objects are in it: `storage.forceDestroy` is false"
        )


def _domain(change: Change, preview: Preview) -> Iterator[Effect]:
    given_up = [other.old.get("name") for other in preview.of("Domain") if other.verb == "deleted"]
    if change.verb == "created" and change.new.get("name") in given_up:
        yield Effect(
            Level.CARE,
            f"`pulumi up` would stop half way: the new `{change.name}` can't be made while the old one of the same "
            "name is there, which is deleted last. Instead: make a second stack beside this one",
        )
    if change.verb in {"replaced", "deleted"}:
        yield Effect(
            Level.DATA_LOSS,
            f"`{change.name}` is {change.verb}, and every record of its zone with it, those made by hand (e-mail!) "
            f"included. Because of: {because(change)}. Instead: note the records first"
            + (", or set dns: external" if change.verb == "replaced" else ""),
        )


def _secret(change: Change, _preview: Preview) -> Iterator[Effect]:
    if change.verb in {"replaced", "deleted"} and change.name.endswith("-secret-key"):
        yield Effect(Level.CARE, "SECRET_KEY changes: everybody is logged out, and links that were signed with it end")


def _cdn(change: Change, _preview: Preview) -> Iterator[Effect]:
    if change.verb in {"replaced", "deleted"}:
        yield Effect(Level.OUTAGE, "the CDN's address changes: pages that are open, or cached, have no static files")


def _grants(change: Change, _preview: Preview) -> Iterator[Effect]:
    if change.verb == "updated":
        yield Effect(
            Level.CARE,
            "SQL is run from this machine: it must be in `database.trustedSources` first (docs/runbook.md, Change)",
        )


def _rollout(change: Change, _preview: Preview) -> Iterator[Effect]:
    if change.verb == "updated":
        yield Effect(Level.NOTE, "a release: checked and migrated first, then taken up without losing a request")


def _probe(change: Change, _preview: Preview) -> Iterator[Effect]:
    if change.verb != "updated":
        return
    external = change.new.get("dns") == "external"
    if renamed(change):
        follows = "your record leads to it" if external else "its Droplet got the address"
        yield Effect(
            Level.OUTAGE,
            f"the site is {site(change.new)} instead of {site(change.old)}: the old name leads nowhere, and the new "
            f"one has HTTPS some seconds after {follows}",
        )
    elif external and change.old.get("dns") == "managed":
        yield Effect(
            Level.OUTAGE,
            f"the record of {site(change.new)} at DigitalOcean is deleted: the name leads nowhere until another name "
            "server has one, so move the name first",
        )


def _access(change: Change, _preview: Preview) -> Iterator[Effect]:
    if change.kind == "DatabaseFirewall" and change.verb == "deleted":
        yield Effect(Level.CARE, f"`{change.name}` is no longer kept by Pulumi; its rules stay as they are")


def _network(change: Change, _preview: Preview) -> Iterator[Effect]:
    if change.verb == "replaced" and change.old.get("ipRange") == change.new.get("ipRange"):
        yield Effect(
            Level.CARE,
            f"`pulumi up` would fail: the new `{change.name}` can't have the range of the old one, which is there "
            "until the end; change `network.cidr` with it",
        )


def _way_out(change: Change, _preview: Preview) -> Iterator[Effect]:
    if change.verb in {"created", "replaced", "deleted"}:
        yield Effect(
            Level.NOTE,
            f"`{change.name}` is {change.verb}: what the app calls sees another address of the Droplets. Who lets them "
            "in by address has to let in the new one, too (the output `egress_ip_address`, with a NAT gateway)",
        )


def _nothing(_change: Change, _preview: Preview) -> Iterator[Effect]:
    yield from ()


MEANINGS = {
    "DatabaseCluster": Meaning(noun="database cluster", part="Data", effects=_cluster),
    "DatabaseDb": Meaning(noun="database", part="Data", effects=_lost("all of its tables")),
    "DatabaseUser": Meaning(noun="database role", part="Data", effects=_lost("its grants and its password")),
    "DatabaseGrants": Meaning(noun="grants", part="Data", effects=_grants),
    "SpacesBucket": Meaning(noun="Space", part="Data", effects=_bucket),
    "Secret": Meaning(noun="generated secret", part="Data", effects=_secret),
    "DatabaseConnectionPool": Meaning(noun="connection pool", part="Site", effects=_pool),
    "Droplet": Meaning(noun="Droplet", part="Site", effects=way_in.droplet),
    "ReservedIp": Meaning(noun="Reserved IP", part="Site", effects=way_in.address),
    "ReservedIpAssignment": Meaning(noun="Reserved IP's assignment", part="Site", effects=_nothing),
    "LoadBalancer": Meaning(noun="load balancer", part="Site", effects=way_in.address),
    "BalancerEnd": Meaning(noun="end of the load balancer's connections", part="Site", effects=_nothing),
    "Certificate": Meaning(noun="load balancer's certificate", part="Site", effects=_nothing),
    "Member": Meaning(noun="place for visitors", part="Site", effects=way_in.member),
    "NewAddress": Meaning(noun="address to move to", part="Site", effects=_nothing),
    "Handover": Meaning(noun="move of the name", part="Site", effects=_nothing),
    "Domain": Meaning(noun="domain", part="Site", effects=_domain),
    "DnsRecord": Meaning(noun="DNS record", part="Site", effects=_nothing),
    "Cdn": Meaning(noun="CDN endpoint", part="Site", effects=_cdn),
    "AgentPackage": Meaning(noun="the release agent", part="Site", effects=_nothing),
    "Artifact": Meaning(noun="the code", part="Release", effects=_nothing),
    "Environment": Meaning(noun="the environment", part="Release", effects=_nothing),
    "Rollout": Meaning(noun="rollout", part="Release", effects=_rollout),
    "Probe": Meaning(noun="check of the public URL", part="Release", effects=_probe),
    "Firewall": Meaning(noun="Cloud Firewall", part="Access", effects=_access),
    "DatabaseFirewall": Meaning(noun="trusted sources", part="Access", effects=_access),
    "SpacesBucketCorsConfiguration": Meaning(noun="CORS rules", part="Access", effects=_nothing),
    "SpacesKey": Meaning(noun="Spaces key", part="Access", effects=_nothing),
    "SshKey": Meaning(noun="SSH key", part="Access", effects=_nothing),
    "DiscardedKey": Meaning(noun="discarded SSH key", part="Access", effects=_nothing),
    "Vpc": Meaning(noun="private network", part="Network", effects=_network),
    "VpcNatGateway": Meaning(noun="NAT gateway", part="Network", effects=_way_out),
    "Tag": Meaning(noun="tag", part="Network", effects=_nothing),
    "MonitorAlert": Meaning(noun="alert", part="Alerts", effects=_nothing),
}
OTHER = "Other"
PARTS = ("Data", "Site", "Release", "Access", "Network", "Alerts", OTHER)


def meaning(change: Change) -> Meaning:
    """Return what is known of a kind; a kind of somebody's own is shown by its type."""
    return MEANINGS.get(change.kind) or Meaning(noun=change.kind, part=OTHER, effects=_nothing)


def effects(preview: Preview) -> list[Effect]:
    """Everything that is worth a sentence, the worst first."""
    order = {kind: number for number, kind in enumerate(MEANINGS)}
    changes = sorted(preview.changes, key=lambda change: order.get(change.kind, len(order)))
    found = [effect for change in changes for effect in meaning(change).effects(change, preview)]
    return sorted(found, key=lambda effect: effect.level)
