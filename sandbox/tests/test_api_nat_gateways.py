"""VPC NAT gateways keep DigitalOcean's rules."""

from http import HTTPStatus

import pytest

from tests.api_client import Api, Body, until

PATH = "/v2/vpc_nat_gateways"


def wanted(vpc: Body, **fields: object) -> Body:
    """The body that the official provider sends (resource_vpc_nat_gateway.go)."""
    vpcs = [{"vpc_uuid": vpc["id"], "default_gateway": True}]
    return {"name": "way-out", "type": "PUBLIC", "region": "nyc3", "size": 1, "vpcs": vpcs} | fields


def made(api: Api, vpc: Body, **fields: object) -> Body:
    """A gateway that is there."""
    new = api.ok(api.post(PATH, wanted(vpc, **fields)))["vpc_nat_gateway"]
    read = api.raw.get
    found = until(
        lambda: api.ok(read(f"{PATH}/{new['id']}"))["vpc_nat_gateway"], lambda gateway: gateway["state"] != "NEW"
    )
    assert isinstance(found, dict)
    return found


def test_it_is_new_until_it_has_addresses(api: Api) -> None:
    """One in its VPC, one that the internet sees; the timeouts are doctl's."""
    vpc = api.vpc("net", "10.10.0.0/20")
    answer = api.post(PATH, wanted(vpc))
    new = api.ok(answer)["vpc_nat_gateway"]
    assert (answer.status_code, new["state"], new["egresses"]) == (HTTPStatus.ACCEPTED, "NEW", {})
    assert new["vpcs"] == [{"vpc_uuid": vpc["id"], "default_gateway": True}]

    gateway = until(
        lambda: api.ok(api.raw.get(f"{PATH}/{new['id']}"))["vpc_nat_gateway"],
        lambda found: found["state"] == "ACTIVE",
    )
    assert gateway["vpcs"] == [{"vpc_uuid": vpc["id"], "default_gateway": True, "gateway_ip": "10.10.0.10"}]
    assert gateway["egresses"] == {"public_gateways": [{"ipv4": "198.51.100.190"}]}
    timeouts = {name: gateway[f"{name}_timeout_seconds"] for name in ("udp", "icmp", "tcp")}
    assert timeouts == {"udp": 30, "icmp": 30, "tcp": 300}
    assert api.ok(api.raw.get(f"{PATH}?state=ACTIVE&region=nyc3"))["vpc_nat_gateways"] == [gateway]
    assert api.ok(api.raw.get(f"{PATH}?name=other"))["vpc_nat_gateways"] == []


def test_an_update_of_the_official_provider(api: Api) -> None:
    """It sends null for the VPCs, and they stay."""
    gateway = made(api, api.vpc(), tcp_timeout_seconds=60)
    body = {"name": "renamed", "type": "PUBLIC", "region": "nyc3", "size": 2, "vpcs": None, "udp_timeout_seconds": 31}
    changed = api.ok(api.raw.put(f"{PATH}/{gateway['id']}", json=body))["vpc_nat_gateway"]
    changed["updated_at"] = gateway["updated_at"]
    assert changed == gateway | {"name": "renamed", "size": 2, "udp_timeout_seconds": 31}


def test_a_vpc_has_one_default(api: Api) -> None:
    """Another one takes its place, at its creation or by a change."""
    vpc = api.vpc()
    first = made(api, vpc)
    second = made(api, vpc, name="second")

    def defaults() -> list[str]:
        gateways = api.ok(api.raw.get(PATH))["vpc_nat_gateways"]
        return [gateway["id"] for gateway in gateways if gateway["vpcs"][0]["default_gateway"]]

    assert defaults() == [second["id"]]
    body = {"name": "way-out", "size": 1, "vpcs": [{"vpc_uuid": vpc["id"], "default_gateway": True}]}
    api.ok(api.raw.put(f"{PATH}/{first['id']}", json=body))
    assert defaults() == [first["id"]]


def test_its_vpc_waits_for_it(api: Api) -> None:
    """It is found while it goes, and then not, in words that the official provider knows."""
    vpc = api.vpc()
    gateway = made(api, vpc)
    assert api.raw.delete(f"/v2/vpcs/{vpc['id']}").status_code == HTTPStatus.CONFLICT
    assert api.raw.delete(f"{PATH}/{gateway['id']}").status_code == HTTPStatus.ACCEPTED
    gone = until(lambda: api.raw.get(f"{PATH}/{gateway['id']}"), lambda answer: answer.status_code != HTTPStatus.OK)
    said = f"nat gateway with id {gateway['id']} not found"
    assert (gone.status_code, gone.json()["message"]) == (HTTPStatus.NOT_FOUND, said)
    assert api.raw.delete(f"/v2/vpcs/{vpc['id']}").status_code == HTTPStatus.NO_CONTENT


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"size": 17}, 422, "size: must be from 1 to 16, got 17"),
        ({"type": "PRIVATE"}, 422, "type"),
        ({"region": "mars1"}, 422, "region: must be one of"),
        ({"region": "ams3"}, 422, "is in nyc3, not in ams3"),
        ({"vpcs": []}, 422, "vpcs: must be one VPC, got 0"),
        ({"vpcs": [{"vpc_uuid": "nope"}]}, 422, 'no VPC has the id "nope"'),
        ({"name": "a_b"}, 422, "letters, digits, dashes and periods"),
        ({"name": "taken"}, 422, 'a VPC NAT gateway is called "taken" already'),
        ({"tcp_timeout_seconds": 0}, 422, "tcp_timeout_seconds: must be 1 second or more, got 0"),
        ({"egresses": {"public_gateways": [{"ip": "192.0.2.1"}]}}, 501, "no address of your own"),
        ({"vpcs": [{"vpc_uuid": "x", "subnet_uuid": "y"}]}, 501, "VPCs have no subnets"),
    ],
)
def test_what_is_refused(api: Api, fields: Body, status: int, said: str) -> None:
    """With the rule that it breaks."""
    vpc = api.vpc()
    made(api, vpc, name="taken")
    refused = api.post(PATH, wanted(vpc) | fields)
    assert refused.status_code == status
    assert said in refused.json()["message"]


@pytest.mark.parametrize("fields", [{"type": "PRIVATE"}, {"region": "ams3"}, {"vpcs": [{"vpc_uuid": "other"}]}])
def test_what_can_not_be_changed(api: Api, fields: Body) -> None:
    """It is another gateway."""
    gateway = made(api, api.vpc())
    answer = api.raw.put(f"{PATH}/{gateway['id']}", json={"name": "way-out", "size": 1} | fields)
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert "can't change" in answer.json()["message"]
