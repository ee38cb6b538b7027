"""Load balancers keep DigitalOcean's rules."""

from http import HTTPStatus

from tests.api_client import Api, Body, until

HTTP: Body = {"entry_protocol": "http", "entry_port": 80, "target_protocol": "http", "target_port": 80}
PASSED: Body = {"entry_protocol": "https", "entry_port": 443, "target_protocol": "https", "target_port": 443}
PASSED |= {"tls_passthrough": True}
BALANCER: Body = {"name": "lb-1", "region": "nyc3", "forwarding_rules": [HTTP]}


def balancer(api: Api, **fields: object) -> Body:
    """Create one and wait until it is active."""
    made = api.ok(api.post("/v2/load_balancers", BALANCER | fields))["load_balancer"]
    return until(lambda: read(api, made["id"]), lambda found: found["status"] == "active")


def read(api: Api, balancer_id: str) -> Body:
    """What the API says of one."""
    found: Body = api.ok(api.raw.get(f"/v2/load_balancers/{balancer_id}"))["load_balancer"]
    return found


def test_a_new_one_has_the_defaults(api: Api) -> None:
    """Of the description's examples; it is new, without an address, until it serves."""
    response = api.post("/v2/load_balancers", BALANCER)
    made = api.ok(response)["load_balancer"]
    assert (response.status_code, made["status"], made["ip"]) == (HTTPStatus.ACCEPTED, "new", "")
    found = until(lambda: read(api, made["id"]), lambda found: found["status"] == "active")
    assert found["ip"].startswith("198.51.100.")
    check = {"protocol": "http", "port": 80, "path": "/", "check_interval_seconds": 10, "response_timeout_seconds": 5}
    assert found["health_check"] == check | {"healthy_threshold": 5, "unhealthy_threshold": 3}
    assert found["forwarding_rules"] == [HTTP | {"certificate_id": "", "tls_passthrough": False}]
    said = {
        name: found[name] for name in ("algorithm", "size", "size_unit", "sticky_sessions", "tag", "type", "network")
    }
    assert said == {
        "algorithm": "round_robin",
        "size": "lb-small",
        "size_unit": 1,
        "sticky_sessions": {"type": "none"},
        "tag": "",
        "type": "REGIONAL",
        "network": "EXTERNAL",
    }
    assert (found["http_idle_timeout_seconds"], found["tls_cipher_policy"]) == (60, "DEFAULT")
    assert found["firewall"] == {"allow": [], "deny": []}
    assert found["region"]["slug"] == "nyc3"
