"""What is in the account already and would be in the way: read from DigitalOcean's API, before anything is made."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from config.stack import Edge
from provider.api import Ask, Body, every

OF_EVERY_ZONE = frozenset({"SOA", "NS"})  # types of records
ADDRESSES = frozenset({"A", "AAAA", "CNAME"})
RUNBOOK = 'docs/runbook.md, "What exists already"'


class Problem(str):
    """What is in the way, and what to do."""

    __slots__ = ()


class Note(str):
    """What is not, but worth a line."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a stack would create under names that an account has once."""

    stack: str
    name: str
    region: str
    domain: str
    cidr: str
    droplets: int = 1
    edge: Edge = "direct"  # what the Droplets would stand behind
    own_cluster: str | None = None  # id of the one that the stack has, and would replace
    own_droplets: int = 0  # that it has: fewer than it would, or as many as it would replace
    own_edge: Edge | None = None  # what they stand behind

    def taking_over(self, kind: str, role: str, identity: str) -> str:
        """Return the command that makes something of the account this stack's."""
        token = f"digitalocean:index/{kind}:{kind[0].upper()}{kind[1:]}"
        return f"`pulumi import {token} {self.name}-{role} {identity} --stack {self.stack} --generate-code=false`"


Look = Callable[[Ask, Wanted], Iterator[Problem | Note]]


def zone(ask: Ask, wanted: Wanted) -> Iterator[Problem | Note]:
    """Look for the zone that would be made, and for one of a name above it."""
    domain = wanted.domain
    if ask(f"domains/{domain}") is None:
        yield from _zone_above(ask, domain)
        return
    types = {record["type"] for record in _records(ask, domain)} - OF_EVERY_ZONE
    others = f" with records of others ({', '.join(sorted(types))})" if types else ""
    yield Problem(
        f'domain: must not be a zone of the account already, "{domain}" is one{others}; set dns: external and create '
        "in that zone the A record that `pulumi up` then names, or take the zone over with all its records, which "
        f"`pulumi destroy` then deletes, too: {wanted.taking_over('domain', 'domain', domain)} ({RUNBOOK})"
    )


def _zone_above(ask: Ask, domain: str) -> Iterator[Problem | Note]:
    """Look for a zone that the site's name is in: the zone to be made would hide what is there for it."""
    labels = domain.split(".")
    above = (".".join(labels[start:]) for start in range(1, len(labels) - 1))
    parent = next((name for name in above if ask(f"domains/{name}") is not None), None)
    if parent is None:
        return
    below = domain.removesuffix(f".{parent}")
    hidden = ", ".join(
        f"{one['name']} {one['type']} {one['data']}"
        for one in _records(ask, parent)
        if (one["name"] == below or one["name"].endswith(f".{below}"))
        # This delegates to where the new zone is.
        and not (one["type"] == "NS" and one["data"].rstrip(".").endswith(".digitalocean.com"))
    )
    instead = f"set dns: external and create in {parent} the A record that `pulumi up` then names"
    if hidden:
        yield Problem(
            f'domain: must have no records in another zone of the account, "{domain}" has some in {parent}: {hidden}; '
            f"a zone of its own would hide them: {instead}, or delete them first ({RUNBOOK})"
        )
    else:
        yield Note(
            f"domain: {parent} is a zone of the account already; {domain} becomes a zone of its own beside it, where "
            f"records of that name in {parent} say nothing any more; for a record only, {instead} ({RUNBOOK})"
        )


def record(ask: Ask, wanted: Wanted) -> Iterator[Problem | Note]:
    """Look for addresses of the site's name in its zone, where that was there before."""
    domain = wanted.domain
    found = [one for one in _records(ask, domain) if one["name"] == "@" and one["type"] in ADDRESSES]
    if not found:
        return
    shown = ", ".join(f"{one['type']} {one['data']}" for one in found)
    ways = ["delete it when the site may move"]
    if numbers := [one["id"] for one in found if one["type"] == "A"]:
        command = wanted.taking_over("dnsRecord", "record", f"{domain},{numbers[0]}")
        ways.append(f"or have it moved as soon as `pulumi up` begins: {command}")
    yield Problem(
        f'domain: must have no address in its zone yet, "{domain}" has {shown}, and visitors would be sent to both; '
        f"{', '.join(ways)} ({RUNBOOK})"
    )


def network(ask: Ask, wanted: Wanted) -> Iterator[Problem | Note]:
    """Look for VPCs that have a part of the range."""
    for vpc in every(ask, "vpcs", "vpcs"):
        if not IPv4Network(vpc["ip_range"]).overlaps(IPv4Network(wanted.cidr)):
            continue
        same = (vpc["ip_range"], vpc["region"], vpc["default"]) == (wanted.cidr, wanted.region, False)
        import_it = f", or take that VPC over: {wanted.taking_over('vpc', 'vpc', vpc['id'])}" if same else ""
        yield Problem(
            f'network.cidr: must not overlap a VPC of the account, got "{wanted.cidr}", and "{vpc["name"]}" '
            f"({vpc['region']}) has {vpc['ip_range']}; choose another range{import_it} ({RUNBOOK})"
        )


def cluster(ask: Ask, wanted: Wanted) -> Iterator[Problem | Note]:
    """Look for a database cluster of the same name."""
    for one in every(ask, "databases", "databases"):
        if one["name"] == f"{wanted.name}-db" and one["id"] != wanted.own_cluster:
            yield _taken(one, wanted)


def untagged_cluster(ask: Ask, wanted: Wanted) -> Iterator[Problem | Note]:
    """Look for one that is not this stack's by all signs: that would have its tag."""
    for one in every(ask, "databases", "databases"):
        if one["name"] == f"{wanted.name}-db" and wanted.name not in (one.get("tags") or ()):
            yield _taken(one, wanted)


def _taken(one: Body, wanted: Wanted) -> Problem:
    vpc = one.get("private_network_uuid")
    after = f", after its network: {wanted.taking_over('vpc', 'vpc', vpc)}" if vpc else ""
    return Problem(
        f'name: must not be the name of another stack, got "{wanted.name}", and the account has a database cluster '
        f'"{one["name"]}" ({one["engine"]} {one["version"]}, {one["size"]}, {one["region"]}) already; choose another '
        "name, or take that cluster over, with its data: "
        f"{wanted.taking_over('databaseCluster', 'db', one['id'])}{after} ({RUNBOOK})"
    )


def tag(ask: Ask, wanted: Wanted) -> Iterator[Problem | Note]:
    """Look for others that have the tag by which firewall and trusted sources let in; alone it does no harm."""
    name = f"{wanted.name}-web"
    body = ask(f"tags/{name}")
    count = body["tag"]["resources"]["count"] if body else 0
    if count:
        yield Problem(
            f'name: must not be the name of another stack, got "{wanted.name}", and {count} of the account have the '
            f'tag "{name}" already, to which this stack opens its database; choose another name, or take the tag away '
            f"from them ({RUNBOOK})"
        )


def droplet_limit(ask: Ask, wanted: Wanted) -> Iterator[Problem | Note]:
    """Look whether the account may have as many Droplets as there would be; old ones go when the new ones serve."""
    limit = ((ask("account") or {}).get("account") or {}).get("droplet_limit")
    if not isinstance(limit, int):
        return  # a token may be kept from the account
    has = (ask("droplets?per_page=1") or {}).get("meta", {}).get("total", 0)
    # Those with another edge are replaced. By a change of the image, say, in the same update they would be, too, which
    # can't be known here: then DigitalOcean refuses what is too much.
    joins = 0 < wanted.own_droplets < wanted.droplets and wanted.own_edge == wanted.edge
    more = wanted.droplets - wanted.own_droplets if joins else wanted.droplets
    if has + more > limit:
        yield Problem(
            f"web.count: must fit the account, which may have {limit} Droplets and has {has}, got {wanted.droplets}, "
            f"of which {more} are to be made before others go; lower it, or ask DigitalOcean for a higher limit "
            "(control panel: Settings, Resource Limits)"
        )


def _records(ask: Ask, domain: str) -> Iterator[Body]:
    return every(ask, f"domains/{domain}/records", "domain_records")
