"""The sandbox's provider plugin treats load balancers and certificates as the official one does."""

import threading
from types import ModuleType
from typing import Any

import pytest
from digitalocean_provider import schema
from digitalocean_provider.errors import ProviderError
from digitalocean_provider.operation import Operation
from digitalocean_provider.resources import certificate, load_balancer
from digitalocean_provider.schema import DEFAULTS, Naming

from sandbox.tests.recorded import RECORDED
from sandbox.tests.test_provider_requests import Caught, Sent
from tests.api_client import Body

SMALL, SIZED = [r.body for r in RECORDED if r.path == "/v2/load_balancers" and r.body]
[UPLOADED] = [r.body for r in RECORDED if r.path == "/v2/certificates" and r.body]
NAMING = Naming(resource="lb", seed=bytes.fromhex("a1b2c3d4e5f6"))
HTTP = {"entryProtocol": "http", "entryPort": 80, "targetProtocol": "http", "targetPort": 80}
PASSED = {"entryProtocol": "https", "entryPort": 443, "targetProtocol": "https", "targetPort": 443}
TERMINATED = PASSED | {"targetProtocol": "http", "targetPort": 80, "certificateName": "mine"}
BALANCER = {"name": "lb", "region": "nyc3", "forwardingRules": [HTTP]}
ANSWER = {
    "load_balancer": {
        "id": "4de7ac8b",
        "name": "lb",
        "region": {"slug": "nyc3"},
        "status": "active",
        "type": "REGIONAL",
        "ip": "198.51.100.150",
        "ipv6": "",
        "size": "lb-small",
        "size_unit": 1,
        "tag": "",
        "droplet_ids": [8, 7],
        "vpc_uuid": "c33931f2",
        "project_id": "9cc10173",
        "algorithm": "round_robin",
        "redirect_http_to_https": False,
        "enable_proxy_protocol": False,
        "enable_backend_keepalive": False,
        "disable_lets_encrypt_dns_records": False,
        "http_idle_timeout_seconds": 60,
        "network": "EXTERNAL",
        "network_stack": "IPV4",
        "tls_cipher_policy": "DEFAULT",
        "firewall": {"allow": [], "deny": []},
        "sticky_sessions": {"type": "none"},
        "health_check": {
            "protocol": "http",
            "port": 80,
            "path": "/",
            "check_interval_seconds": 10,
            "response_timeout_seconds": 5,
            "healthy_threshold": 5,
            "unhealthy_threshold": 3,
        },
        "forwarding_rules": [
            {
                "entry_protocol": "http",
                "entry_port": 80,
                "target_protocol": "http",
                "target_port": 80,
                "certificate_id": "",
                "tls_passthrough": False,
            }
        ],
    }
}


def checked(kind: schema.Schema, inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs with their defaults, when nothing is wrong with them."""
    found, failures = schema.check(kind, {}, inputs, NAMING)
    assert failures == []
    return found


def sent(module: ModuleType, step: str, request: str, *arguments: object, before: dict[str, Any] | None = None) -> Body:
    """The body of a request that an operation comes to."""
    with pytest.raises(Sent) as caught:
        getattr(module, step)(Operation(Caught(request, before or {}), threading.Event()), *arguments)
    assert isinstance(caught.value.body, dict)
    return caught.value.body


@pytest.mark.parametrize(
    ("inputs", "recorded"),
    [
        ({"size": "lb-small", "forwardingRules": [PASSED | {"tlsPassthrough": True}, HTTP]}, SMALL),
        ({"sizeUnit": 1, "forwardingRules": [HTTP], "healthcheck": {"protocol": "tcp", "port": 22}}, SIZED),
    ],
)
def test_a_creation_is_what_the_official_one_sends(inputs: dict[str, Any], recorded: dict[str, Any]) -> None:
    """Recorded of its acceptance tests: without what is zero, but for the one that is a pointer."""
    said = checked(load_balancer.SCHEMA, {"name": recorded["name"], "region": "nyc3"} | inputs)
    assert sent(load_balancer, "create", "POST /v2/load_balancers", said) == recorded


def test_a_certificate_is_uploaded_as_the_official_one_does() -> None:
    """Recorded of its acceptance tests; one of Let's Encrypt has names instead."""
    pem = {"privateKey": "{private_key}", "leafCertificate": "{leaf_certificate}"}
    said = checked(certificate.SCHEMA, {"name": UPLOADED["name"], "certificateChain": "{certificate_chain}"} | pem)
    assert sent(certificate, "create", "POST /v2/certificates", said) == UPLOADED
    theirs = checked(certificate.SCHEMA, {"name": "le", "type": "lets_encrypt", "domains": ["a.example"]})
    body = sent(certificate, "create", "POST /v2/certificates", theirs)
    assert body == {"name": "le", "type": "lets_encrypt", "dns_names": ["a.example"]}


def test_an_update_sends_the_whole() -> None:
    """With what only the API had said, as the official one finds it in its state; the members are sorted as a set."""
    state = load_balancer.read(Operation(Caught("nothing", ANSWER), threading.Event()), "4de7ac8b", {})
    said = checked(load_balancer.SCHEMA, BALANCER | {"redirectHttpToHttps": True})
    body = sent(load_balancer, "update", "PUT /v2/load_balancers/4de7ac8b", "4de7ac8b", state, said, {"redirect"})
    health = ANSWER["load_balancer"]["health_check"]
    assert body == {
        "name": "lb",
        "region": "nyc3",
        "algorithm": "round_robin",
        "size_unit": 1,
        "type": "REGIONAL",
        "vpc_uuid": "c33931f2",
        "project_id": "9cc10173",
        "http_idle_timeout_seconds": 60,
        "redirect_http_to_https": True,
        "disable_lets_encrypt_dns_records": False,
        "droplet_ids": [7, 8],
        "forwarding_rules": [
            {"entry_protocol": "http", "entry_port": 80, "target_protocol": "http", "target_port": 80}
        ],
        "health_check": health,
        "sticky_sessions": {"type": "none"},
    }


def test_certificates_of_rules_are_found_by_name() -> None:
    """The id is asked for when the rule is sent, and the name when it is read: a renewed one has another id."""
    found = {"certificates": [{"id": "892071a0", "name": "mine"}]}
    said = checked(load_balancer.SCHEMA, BALANCER | {"forwardingRules": [TERMINATED], "dropletTag": "web"})
    body = sent(load_balancer, "create", "POST /v2/load_balancers", said, before=found)
    assert (body["tag"], body["forwarding_rules"][0]["certificate_id"]) == ("web", "892071a0")
    with pytest.raises(ProviderError, match="no certificate is called 'mine'"):
        sent(load_balancer, "create", "POST /v2/load_balancers", said, before={"certificates": []})


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ({"region": "ams3"}, {"region": "UPDATE_REPLACE"}),
        ({"vpcUuid": "4de7ac8b"}, {"vpcUuid": "UPDATE_REPLACE"}),
        ({"network": "INTERNAL"}, {"network": "ADD_REPLACE"}),
        ({"tlsCipherPolicy": "STRONG"}, {"tlsCipherPolicy": "ADD"}),
        ({"dropletTag": "web"}, {"dropletTag": "ADD"}),
        ({"sizeUnit": 2}, {"sizeUnit": "UPDATE"}),
        ({"forwardingRules": [HTTP, TERMINATED]}, {"forwardingRules": "UPDATE"}),
        # What says the same.
        ({"size": "lb-small"}, {}),
        ({"region": "NYC3"}, {}),
        ({"sizeUnit": 1, "dropletIds": [8, 7], "httpIdleTimeoutSeconds": 60}, {}),
        ({"healthcheck": {"protocol": "http", "port": 80, "path": "/"}, "stickySessions": {"type": "none"}}, {}),
        ({"firewall": {"allows": [], "denies": []}}, {}),
    ],
)
def test_what_a_change_of_a_load_balancer_means(new: dict[str, Any], expected: dict[str, str]) -> None:
    """In place, but for region, type, networks and VPC."""
    state = load_balancer.read(Operation(Caught("nothing", ANSWER), threading.Event()), "4de7ac8b", {})
    old = checked(load_balancer.SCHEMA, BALANCER)
    changes = schema.diff(load_balancer.SCHEMA, state or {}, old, checked(load_balancer.SCHEMA, BALANCER | new))
    assert {name: change.kind for name, change in changes.items()} == expected


@pytest.mark.parametrize(
    ("inputs", "wrong"),
    [
        ({"healthcheck": {"protocol": "http", "port": 80}}, ["healthcheck.path"]),
        ({"healthcheck": {"protocol": "tcp", "port": 80, "path": "/"}}, ["healthcheck.path"]),
        ({"healthcheck": {"protocol": "tcp", "port": 0}}, ["healthcheck.port", "healthcheck.port"]),
        (
            {"healthcheck": {"protocol": "tcp", "port": 22, "checkIntervalSeconds": 2}},
            ["healthcheck.checkIntervalSeconds"],
        ),
        ({"stickySessions": {"type": "cookies", "cookieTtlSeconds": 300}}, ["stickySessions.cookieName"]),
        ({"stickySessions": {"type": "none", "cookieName": "LB"}}, ["stickySessions.cookieName"]),
        ({"forwardingRules": [HTTP | {"entryPort": 70000}]}, ["forwardingRules[0].entryPort"]),
        ({"algorithm": "random"}, ["algorithm"]),
        ({"glbSettings": {}}, ["glbSettings"]),
    ],
)
def test_what_the_official_one_refuses_at_once(inputs: dict[str, Any], wrong: list[str]) -> None:
    """Before anything is made, with the path of what is wrong; global load balancers are not supported."""
    _, failures = schema.check(load_balancer.SCHEMA, {}, BALANCER | inputs, NAMING)
    assert [failure.property for failure in failures] == wrong


def test_every_input_of_a_certificate_replaces_it() -> None:
    """State has digests of what was uploaded; the names in an uploaded one are no change."""
    old = checked(certificate.SCHEMA, {"name": "mine", "privateKey": "k", "leafCertificate": "l"})
    state = schema.stored_inputs(certificate.SCHEMA, old) | {"domains": ["a.example"], "uuid": "1"}
    assert state["privateKey"] == "13fbd79c3d390e5d6585a21e11ff5ec1970cff0c"
    assert schema.diff(certificate.SCHEMA, state, old, old) == {}
    assert DEFAULTS in old
    for name, value in (("name", "other"), ("privateKey", "x"), ("leafCertificate", "x"), ("certificateChain", "x")):
        changes = schema.diff(certificate.SCHEMA, state, old, old | {name: value})
        assert {changed: change.replaces for changed, change in changes.items()} == {name: True}
