"""The TTL of a name's records: asked of the zone's own servers, by DNS over UDP, against a server on loopback."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rdatatype
import dns.resolver
import dns.rrset
import pytest

from provider.traffic import record_ttl
from provider.traffic.record_ttl import Ttl, ttl_of

SOA = "ns1.provider.example. host.provider.example. 1 7200 3600 1209600 300"
REST = 7  # seconds that the resolver has left of everything
DIRECT = {
    ("shop.example.", "SOA"): (3600, SOA),
    ("shop.example.", "NS"): (3600, "ns1.provider.example."),
    ("ns1.provider.example.", "A"): (3600, "127.0.0.1"),
    ("shop.example.", "A"): (900, "203.0.113.9"),
}
ALIAS = {
    ("other.example.", "SOA"): (3600, SOA),
    ("other.example.", "NS"): (3600, "ns1.provider.example."),
    ("www.shop.example.", "CNAME"): (1800, "lb.other.example."),
    ("lb.other.example.", "A"): (30, "203.0.113.9"),
}


@dataclass
class Names:
    """A resolver and a zone's server in one: who wants recursion gets the rest of the time."""

    records: dict[tuple[str, str], tuple[int, str]]
    is_the_zones: bool = True  # else somebody on the way answers for all servers, as some networks do
    resolver: dns.resolver.Resolver = field(default_factory=lambda: dns.resolver.Resolver(configure=False))
    asked: list[tuple[str, bool]] = field(default_factory=list)

    def answer(self, wire: bytes) -> bytes:
        """Answer one question; of an alias a resolver knows all the way, a zone its own records."""
        query = dns.message.from_wire(wire)
        response = dns.message.make_response(query)
        [question] = query.question
        recursive = bool(query.flags & dns.flags.RD)
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((f"{name} {kind}", recursive))
        if not recursive and self.is_the_zones:
            response.flags |= dns.flags.AA
        if alias := self.records.get((name, "CNAME")):
            response.answer.append(self.rrset(name, "CNAME", alias, recursive))
            name = alias[1] if recursive else ""
        if found := self.records.get((name, kind)):
            response.answer.append(self.rrset(name, kind, found, recursive))
        return response.to_wire()

    @staticmethod
    def rrset(name: str, kind: str, record: tuple[int, str], recursive: bool) -> dns.rrset.RRset:
        """Return one record."""
        return dns.rrset.from_text(name, REST if recursive else record[0], "IN", kind, record[1])


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """Serve on a port of loopback."""
    monkeypatch.setattr(record_ttl, "QUESTION_SECONDS", 2.0)
    names = Names(dict(DIRECT))
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setattr(names.resolver, "nameservers", ["127.0.0.1"])
        names.resolver.port = server.getsockname()[1]
        names.resolver.lifetime = 2.0
        server.settimeout(0.05)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    wire, who = server.recvfrom(4096)
                except TimeoutError:
                    continue
                server.sendto(names.answer(wire), who)

        thread = threading.Thread(target=serve)
        thread.start()
        yield names
        ended.set()
        thread.join()


def test_the_zones_own_server_says_the_whole_time(names: Names) -> None:
    """The resolver has only the rest."""
    assert ttl_of("shop.example", names.resolver) == Ttl(900, is_the_zones=True)
    assert ("shop.example. A", False) in names.asked


def test_of_an_alias_the_longest_counts(names: Names) -> None:
    """Whichever of both is changed; the other one may be in another zone."""
    names.records |= ALIAS
    assert ttl_of("www.shop.example", names.resolver) == Ttl(1800, is_the_zones=True)
    names.records["lb.other.example.", "A"] = (5000, "203.0.113.9")
    assert ttl_of("www.shop.example", names.resolver) == Ttl(5000, is_the_zones=True)


@pytest.mark.parametrize("missing", [("shop.example.", "NS"), ("ns1.provider.example.", "A")])
def test_without_a_server_of_the_zone_there_is_the_resolvers_rest(names: Names, missing: tuple[str, str]) -> None:
    """Which is marked as that."""
    del names.records[missing]
    assert ttl_of("shop.example", names.resolver) == Ttl(REST)


def test_who_answers_for_others_is_no_server_of_the_zone(names: Names) -> None:
    """Some networks answer all of DNS themselves: what they say is a rest, too."""
    names.is_the_zones = False
    assert ttl_of("shop.example", names.resolver) == Ttl(REST)


def test_without_an_address_or_an_answer_there_is_none(names: Names) -> None:
    """As in a network where only a proxy knows names."""
    assert ttl_of("other.example", names.resolver) == Ttl(None)
    names.resolver.port = 1
    names.resolver.lifetime = 0.2
    assert ttl_of("shop.example", names.resolver) == Ttl(None)
