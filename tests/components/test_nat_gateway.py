"""NatGateway: how Droplets without a public address reach the internet, and in which order that comes and goes."""

from typing import Any

import pulumi
import pytest

from tests.components import recording
from tests.components.recording import Graph, run_program


@pytest.fixture(scope="module")
def private(settings: dict[str, Any]) -> Graph:
    """The program with two Droplets that have no public address."""
    return run_program(settings | {"web": settings["web"] | {"count": 2, "loadBalancer": True, "publicNetwork": False}})


def test_it_is_the_default_gateway_of_the_vpc(private: Graph) -> None:
    """With a name of its own each time, so that another one can be made beside it."""
    assert private["nat-gateway"].inputs == {
        "type": "PUBLIC",
        "region": "nyc3",
        "size": 1,
        "vpcs": [{"vpcUuid": "shop-vpc-id", "defaultGateway": True}],
        "tcpTimeoutSeconds": 300,
        "udpTimeoutSeconds": 30,
        "icmpTimeoutSeconds": 30,
    }


def test_droplets_are_made_after_it_and_go_before_it(private: Graph) -> None:
    """They install themselves by it, and the last thing that they say goes by it; it goes before its VPC."""
    for number in (1, 2):
        assert private[f"web-{number}"].inputs["publicNetworking"] is False
        assert private.waits_for(f"web-{number}", "nat-gateway")
        assert private.waits_for(f"member-{number}", "nat-gateway")
    assert private.waits_for("nat-gateway", "vpc")


def test_what_the_internet_sees_is_an_output(private: Graph, graph: Graph) -> None:
    """Others may have to let it in; without a gateway there is none."""
    assert private.outputs["egress_ip_address"] == "203.0.113.190"
    assert "egress_ip_address" not in graph.outputs
    assert "nat-gateway" not in graph


@pytest.mark.parametrize(
    "answer",
    [{}, {"egresses": []}, {"egresses": [{}]}, {"egresses": [{"publicGateways": []}]}],
    ids=["nothing", "no way out", "one without gateways", "one without addresses"],
)
def test_a_gateway_that_is_not_ready_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], answer: dict[str, Any]
) -> None:
    """A creation that was cut short leaves it in the state so: an update goes on, and says how the address is read."""
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    monkeypatch.setitem(recording.ANSWERS, "VpcNatGateway", lambda _name, _inputs: answer)
    graph = run_program(settings | {"web": settings["web"] | {"loadBalancer": True, "publicNetwork": False}})
    assert graph.outputs["egress_ip_address"] == ""
    assert "web-1" in graph
    [warning] = [text for text in said if "egress_ip_address" in text]
    assert "`pulumi refresh` reads it" in warning


def test_behind_a_load_balancer_public_networking_is_always_said(settings: dict[str, Any], graph: Graph) -> None:
    """What is unsaid stays as it was: without public networking for ever. A lone Droplet is as it was before, too."""
    balanced = run_program(settings | {"web": settings["web"] | {"loadBalancer": True}})
    assert balanced["web-1"].inputs["publicNetworking"] is True
    assert "publicNetworking" not in graph["web-1"].inputs


def test_who_may_come_stays_the_same(settings: dict[str, Any], private: Graph) -> None:
    """The balancer and the database know Droplets by their tag, whatever addresses they have; SSH comes by the VPC."""
    balanced = run_program(settings | {"web": settings["web"] | {"count": 2, "loadBalancer": True}})
    for role in ("trusted-sources", "balancer-firewall", "balanced-firewall"):
        assert private[role].inputs == balanced[role].inputs
    assert private["web-1"].inputs["userData"] == balanced["web-1"].inputs["userData"]
