"""What an account has already, found in the API's answers: what is in the way, and nothing that is not."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import account
from components.account import Note, Problem, Wanted
from config.stack import Edge
from provider.api import Body
from tests.commands import ROOT

WANTED = Wanted(stack="dev", name="shop", region="nyc3", domain="shop.example.com", cidr="10.20.0.0/20")
MAIL = {"id": 1, "name": "@", "type": "MX", "data": "mail.example.net"}
NAME_SERVER = {"id": 2, "name": "@", "type": "NS", "data": "ns1.digitalocean.com"}
SOA = {"id": 3, "name": "@", "type": "SOA", "data": "1800"}
VPC = {"id": "5a4981aa", "name": "by-hand", "region": "nyc3", "ip_range": "10.20.0.0/20", "default": False}
CLUSTER = {
    "id": "9cc10173",
    "name": "shop-db",
    "engine": "pg",
    "version": "17",
    "size": "db-s-1vcpu-1gb",
    "region": "nyc3",
    "private_network_uuid": "5a4981aa",
    "tags": ["reports"],
}


def found(look: account.Look, answers: Mapping[str, Any] | None = None) -> list[Problem | Note]:
    """What a look finds in an account that has these answers; lists are cut into pages."""

    def ask(path: str) -> Body | None:
        parts = urlsplit(path)
        body = (answers or {}).get(parts.path)
        if isinstance(body, list):
            query = parse_qs(parts.query)
            size, page = int(query["per_page"][0]), int(query["page"][0])
            key = "domain_records" if parts.path.endswith("records") else parts.path
            return {key: body[(page - 1) * size : page * size]}
        assert body is None or isinstance(body, dict)
        return body

    return list(look(ask, WANTED))


def test_an_empty_account_has_nothing_in_the_way() -> None:
    """Not a word."""
    looks = (account.zone, account.record, account.network, account.cluster, account.untagged_cluster, account.tag)
    assert [finding for look in looks for finding in found(look)] == []


def test_a_zone_of_the_name_is_in_the_way() -> None:
    """With what others have in it, and each way out."""
    zone: dict[str, Any] = {"domains/shop.example.com": {"domain": {}}}
    [problem] = found(account.zone, {**zone, "domains/shop.example.com/records": [SOA, NAME_SERVER, MAIL]})
    assert isinstance(problem, Problem)
    assert problem.startswith('domain: must not be a zone of the account already, "shop.example.com" is one with ')
    assert "(MX)" in problem
    assert "dns: external" in problem
    assert "`pulumi import digitalocean:index/domain:Domain shop-domain shop.example.com --stack dev" in problem
    [bare] = found(account.zone, {**zone, "domains/shop.example.com/records": [SOA, NAME_SERVER]})
    assert "others" not in bare


@pytest.mark.parametrize(
    "hidden",
    [
        {"name": "shop", "type": "A", "data": "203.0.113.5"},
        {"name": "www.shop", "type": "CNAME", "data": "elsewhere.example.net"},
        {"name": "shop", "type": "NS", "data": "ns1.elsewhere.example.net"},
    ],
    ids=lambda record: f"{record['name']} {record['type']}",
)
def test_records_that_the_new_zone_would_hide_are_in_the_way(hidden: Body) -> None:
    """What the parent zone has at the site's name or below it."""
    records = [SOA, NAME_SERVER, MAIL, hidden]
    [problem] = found(account.zone, {"domains/example.com": {"domain": {}}, "domains/example.com/records": records})
    assert isinstance(problem, Problem)
    assert f"{hidden['name']} {hidden['type']} {hidden['data']}" in problem
    assert "mail.example.net" not in problem


def test_a_parent_zone_alone_is_worth_a_line() -> None:
    """Other names of it are nobody's business, and neither is what delegates to DigitalOcean."""
    others = [
        {"name": "workshop", "type": "A", "data": "203.0.113.5"},
        {"name": "shop", "type": "NS", "data": "ns2.digitalocean.com"},
    ]
    [note] = found(account.zone, {"domains/example.com": {"domain": {}}, "domains/example.com/records": [SOA, *others]})
    assert isinstance(note, Note)
    assert "example.com is a zone of the account already" in note


def test_a_top_level_domain_is_not_asked_for() -> None:
    """Of a name of two labels nothing but itself."""
    asked = []

    def ask(path: str) -> None:
        asked.append(path)

    wanted = Wanted(stack="dev", name="shop", region="nyc3", domain="shop.example", cidr="10.20.0.0/20")
    assert list(account.zone(ask, wanted)) == []
    assert asked == ["domains/shop.example"]


def test_an_address_in_a_zone_that_was_there_is_in_the_way() -> None:
    """By number, so that it can be taken over; an AAAA record only deleted."""
    records = [SOA, {"id": 7, "name": "@", "type": "AAAA", "data": "2001:db8::5"}]
    [problem] = found(account.record, {"domains/shop.example.com/records": records})
    assert "AAAA 2001:db8::5" in problem
    assert "pulumi import" not in problem
    records += [{"id": 8, "name": "@", "type": "A", "data": "203.0.113.5"}, {**MAIL, "id": 9}]
    [problem] = found(account.record, {"domains/shop.example.com/records": records})
    assert "dnsRecord:DnsRecord shop-record shop.example.com,8 --stack dev" in problem


@pytest.mark.parametrize(
    ("vpc", "importable"),
    [
        ({}, True),
        ({"ip_range": "10.16.0.0/12"}, False),
        ({"ip_range": "10.20.8.0/24"}, False),
        ({"region": "fra1"}, False),
        ({"default": True}, False),  # can't be deleted any more
    ],
    ids=str,
)
def test_a_vpc_that_overlaps_is_in_the_way(vpc: Body, *, importable: bool) -> None:
    """It can be this stack's where it is what would be made."""
    [problem] = found(account.network, {"vpcs": [{**VPC, **vpc}, {**VPC, "ip_range": "10.99.0.0/20"}]})
    assert problem.startswith("network.cidr: must not overlap a VPC of the account")
    assert ('"by-hand"' in problem, "vpc:Vpc shop-vpc 5a4981aa" in problem) == (True, importable)


@given(st.integers(0, 15), st.integers(0, 255), st.integers(16, 28))
def test_only_ranges_that_share_an_address_are_in_the_way(second: int, third: int, length: int) -> None:
    """By DigitalOcean's rule, that a range is in the account once."""
    start = ((10 << 24) | ((16 + second) << 16) | (third << 8)) >> (32 - length) << (32 - length)
    text = ".".join(str(start >> shift & 255) for shift in (24, 16, 8, 0))
    end = start + (1 << (32 - length))
    first = (10 << 24) | (20 << 16)
    overlaps = start < first + (1 << 12) and first < end
    assert bool(found(account.network, {"vpcs": [{**VPC, "ip_range": f"{text}/{length}"}]})) == overlaps


def test_every_page_is_read() -> None:
    """The one in the way is the last of 401."""
    others = [{**VPC, "ip_range": f"10.{second}.{third}.0/24"} for second in (100, 101) for third in range(200)]
    assert len(found(account.network, {"vpcs": [*others, VPC]})) == 1


def test_a_cluster_of_the_name_is_in_the_way() -> None:
    """Its data are not lost when it is taken over, which needs its network first; without its password."""
    secret = {"connection": {"password": "doadmin-password"}}
    [problem] = found(account.cluster, {"databases": [{**CLUSTER, "name": "shop-db-2"}, CLUSTER | secret]})
    assert problem.startswith('name: must not be the name of another stack, got "shop"')
    assert "databaseCluster:DatabaseCluster shop-db 9cc10173 --stack dev" in problem
    assert "vpc:Vpc shop-vpc 5a4981aa" in problem
    assert "doadmin-password" not in problem


def test_a_cluster_with_the_tag_of_the_stack_may_be_its_own() -> None:
    """The engine knows, when it comes to it."""
    assert found(account.untagged_cluster, {"databases": [{**CLUSTER, "tags": ["shop"]}]}) == []
    assert len(found(account.untagged_cluster, {"databases": [CLUSTER]})) == 1


@pytest.mark.parametrize("count", [0, 2])
def test_a_tag_that_others_have_is_in_the_way(count: int) -> None:
    """They would pass this stack's trusted sources."""
    answers = {"tags/shop-web": {"tag": {"resources": {"count": count}}}}
    assert len(found(account.tag, answers)) == min(count, 1)


def test_the_page_that_messages_name_has_that_part() -> None:
    """For who reads on."""
    page, heading = account.RUNBOOK.replace('"', "").split(", ")
    assert f"### {heading}\n" in (ROOT / page).read_text()


@pytest.mark.parametrize(
    ("wanted", "own", "edge", "refused"),
    [
        (3, 0, None, ""),
        (9, 0, None, "may have 10 Droplets and has 2, got 9, of which 9 are to be made"),
        (9, 2, "direct", ""),  # 7 join the two that are there
        (9, 2, "balanced", "of which 9 are to be made before others go"),  # more, and none of them as they are now
        (9, 9, "direct", "of which 9 are to be made before others go"),  # a replacement of all
    ],
)
def test_droplets_must_fit_the_account(wanted: int, own: int, edge: Edge | None, refused: str) -> None:
    """Those that are to be replaced are there until the new ones serve."""
    bodies = {"account": {"account": {"droplet_limit": 10}}, "droplets?per_page=1": {"meta": {"total": 2}}}
    stack = replace(WANTED, droplets=wanted, edge="direct", own_droplets=own, own_edge=edge)
    findings = [*account.droplet_limit(bodies.get, stack)]
    assert [refused in finding for finding in findings] == ([True] if refused else [])


def test_an_account_that_can_not_be_seen_limits_nothing() -> None:
    """A token may be for Droplets alone; DigitalOcean says then what is too much."""
    assert [*account.droplet_limit(lambda _path: None, WANTED)] == []
