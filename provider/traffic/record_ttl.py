"""For how long resolvers may remember where a name leads: the TTL of its records, as the servers of their zones say."""

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import dns.message
    import dns.name
    import dns.resolver

QUESTION_SECONDS = 3.0  # for each
MOST_ALIASES, MOST_SERVERS = 8, 3


@dataclass(frozen=True, slots=True)
class Ttl:
    """Seconds; where no server of the zone could be asked, what a resolver had left of them, or nothing."""

    seconds: int | None
    is_the_zones: bool = False


def ttl_of(name: str, resolver: "dns.resolver.Resolver | None" = None) -> Ttl:
    """Look the name's address up, and return the longest TTL on the way there.

    A resolver's answer has only the rest of the time, so the zone's own servers are asked. Whichever of the aliases on
    the way is changed when the site moves, the longest is long enough.
    """
    import dns.exception
    import dns.name
    import dns.resolver

    if resolver is None:
        try:
            resolver = dns.resolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            return Ttl(None)
        resolver.lifetime = QUESTION_SECONDS
    try:
        answer = resolver.resolve(name, "A", search=False)
    except dns.exception.DNSException:
        return Ttl(None)
    found, wanted = [], dns.name.from_text(name)
    for _ in range(MOST_ALIASES):
        response = _authoritative(wanted, resolver)
        if response is None:
            break
        ttls, leads_to = _way(response, wanted)
        found += ttls
        if leads_to is None:
            return Ttl(max(found), is_the_zones=True) if found else Ttl(None)
        wanted = leads_to
    return Ttl(max([answer.chaining_result.minimum_ttl, *found]))


def _way(response: "dns.message.Message", name: "dns.name.Name") -> "tuple[list[int], dns.name.Name | None]":
    """Return the TTLs of a name's records in an answer, and the alias that another zone has to be asked for."""
    import dns.rdatatype

    ttls: list[int] = []
    for _ in range(MOST_ALIASES):
        records = {one.rdtype: one for one in response.answer if one.name == name}
        if address := records.get(dns.rdatatype.A):
            return [*ttls, address.ttl], None
        if not (alias := records.get(dns.rdatatype.CNAME)):
            return ttls, name if ttls else None
        ttls.append(alias.ttl)
        name = alias[0].target
    return ttls, None


def _authoritative(name: "dns.name.Name", resolver: "dns.resolver.Resolver") -> "dns.message.Message | None":
    """Return the answer of the first server of the name's zone that answers for itself, None when none does."""
    import dns.exception
    import dns.flags
    import dns.message
    import dns.query
    import dns.rcode

    question = dns.message.make_query(name, "A", flags=0)  # nobody else is to be asked
    for address in islice(_servers(name, resolver), MOST_SERVERS):
        try:
            response, _ = dns.query.udp_with_fallback(question, address, QUESTION_SECONDS, port=resolver.port)
        except (dns.exception.DNSException, OSError):
            continue
        if response.flags & dns.flags.AA and response.rcode() == dns.rcode.NOERROR:
            return response
    return None


def _servers(name: "dns.name.Name", resolver: "dns.resolver.Resolver") -> "Iterator[str]":
    """Yield the addresses of the servers that the name's zone has."""
    import dns.exception
    import dns.resolver

    try:
        zone = dns.resolver.zone_for_name(name, resolver=resolver)
        servers = [str(record.target) for record in resolver.resolve(zone, "NS", search=False)]
    except dns.exception.DNSException:
        return
    for server in servers:
        try:
            yield from (record.address for record in resolver.resolve(server, "A", search=False))
        except dns.exception.DNSException:
            continue
