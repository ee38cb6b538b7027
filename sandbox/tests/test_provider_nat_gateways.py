"""The sandbox's provider plugin treats VPC NAT gateways as the official one does (resource_vpc_nat_gateway.go)."""

import threading
from typing import Any

import pytest
from digitalocean_provider import schema
from digitalocean_provider.errors import ApiError, ProviderError
from digitalocean_provider.operation import Operation
from digitalocean_provider.resources import vpc_nat_gateway
from digitalocean_provider.schema import Naming

from sandbox.tests.test_provider_requests import Caught, Sent

VPC = {"vpcUuid": "c33931f2", "defaultGateway": True}
GATEWAY = {"name": "way-out", "type": "PUBLIC", "region": "nyc3", "size": 1, "vpcs": [VPC]}
ANSWER = {
    "id": "70e1b58d",
    "name": "way-out",
    "type": "PUBLIC",
    "state": "ACTIVE",
    "region": "nyc3",
    "size": 1,
    "vpcs": [{"vpc_uuid": "c33931f2", "gateway_ip": "10.118.0.35", "default_gateway": True}],
    "egresses": {"public_gateways": [{"ipv4": "174.138.113.197"}]},
    "udp_timeout_seconds": 30,
    "icmp_timeout_seconds": 30,
    "tcp_timeout_seconds": 300,
    "created_at": "2025-08-12T18:43:14Z",
    "updated_at": "2025-08-12T19:00:04Z",
    "project_id": "9cc10173",
}


def checked(inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs with their defaults, when nothing is wrong with them."""
    naming = Naming(resource="nat", seed=bytes.fromhex("a1b2c3d4e5f6"))
    found, failures = schema.check(vpc_nat_gateway.SCHEMA, {}, inputs, naming)
    assert failures == []
    return found


def operation(request: str = "nothing", **answer: object) -> Operation:
    """One that is answered with a gateway."""
    return Operation(Caught(request, {"vpc_nat_gateway": ANSWER | answer}), threading.Event())


def state() -> dict[str, Any]:
    """What is read of it."""
    return vpc_nat_gateway.read(operation(), "70e1b58d", {}) or {}


def test_a_creation_is_what_the_official_one_sends() -> None:
    """Without what is zero, and without the project."""
    said = checked(GATEWAY | {"tcpTimeoutSeconds": 60, "projectId": "9cc10173"})
    with pytest.raises(Sent) as caught:
        vpc_nat_gateway.create(operation("POST /v2/vpc_nat_gateways"), said)
    assert caught.value.body == {
        "name": "way-out",
        "type": "PUBLIC",
        "region": "nyc3",
        "size": 1,
        "vpcs": [{"vpc_uuid": "c33931f2", "default_gateway": True}],
        "tcp_timeout_seconds": 60,
    }


def test_an_update_is_what_the_official_one_sends() -> None:
    """With null for its VPCs, and the timeouts that it has."""
    op, said = operation("PUT /v2/vpc_nat_gateways/70e1b58d"), checked(GATEWAY | {"size": 2})
    with pytest.raises(Sent) as caught:
        vpc_nat_gateway.update(op, "70e1b58d", state(), said, {"size"})
    assert caught.value.body == {
        "name": "way-out",
        "type": "PUBLIC",
        "region": "nyc3",
        "size": 2,
        "vpcs": None,
        "udp_timeout_seconds": 30,
        "icmp_timeout_seconds": 30,
        "tcp_timeout_seconds": 300,
    }


def test_what_is_read_of_it() -> None:
    """Its addresses on both sides, in the shapes of the official one's outputs."""
    found = state()
    assert found["vpcs"] == [VPC | {"gatewayIp": "10.118.0.35", "subnetUuid": ""}]
    assert found["egresses"] == [{"publicGateways": [{"ipv4": "174.138.113.197"}]}]
    assert found["createdAt"] == "2025-08-12 18:43:14 +0000 UTC"


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ({}, {}),
        ({"name": "other"}, {"name": "UPDATE"}),
        ({"region": "ams3"}, {"region": "UPDATE"}),
        ({"size": 2}, {"size": "UPDATE"}),
        ({"udpTimeoutSeconds": 60}, {"udpTimeoutSeconds": "UPDATE"}),
        ({"udpTimeoutSeconds": 30}, {}),
        ({"vpcs": [{"vpcUuid": "c33931f2"}]}, {"vpcs": "UPDATE"}),
        ({"vpcs": [VPC | {"vpcUuid": "4de7ac8b"}]}, {"vpcs": "UPDATE_REPLACE"}),
    ],
)
def test_what_a_change_means(new: dict[str, Any], expected: dict[str, str]) -> None:
    """Another VPC is another gateway; all else is tried in place."""
    changes = schema.diff(vpc_nat_gateway.SCHEMA, state(), checked(GATEWAY), checked(GATEWAY | new))
    assert {name: change.kind for name, change in changes.items()} == expected


def test_a_state_that_is_not_waited_for_is_an_error() -> None:
    """New is, and nothing else."""
    with pytest.raises(ProviderError, match="unexpected state 'PROVISIONING'"):
        vpc_nat_gateway.create(operation(state="PROVISIONING"), checked(GATEWAY))


def test_only_its_own_words_mean_that_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another 404 is an error."""
    said = ["nat gateway with id 70e1b58d not found", "The resource you were accessing could not be found."]
    op = operation()

    def refuse(*_words: object) -> None:
        raise ApiError("GET", "/v2/vpc_nat_gateways/70e1b58d", 404, said[0])

    monkeypatch.setattr(op, "call", refuse)
    assert vpc_nat_gateway.read(op, "70e1b58d", {}) is None
    del said[0]
    with pytest.raises(ApiError):
        vpc_nat_gateway.read(op, "70e1b58d", {})
