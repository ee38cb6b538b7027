"""What an environment costs a month, before a change and after it, by the list prices in prices.toml."""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

from operations.preview.events import Preview, Resource
from sizing.editions import ACCEPT_NO_FAILOVER, ADVANCED, STANDARD

PRICES = Path(__file__).with_name("prices.toml")
CENT = Decimal("0.01")
GROWN = "storage of"

# DigitalOcean bills none of them by itself (docs/cost.md). What is neither here nor in BILLED has an unknown price.
NOT_BILLED = frozenset(
    {
        "Cdn",
        "Certificate",
        "DatabaseConnectionPool",
        "DatabaseDb",
        "DatabaseFirewall",
        "DatabaseUser",
        "DnsRecord",
        "Domain",
    }
    | {"Firewall", "MonitorAlert", "ReservedIpAssignment", "SpacesBucketCorsConfiguration", "SpacesKey", "SshKey"}
    | {"Tag", "Vpc"}
)
# Packages whose resources cost nothing: the engine's, and the program's own, in provider/.
OWN_PACKAGES = frozenset({"pulumi", "django-do-runner"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """US dollars a month, or what the table says instead, and who said so when."""

    amount: Decimal
    source: str
    date: date


@dataclass(frozen=True, slots=True)
class Item:
    """What one thing costs a month; None is unknown, which is not nothing."""

    monthly: Decimal | None
    detail: str = ""
    since: date | None = None  # the day on which the source had the price
    at_least: bool = False  # the price is one "from" which there are others

    def __str__(self) -> str:
        amount = "unknown" if self.monthly is None else f"{'at least ' if self.at_least else ''}${self.monthly}"
        return f"{amount} ({self.detail})" if self.detail else amount


Bill = Mapping[str, Item]


@cache
def prices() -> Mapping[tuple[str, object], Price]:
    """Return the table: kind of resource and plan -> price."""
    table = tomllib.loads(PRICES.read_text(encoding="utf-8"), parse_float=Decimal)
    return {
        (kind, plan): Price(amount=Decimal(amount), source=source["source"], date=source["date"])
        for source in table.values()
        for kind, plans in source.items()
        if isinstance(plans, dict)
        for plan, amount in plans.items()
    }


def _item(amount: Decimal | int | None, kind: str, plan: object, detail: str) -> Item:
    """So much of what the table has for a plan."""
    price = prices().get((kind, plan)) if isinstance(plan, str) else None
    if price is None or amount is None:
        return Item(None, detail)
    return Item((amount * price.amount).quantize(CENT), detail, price.date)


def _count(value: object) -> int | None:
    # What is not known before the change is done is a text.
    return int(value) if isinstance(value, int | float) else None


def _droplet(droplet: Resource) -> Iterator[tuple[str, Item]]:
    size = droplet.inputs.get("size")
    item = _item(1, "Droplet", size, str(size or ""))
    yield f"Droplet `{droplet.name}`", item
    if droplet.inputs.get("backups"):
        policy = droplet.inputs.get("backupPolicy")
        schedule = policy.get("plan", "weekly") if isinstance(policy, dict) else "weekly"
        share = None if item.monthly is None else item.monthly / 100
        yield f"backups of `{droplet.name}`", _item(share, "Backups", schedule, schedule)


def _cluster(cluster: Resource) -> Iterator[tuple[str, Item]]:
    size, nodes = cluster.inputs.get("size"), _count(cluster.inputs.get("nodeCount", 1))
    engine, detail = cluster.inputs.get("engine"), f"{nodes} x {size}"
    item = Item(None, detail)  # other engines have other prices, and so has storage that was ordered beyond the plan's
    if "storageSizeMib" not in cluster.inputs:
        if engine == STANDARD.engine:
            item = _item(nodes, "DatabaseCluster", size, detail)
        elif engine == ADVANCED.engine and size in ADVANCED.plans:
            least = _item(nodes, "AdvancedCluster", "node", f"{detail}, at the least price known of a node")
            item = replace(least, at_least=True)
    yield f"database cluster `{cluster.name}`", item
    yield from _added_storage(cluster, size, nodes)


def _added_storage(cluster: Resource, size: object, nodes: int | None) -> Iterator[tuple[str, Item]]:
    """Tell what a disk costs that has grown by itself; another plan takes along what was added to the old one's."""
    had = cluster.outputs.get("size", size)
    included = prices().get(("IncludedGib", had)) if isinstance(had, str) else None
    disk = cluster.outputs.get("storageSizeMib")
    if included is None or not isinstance(disk, str) or not disk.isdecimal():
        return
    added = int(disk) // 1024 - int(included.amount)
    if added > 0:
        # Whether it is paid once or for each node, no source says.
        each = added if nodes == 1 else None
        yield f"{GROWN} `{cluster.name}`", _item(each, "Use", "database-storage", f"{added} GiB beyond the plan's")


def _balancer(balancer: Resource) -> Iterator[tuple[str, Item]]:
    nodes = _count(balancer.inputs.get("sizeUnit", 1))
    detail = f"{nodes} node{'' if nodes == 1 else 's'}"
    yield f"load balancer `{balancer.name}`", _item(nodes, "LoadBalancer", "node", detail)


def _nat_gateway(gateway: Resource) -> Iterator[tuple[str, Item]]:
    size = _count(gateway.inputs.get("size"))
    yield f"NAT gateway `{gateway.name}`", _item(size, "VpcNatGateway", "size", f"size {size}")


def _space(_space: Resource) -> Iterator[tuple[str, Item]]:
    # One name for all of them, so it is counted once.
    yield "Spaces", _item(1, "SpacesBucket", "subscription", "one subscription for all of the account's")


BILLED: Mapping[str, Callable[[Resource], Iterator[tuple[str, Item]]]] = {
    "Droplet": _droplet,
    "DatabaseCluster": _cluster,
    "LoadBalancer": _balancer,
    "SpacesBucket": _space,
    "VpcNatGateway": _nat_gateway,
}


def bill(resources: Iterable[Resource]) -> Bill:
    """Return what is billed, by name; what nothing is known about is in it, too."""
    found: dict[str, Item] = {}
    addresses: list[Resource] = []
    assigned = 0
    for resource in resources:
        known = resource.package == "digitalocean"
        if known and resource.kind in BILLED:
            found.update(BILLED[resource.kind](resource))
        elif known and resource.kind == "ReservedIp":
            addresses.append(resource)
            assigned += "dropletId" in resource.inputs
        elif known and resource.kind == "ReservedIpAssignment":
            assigned += 1
        elif not (known and resource.kind in NOT_BILLED) and resource.package not in OWN_PACKAGES:
            found[f"{resource.kind} `{resource.name}`"] = Item(None)
    # Which address an assignment is for may not be known yet, so they are counted; the rest wait for a Droplet.
    for address in addresses[assigned:]:
        found[f"Reserved IP `{address.name}`"] = _item(1, "ReservedIp", "unassigned", "unassigned")
    return found


def total(items: Bill) -> Decimal:
    """Add up what is known."""
    return sum((item.monthly for item in items.values() if item.monthly is not None), start=Decimal("0.00"))


def lines(preview: Preview) -> Iterator[str]:
    """Tell the cost after the change, the difference that it makes, and then every item."""
    before, after = bill(preview.had.values()), bill(preview.has.values())
    if not before and not after:
        return
    yield f"Cost: {about(after)} a month{_difference(before, after)}"
    for name in dict.fromkeys([*after, *before]):
        now, was = after.get(name), before.get(name)
        if now is None:
            yield f"- {name}: gone, was {was}"
        elif before and was is None:
            yield f"- {name}: {now}, new"
        elif before and now != was:
            yield f"- {name}: {now}, was {was}"
        elif before != after or now.monthly is None or name.startswith(GROWN):  # nobody ordered that
            yield f"- {name}: {now}"
    if before != after:
        dates = sorted({item.since for item in [*before.values(), *after.values()] if item.since})
        known = f"; list prices of {dates[0]} to {dates[-1]}" if dates else ""
        yield f"- not in it: {_not_included()}{known} (docs/cost.md)"
    if ACCEPT_NO_FAILOVER in (preview.after.get("accepted") or ()):
        instead = f"with a standby, in the edition advanced, at least ${_failover()}"
        yield f"- no failover (`{ACCEPT_NO_FAILOVER}`); {instead}"


def _failover() -> Decimal:
    """Return the price of the least cluster that has failover: Advanced with two nodes."""
    return 2 * prices()["AdvancedCluster", "node"].amount


def _not_included() -> str:
    use = {plan: price.amount for (kind, plan), price in prices().items() if kind == "Use"}
    return (
        f"taxes; for each GiB: traffic above what is included ${use['droplet-traffic']}, Spaces above 250 GiB "
        f"${use['spaces-storage']}, snapshots ${use['snapshots']}, storage that the "
        f"database adds from now on ${use['database-storage']}"
    )


def about(items: Bill) -> str:
    """Say what all of it costs, and whether that is only the least."""
    words = "at least" if any(item.monthly is None or item.at_least for item in items.values()) else "about"
    return f"{words} ${total(items)}"


def _difference(before: Bill, after: Bill) -> str:
    if before == after:
        return ", as before"
    unknown = [
        {name: item for name, item in side.items() if item.monthly is None or item.at_least} for side in (before, after)
    ]
    delta = total(after) - total(before)
    words = "" if unknown[0] == unknown[1] else " of what is known"
    was = about(before).removeprefix("about ")
    return f" (was {was}, {'-' if delta < 0 else '+'}${abs(delta)}{words})"
