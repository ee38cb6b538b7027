"""The whole graph: what waits for what, what is secret, and what the stack exports."""

import json
from typing import Any

import pytest

from tests.components.recording import ADMIN_PASSWORD, Graph, run_program


@pytest.mark.parametrize(
    ("role", "other"),
    [
        ("db", "vpc"),
        ("grants", "migrator"),
        ("grants", "app"),
        ("grants", "database"),
        ("trusted-sources", "grants"),
        ("pool", "trusted-sources"),
        ("environment", "pool"),
        ("web-1", "direct-firewall"),
        ("web-1", "vpc"),
        ("rollout", "web-1"),
        ("rollout", "artifact"),
        ("rollout", "environment"),
        ("assignment", "rollout"),
        ("probe", "assignment"),
        ("probe", "record"),
    ],
)
def test_a_resource_waits_for_another(graph: Graph, role: str, other: str) -> None:
    """The order in which a stack comes up, and, turned around, in which it goes."""
    assert graph.waits_for(role, other)


@pytest.mark.parametrize("database_part", ["db", "grants", "trusted-sources", "pool", "environment"])
def test_a_droplet_installs_while_the_database_is_being_created(graph: Graph, database_part: str) -> None:
    """A cluster takes minutes; the machine needs none of it to install itself."""
    assert not graph.waits_for("web-1", database_part)


@pytest.mark.parametrize("bucket", ["releases", "state", "assets"])
def test_droplets_are_gone_before_their_buckets(graph: Graph, bucket: str) -> None:
    """Else an agent could write into a bucket that is being emptied."""
    assert graph.waits_for("web-1", bucket)


def test_every_resource_is_a_child_of_a_component(graph: Graph) -> None:
    """The state reads like the architecture."""
    components = {r.urn for r in graph.registrations.values() if not r.custom}
    outside = [r.name for r in graph.registrations.values() if r.custom and r.parent not in components]
    assert outside == []
    assert all(r.type.startswith("django-do:") for r in graph.registrations.values() if not r.custom)


def test_the_admin_password_goes_to_the_grants_alone(graph: Graph) -> None:
    """Droplets, releases and everything else work with the two roles."""
    holders = [r.name for r in graph.registrations.values() if ADMIN_PASSWORD in json.dumps(r.inputs)]
    assert holders == ["shop-grants"]


def test_no_password_is_a_plain_input(graph: Graph) -> None:
    """What the state would hold in plain text."""
    marks = ("-password", "-key-secret", "third-party-secret", ADMIN_PASSWORD, "secret-key-value")
    leaks = [
        (r.name, key)
        for r in graph.registrations.values()
        for key, value in r.inputs.items()
        # The name of a resource that makes a password is none; what holds its value is.
        if key not in r.secrets and any(mark in json.dumps(value) for mark in marks)
    ]
    assert leaks == []


def test_outputs(graph: Graph) -> None:
    """What a person or a script asks a stack for."""
    assert graph.outputs["url"] == "https://shop.example"
    assert graph.outputs["production"] is False
    assert graph.outputs["ip_address"] == "203.0.113.9"
    assert (graph.outputs["max_connections"], graph.outputs["pool_size"]) == (100, 95)
    assert graph.outputs["connection_budget"]["clients"] == 16
    assert graph.outputs["cdn_endpoint"] == "shop-cdn.cdn.example"
    assert graph.outputs["droplet_ids"] == ["101"]
    assert set(graph.outputs) == {
        "url",
        "production",
        "accepted",
        "edge",
        "ip_address",
        "cdn_endpoint",
        "max_connections",
        "pool_size",
        "connection_budget",
        "release",
        "superuser_password",
        "database_id",
        "droplet_ids",
        "buckets",
        "pending",
    }
    assert graph.secret_outputs == {"superuser_password"}


def test_without_a_superuser_no_password_is_shown(settings: dict[str, Any], graph: Graph) -> None:
    """The secret itself stays what it is: a superuser that was made before has it."""
    without = run_program(settings | {"app": settings["app"] | {"superuser": False}})
    assert graph.outputs.keys() - without.outputs.keys() == {"superuser_password"}
    assert {r.name for r in without.registrations.values()} == {r.name for r in graph.registrations.values()}


def test_protect_covers_what_cannot_be_made_again(settings: dict[str, Any], graph: Graph) -> None:
    """Data and the secrets it knows, a zone with records made by hand."""
    protected = {r.name for r in graph.registrations.values() if r.custom and r.options.protect}
    assert protected == {
        "shop-db",
        "shop-migrator",
        "shop-app",
        "shop-database",
        "shop-grants",
        "shop-trusted-sources",
        "shop-media",
        "shop-domain",
        "shop-record",
        "shop-secret-key",
        "shop-superuser-password",
    }
    elsewhere = run_program(settings | {"dns": "external"})
    assert elsewhere["address"].options.protect, "others have written it down"
    led = [role for role in ("assignment", "member-1") if elsewhere[role].options.protect]
    assert led == [], "replaced with each Droplet"
    unprotected = run_program(settings | {"protect": "false"})
    assert [r.name for r in unprotected.registrations.values() if r.options.protect] == []
