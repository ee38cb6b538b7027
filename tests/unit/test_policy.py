"""Rules of the policy pack as functions; tests/policy has them by the engine."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from policy import database, network, storage, user_data
from policy.pack import RULES
from policy.resources import UNKNOWN, Resource, Stack, is_known, plain
from policy.rule import ResourceRule, StackRule, message
from sizing import budget, plans


def resource(kind: str, name: str = "it", **properties: object) -> Resource:
    """A resource of a kind."""
    return Resource(urn=f"urn:{name}", kind=kind, name=name, properties=properties)


def stack(*resources: Resource, production: object = None) -> Stack:
    """A stack of resources, with its own word on whether it is production."""
    return Stack(resources=(resource("Stack", "stack", production=production), *resources))


def test_unknown_values_become_one_value_wherever_they_are() -> None:
    """What the SDK raises for is a value here, at any depth; whole numbers are whole again."""
    proxied = unknown_checking_proxy(
        {"a": UNKNOWN_STRING_VALUE, "b": [1.0, UNKNOWN_STRING_VALUE], "c": {"d": {"e": UNKNOWN_STRING_VALUE}}, "f": 1.5}
    )
    assert plain(proxied) == {"a": UNKNOWN, "b": [1, UNKNOWN], "c": {"d": {"e": UNKNOWN}}, "f": 1.5}
    assert repr(UNKNOWN) == "UNKNOWN"
    assert [is_known(value) for value in ([1], [UNKNOWN], {"a": [UNKNOWN]}, {"a": 1})] == [True, False, False, True]


LISTS = {
    "corsRules": ("allowedOrigins", "allowedMethods"),
    "grants": ("bucket", "permission"),
    "rules": ("type", "value"),
    "inboundRules": ("protocol", "portRange", "sourceAddresses"),
    "forwardingRules": ("entryProtocol", "certificateName", "tlsPassthrough"),
}
ASKED = (
    *LISTS,
    *("privateNetworkUuid", "mode", "user", "clusterId", "size", "nodeCount", "tags", "redirectHttpToHttps"),
    *("userData", "backups", "enabled", "dropletTag", "dropletIds", "document", "production"),
    *("clusterUrn", "engine", "accepted"),
)


def unknowns(kind: str) -> Iterable[Resource]:
    """A resource of which nothing is known, one whose lists hold the unknown, and one whose items do."""
    yield resource(kind, **dict.fromkeys(ASKED, UNKNOWN))
    yield resource(kind, **dict.fromkeys(ASKED, UNKNOWN) | {name: [UNKNOWN] for name in (*LISTS, "tags")})
    yield resource(
        kind,
        **dict.fromkeys(ASKED, UNKNOWN) | {name: [dict.fromkeys(members, UNKNOWN)] for name, members in LISTS.items()},
    )


@pytest.mark.parametrize("rule", [rule for rule in RULES if isinstance(rule, ResourceRule)], ids=lambda rule: rule.name)
def test_what_is_unknown_breaks_no_rule_of_a_resource(rule: ResourceRule) -> None:
    """Neither by a violation nor by an error."""
    assert [list(rule.check(found)) for kind in rule.kinds for found in unknowns(kind)] == [[]] * 3 * len(rule.kinds)


KINDS = ("DatabaseCluster", "DatabaseConnectionPool", "Droplet", "Firewall", "DatabaseFirewall")


@pytest.mark.parametrize(
    "rule",
    [
        rule
        for rule in RULES
        # What these ask for is known in any preview: options, what is there at all, and the stack's own word.
        if isinstance(rule, StackRule)
        and rule.name not in {"production-protect", "production-alerts", "production-known"}
    ],
    ids=lambda rule: rule.name,
)
def test_what_is_unknown_breaks_no_rule_of_a_stack(rule: StackRule) -> None:
    """The same, for all resources at once."""
    for number in range(3):
        unknown = [list(unknowns(kind))[number] for kind in (*KINDS, "Environment", "SpacesKey")]
        assert list(rule.check(stack(*unknown, production=True))) == []


@pytest.mark.parametrize("origin", ["*", "https://*.example.com", "http://example.com", "https://example.com/", "null"])
def test_inexact_origins(origin: str) -> None:
    """The message says where, and what."""
    found = resource("SpacesBucketCorsConfiguration", corsRules=[{"allowedOrigins": ["https://ok.example", origin]}])
    assert list(storage.exact_origins(found)) == [
        f'corsRules[0].allowedOrigins[1]: must be an exact https origin, got "{origin}"'
    ]


@given(st.lists(st.ip_addresses(v=4), max_size=8))
def test_no_number_of_single_addresses_is_the_whole_internet(addresses: list[Any]) -> None:
    """Only ranges that together leave nothing out."""
    assert database.everywhere([str(address) for address in addresses]) == []


@given(st.integers(1, 8))
def test_any_division_of_the_internet_is_the_whole_of_it(prefix: int) -> None:
    """Halves, quarters, and so on; one piece less is not."""
    pieces = [str(piece) for piece in database.IPv4Network("0.0.0.0/0").subnets(new_prefix=prefix)]
    assert database.everywhere(pieces) == pieces
    assert database.everywhere(pieces[1:]) == []
    assert database.everywhere(["polls-web", "::/0", *pieces[1:]]) == ["::/0"]


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        *((open_, True) for open_ in ("22", "1-22", "22-23", "1-65535", "all", "0", None)),
        *((shut, False) for shut in ("23", "80-443", "2222", "ssh", UNKNOWN)),
    ],
)
def test_port_ranges_with_ssh(ports: object, expected: bool) -> None:
    """As the Cloud Firewall reads them."""
    assert network.includes_ssh(ports) is expected


@given(st.lists(st.integers(1, 1000), max_size=5), st.sampled_from(sorted(plans.DATABASE_PLANS)))
def test_pools_fit_exactly_when_their_sum_leaves_the_reserve(sizes: list[int], plan: str) -> None:
    """Whatever the plan and however many pools."""
    cluster = resource("DatabaseCluster", "db", size=plan)
    pools = [
        Resource(
            urn=f"urn:{number}",
            kind="DatabaseConnectionPool",
            name=f"pool-{number}",
            properties={"size": size},
            uses={"clusterId": ("urn:db",)},
        )
        for number, size in enumerate(sizes)
    ]
    found = list(database.fits_plan(stack(cluster, *pools)))
    assert bool(found) is (sum(sizes) > plans.max_connections(plan) - budget.PLATFORM_RESERVE)
    assert all(f"pools of {sum(sizes)}" in problem for _, problem in found)


@pytest.mark.parametrize(("extra", "expected"), [(0, 0), (1, 1)])
def test_user_data_is_measured_in_bytes(extra: int, expected: int) -> None:
    """Characters of two bytes count twice."""
    text = "é" * (plans.USER_DATA_LIMIT // 2) + "x" * extra
    assert len(list(user_data.small(resource("Droplet", userData=text)))) == expected


def with_secrets(text: str) -> list[str]:
    """Problems of a Droplet with this user data in a stack with secrets."""
    password = Resource(
        urn="urn:user",
        kind="DatabaseUser",
        name="user",
        properties={"name": "app", "password": "p@ss/word-1", "accessKey": "short", "accessCert": None},
        secret_outputs=("password", "accessKey", "accessCert"),
    )
    agent = Resource(
        urn="urn:agent",
        kind="SpacesKey",
        name="polls-agent-key",
        properties={"secretKey": "the-agents-own"},
        secret_outputs=("secretKey",),
    )
    document = {
        "wsgi": "mysite.wsgi:application",
        "env": {"ALLOWED_HOSTS": "polls.example", "STRIPE_SECRET": "sk_live_1234", "KEYBOARD": "qwertzuiop"},
    }
    environment = resource("Environment", "environment", document=json.dumps(document))
    found = user_data.no_secrets(stack(password, agent, environment, resource("Droplet", "web", userData=text)))
    return [problem.rpartition("got ")[2] for _, problem in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x p@ss/word-1 x", ["user.password"]),
        ("postgres://app:p%40ss%2Fword-1@", ["user.password"]),
        ("cEBzcy93b3JkLTE=", ["user.password"]),
        ("WzFwQHNzL3dvcmQtMV0=", ["user.password"]),  # Base64 of [1p@ss/word-1]
        ("sk_live_1234", ["environment.document.env.STRIPE_SECRET"]),
        ("app short the-agents-own polls.example qwertzuiop mysite.wsgi:application", []),
    ],
)
def test_secrets_in_user_data_are_named_and_not_shown(text: str, expected: list[str]) -> None:
    """As they are, in a URL, in Base64 of a longer text; the agent's key, short values and what is not secret pass."""
    assert with_secrets(text) == expected


def test_production_is_what_the_stack_says() -> None:
    """True, false, or nothing that could be relied on."""
    said = [stack(production=value).production for value in (True, False, None, "true", UNKNOWN)]
    assert said == [True, False, None, None, None]
    assert Stack(resources=()).production is None


def test_droplets_are_covered_by_a_firewall_with_one_of_their_tags_or_their_id() -> None:
    """Not by one for others."""
    droplet = resource("Droplet", "web", tags=["polls", "web"])
    by_id = Resource(urn="urn:f", kind="Firewall", name="f", properties={}, uses={"dropletIds": ("urn:web",)})
    firewalls = (resource("Firewall", tags=["web"]), by_id, resource("Firewall", tags=["else"]))
    assert [len(list(network.behind_firewall(stack(droplet, found)))) for found in firewalls] == [0, 0, 1]


def test_a_message_is_path_rule_value_and_fix() -> None:
    """Of a resource, or of the stack."""
    rule = next(rule for rule in RULES if rule.name == "production-known")
    assert message(rule, None, "production: must be x, got y") == f"production: must be x, got y; {rule.fix}"
    assert message(rule, resource("Droplet", "web"), "tags: z").startswith("web.tags: z; ")


def test_rules_have_names_of_their_own_and_say_why_and_how() -> None:
    """One sentence why, and words for the hand."""
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert [rule.name for rule in RULES if not rule.why.endswith(".") or not rule.fix or rule.fix.endswith(".")] == []
