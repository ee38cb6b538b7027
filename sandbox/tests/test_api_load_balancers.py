"""Load balancers keep DigitalOcean's rules."""

import json
from http import HTTPStatus

import pytest

from tests.api_client import Api, Body, until
from tests.commands import run

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


def test_what_go_writes_for_nothing_is_nothing(api: Api) -> None:
    """Empty objects, lists and texts, as doctl sends them of what is not on its command line."""
    nothing: Body = {"health_check": {}, "sticky_sessions": {}, "firewall": {}}
    nothing |= dict.fromkeys(("tag", "size", "vpc_uuid", "project_id", "type", "network", "network_stack", "ip"), "")
    nothing |= {"droplet_ids": [], "target_load_balancer_ids": None, "size_unit": 0, "tls_cipher_policy": ""}
    plain, made = balancer(api), balancer(api, **nothing)
    own = {"id", "ip", "created_at"}
    assert {k: v for k, v in made.items() if k not in own} == {k: v for k, v in plain.items() if k not in own}


def test_the_listing_has_all(api: Api) -> None:
    """Names may be the same twice, as the official provider's search by name expects."""
    ids = {balancer(api)["id"] for _ in range(2)}
    assert {found["id"] for found in api.client.load_balancers.list()["load_balancers"]} == ids
    assert api.raw.get("/v2/load_balancers/4de7ac8b-495b-4884-9a69-1050c6793cd6").status_code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"forwarding_rules": []}, "at least one rule"),
        ({"forwarding_rules": [HTTP, HTTP | {"target_port": 81}]}, "entry ports must be unique, got 80 twice"),
        ({"forwarding_rules": [HTTP | {"entry_port": 0}]}, "greater than or equal to 1"),
        ({"forwarding_rules": [HTTP | {"entry_protocol": "https"}]}, "either a certificate_id or tls_passthrough"),
        ({"forwarding_rules": [HTTP | {"tls_passthrough": True}]}, "are for https, http2 and http3"),
        ({"forwarding_rules": [PASSED | {"target_protocol": "http"}]}, 'must be https, got "http"'),
        ({"forwarding_rules": [HTTP | {"target_protocol": "tcp"}]}, 'must be http, got "tcp"'),
        (
            {"forwarding_rules": [PASSED | {"tls_passthrough": False, "certificate_id": "x"}]},
            'no certificate has the id "x"',
        ),
        ({"health_check": {"check_interval_seconds": 2}}, "greater than or equal to 3"),
        ({"health_check": {"healthy_threshold": 11}}, "less than or equal to 10"),
        ({"health_check": {"protocol": "tcp", "path": "/"}}, "must be empty with tcp"),
        ({"health_check": {"path": "healthz"}}, "must begin with a slash"),
        ({"sticky_sessions": {"type": "cookies", "cookie_name": "x", "cookie_ttl_seconds": 1}}, "2 to 40 characters"),
        ({"sticky_sessions": {"type": "cookies", "cookie_name": "LB"}}, "cookie_ttl_seconds: must be at least 1"),
        ({"sticky_sessions": {"cookie_name": "LB"}}, "need the type cookies"),
        ({"redirect_http_to_https": True}, "needs a forwarding rule of https or http2 on port 443"),
        ({"http_idle_timeout_seconds": 29}, "must be 30 to 600, got 29"),
        ({"size": "lb-small", "size_unit": 2}, "must be one of them, got both"),
        ({"size_unit": 101}, "must be 1 to 100, got 101"),
        ({"tag": "nobody"}, 'the tag "nobody" does not exist'),
        ({"droplet_ids": [7]}, "no Droplet has the id 7"),
        ({"droplet_ids": list(range(11))}, "at most 10, got 11"),
        ({"firewall": {"allow": ["192.0.2.1"]}}, "such as ip:192.0.2.1 or cidr:192.0.2.0/24"),
        ({"firewall": {"deny": ["cidr:192.0.2.0/33"]}}, "firewall.deny"),
        ({"tls_cipher_policy": "WEAK"}, "must be DEFAULT or STRONG"),
        ({"region": None}, "region: required"),
        ({"region": "mars1"}, "region: must be one of"),
        ({"vpc_uuid": "x"}, 'no VPC has the id "x"'),
        ({"project_id": "x"}, 'no project has the id "x"'),
        ({"name": "a_b"}, "letters, digits, dashes and periods"),
        ({"colour": "red"}, "colour: unknown field"),
    ],
)
def test_what_breaks_a_rule_is_refused(api: Api, fields: Body, said: str) -> None:
    """With the rule, and nothing is made."""
    response = api.post("/v2/load_balancers", BALANCER | fields)
    assert (response.status_code, said in response.json()["message"]) == (422, True), response.text
    assert api.client.load_balancers.list()["load_balancers"] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "GLOBAL", "glb_settings": {"target_protocol": "http", "target_port": 80}},
        {"type": "REGIONAL_NETWORK"},
        {"network": "INTERNAL"},
        {"network_stack": "DUALSTACK"},
        {"ip": "192.0.2.1"},
        {"subnet_uuid": "4de7ac8b-495b-4884-9a69-1050c6793cd6"},
        {"health_check": {"proxy_protocol": True}},
    ],
)
def test_what_only_the_sandbox_lacks_is_501_by_name(api: Api, fields: Body) -> None:
    """Other kinds of load balancers than a regional one with a public IPv4 address, and addresses of one's own."""
    response = api.post("/v2/load_balancers", BALANCER | fields)
    assert (response.status_code, response.json()["id"]) == (501, "not_implemented"), response.text


def test_members_by_id(api: Api) -> None:
    """They are added and taken away, go with their Droplet, and must be in the same VPC."""
    first, second = (api.droplet(name=name)["id"] for name in ("web-1", "web-2"))
    other = api.droplet(name="other", vpc_uuid=api.vpc("other", "10.30.0.0/20")["id"])["id"]
    made = balancer(api, droplet_ids=[first], vpc_uuid=api.vpc()["id"])
    path = f"/v2/load_balancers/{made['id']}/droplets"
    assert api.post(path, {"droplet_ids": [second, second]}).status_code == HTTPStatus.NO_CONTENT
    assert read(api, made["id"])["droplet_ids"] == [first, second]
    refused = api.post(path, {"droplet_ids": [other]})
    assert (refused.status_code, "is in the VPC" in refused.json()["message"]) == (422, True)
    refused = api.post(path, {"droplet_ids": []})
    assert (refused.status_code, refused.json()["message"]) == (
        422,
        "need to provide either a tag or a list of droplets",
    )
    assert api.raw.request("DELETE", path, json={"droplet_ids": [first]}).status_code == HTTPStatus.NO_CONTENT
    assert read(api, made["id"])["droplet_ids"] == [second]
    api.client.droplets.destroy(second)
    until(lambda: read(api, made["id"])["droplet_ids"], lambda ids: ids == [])


def test_members_by_tag(api: Api) -> None:
    """They are whoever has the tag in the balancer's VPC, now and later; none is added by its id."""
    api.client.tags.create({"name": "web"})
    first = api.droplet(tags=["web"])["id"]
    made = balancer(api, tag="web", vpc_uuid=api.vpc()["id"])
    second = api.droplet(name="web-2", tags=["web"])["id"]
    api.droplet(name="far", vpc_uuid=api.vpc("other", "10.30.0.0/20")["id"], tags=["web"])
    assert read(api, made["id"])["droplet_ids"] == [first, second]
    refused = api.post(f"/v2/load_balancers/{made['id']}/droplets", {"droplet_ids": [first]})
    assert (refused.status_code, "tag them instead" in refused.json()["message"]) == (422, True)
    resource = {"resources": [{"resource_id": str(first), "resource_type": "droplet"}]}
    api.client.tags.unassign_resources("web", resource)
    assert read(api, made["id"])["droplet_ids"] == [second]
    both = api.post("/v2/load_balancers", BALANCER | {"tag": "web", "droplet_ids": [first]})
    assert "must be one of them, got both" in both.json()["message"]


def test_an_update_replaces_the_whole(api: Api) -> None:
    """What is not said is the default again; address, region, VPC and project stay."""
    made = balancer(api, size_unit=3, enable_proxy_protocol=True, http_idle_timeout_seconds=90)
    wanted = {"name": "lb-2", "forwarding_rules": [PASSED], "tls_cipher_policy": "STRONG", "region": "nyc3"}
    changed = api.ok(api.raw.put(f"/v2/load_balancers/{made['id']}", json=wanted))["load_balancer"]
    assert changed == read(api, made["id"])
    assert changed == made | {
        "name": "lb-2",
        "forwarding_rules": [PASSED | {"certificate_id": ""}],
        "tls_cipher_policy": "STRONG",
        "size": "lb-small",
        "size_unit": 1,
        "enable_proxy_protocol": False,
        "http_idle_timeout_seconds": 60,
    }
    for field, value in (("region", "ams3"), ("vpc_uuid", api.vpc()["id"])):
        refused = api.raw.put(f"/v2/load_balancers/{made['id']}", json=wanted | {field: value})
        assert (refused.status_code, f"{field}: can't change" in refused.json()["message"]) == (422, True)


def test_a_new_one_can_not_be_changed_yet(api: Api) -> None:
    """DigitalOcean says 403 while it is at work on one."""
    api.fault(kind="slow", of="load_balancer", seconds=30)
    made = api.ok(api.post("/v2/load_balancers", BALANCER))["load_balancer"]
    refused = api.raw.put(f"/v2/load_balancers/{made['id']}", json=BALANCER)
    assert (refused.status_code, refused.json()["message"]) == (
        HTTPStatus.FORBIDDEN,
        "Load Balancer can't be updated while it processes previous actions",
    )
    assert api.raw.delete(f"/v2/load_balancers/{made['id']}").status_code == HTTPStatus.NO_CONTENT


def test_rules_come_and_go(api: Api) -> None:
    """One at a time; the same one is there once, a port has one rule, and the last rule stays."""
    made = balancer(api)
    path = f"/v2/load_balancers/{made['id']}/forwarding_rules"
    for _ in range(2):
        assert api.post(path, {"forwarding_rules": [PASSED]}).status_code == HTTPStatus.NO_CONTENT
    assert len(read(api, made["id"])["forwarding_rules"]) == 2
    taken = api.post(path, {"forwarding_rules": [PASSED | {"target_port": 444}]})
    assert (taken.status_code, "got 443 twice" in taken.json()["message"]) == (422, True)
    assert api.raw.request("DELETE", path, json={"forwarding_rules": [HTTP]}).status_code == HTTPStatus.NO_CONTENT
    last = api.raw.request("DELETE", path, json={"forwarding_rules": [PASSED]})
    assert (last.status_code, "at least one rule" in last.json()["message"]) == (422, True)


def test_a_regional_one_has_no_cache(api: Api) -> None:
    """Only a global one has, which the sandbox has not."""
    made = balancer(api)
    assert api.raw.delete(f"/v2/load_balancers/{made['id']}/cache").status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_it_belongs_to_a_vpc_a_project_and_firewalls(api: Api) -> None:
    """A VPC with one stays, a firewall names one that exists, and forgets one that is deleted."""
    vpc = api.vpc()
    made = balancer(api, vpc_uuid=vpc["id"])
    urn = f"do:loadbalancer:{made['id']}"
    assert [member["urn"] for member in api.client.vpcs.list_members(vpc["id"])["members"]] == [urn]
    assert api.raw.delete(f"/v2/vpcs/{vpc['id']}").status_code == HTTPStatus.CONFLICT
    assert urn in {item["urn"] for item in api.client.projects.list_resources_default()["resources"]}
    source = {"protocol": "tcp", "ports": "80", "sources": {"load_balancer_uids": [made["id"]]}}
    firewall = api.ok(api.post("/v2/firewalls", {"name": "fw", "inbound_rules": [source]}))["firewall"]
    assert firewall["inbound_rules"] == [source]
    api.client.load_balancers.delete(made["id"])
    found = api.client.firewalls.get(firewall["id"])["firewall"]
    assert found["inbound_rules"][0]["sources"] == {"load_balancer_uids": []}
    assert api.raw.get(f"/v2/load_balancers/{made['id']}").status_code == HTTPStatus.NOT_FOUND
    assert api.raw.delete(f"/v2/vpcs/{vpc['id']}").status_code == HTTPStatus.NO_CONTENT


def test_at_depth_api_a_load_balancer_is_played(api: Api) -> None:
    """`sandbox status` shows it as what it is there, without members: they are simulated, too."""
    droplet = api.droplet()
    balancer(api, droplet_ids=[droplet["id"]], vpc_uuid=droplet["vpc_uuid"])
    parts = json.loads(run("sandbox", "status", "--json", home=api.world.home).stdout)["parts"]
    assert {row["product"] for row in parts if "alancer" in row["product"]} == {
        "Load balancer (simulated)",
        "simulated load balancer",
    }
    assert not [row for row in parts if row["product"] == "member"]
