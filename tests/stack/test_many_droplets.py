"""Several Droplets behind a load balancer: from one to three, to two, and back to one, in this order of steps.

Then without a public address, and with one again.
"""

import json
from collections.abc import Iterator

import pytest

from sandbox.world import certificates
from sandbox.world.world import World
from tests.api_client import Api, connect
from tests.pulumi_stack import PulumiStack, Secret, Settings, Step

# Nobody resolves a name at this depth, so there is no old record to wait for.
DIRECT: Settings = {"dnsPatience": 0}
THREE: Settings = {**DIRECT, "web.loadBalancer": True, "web.count": 3}
TWO: Settings = {**THREE, "web.count": 2}
PRIVATE: Settings = {**TWO, "web.publicNetwork": False}


@pytest.fixture(scope="module")
def api(world: World) -> Iterator[Api]:
    """Its API, past Pulumi."""
    with connect(world) as api:
        yield api
        PulumiStack(world).forget()


@pytest.fixture(scope="module")
def one(api: Api) -> PulumiStack:
    """The stack "local" with its one Droplet."""
    stack = PulumiStack(api.world)
    stack.up(settings=DIRECT)
    return stack


def order(steps: list[Step], *names: str) -> list[str]:
    """The steps with these resources, as they came."""
    wanted = [step for step in steps if step.name in names and not step.op.startswith("create-rep")]
    return [step.what for step in wanted if step.what != "create member-1"]


def test_a_site_moves_behind_a_load_balancer_and_back(one: PulumiStack, api: Api) -> None:
    """The name moves once the new way serves, and what is old goes after all else; nothing is left to do then."""
    steps = one.up(settings=THREE)
    moved = order(steps, "balancer", "rollout", "new-address", "record", "handover", "probe", "assignment", "address")
    assert moved == [
        "create balancer",
        "update rollout",
        "update new-address",
        "update record",
        "update handover",
        "update probe",
        "delete assignment",
        "delete address",
    ]
    one.run("up", "--yes", "--skip-preview", "--expect-no-changes", settings=THREE)
    outputs = one.outputs()
    assert (outputs["edge"], len(outputs["droplet_ids"])) == ("balanced", 3)
    assert outputs["connection_budget"]["demand"].endswith("x (3 + 3 surge) Droplets = 48 of 1000 clients")
    [record] = [
        found
        for found in api.ok(api.raw.get("/v2/domains/polls.example/records"))["domain_records"]
        if found["type"] == "A"
    ]
    assert record["data"] == outputs["ip_address"]

    steps = one.up(settings=TWO)
    assert order(steps, "member-3", "web-3") == ["delete member-3", "delete web-3"]

    steps = one.up(settings=DIRECT)
    back = order(steps, "assignment", "new-address", "record", "probe", "member-1", "web-2", "balancer", "certificate")
    assert back[:4] == ["create assignment", "update new-address", "update record", "update probe"]
    assert back.index("delete balancer") < back.index("delete certificate")
    assert back.index("delete member-1") > 3
    ends = ("balancer-end", "balancer-firewall", "balancer")
    assert order(steps, *ends) == [f"delete {name}" for name in ends]
    assert one.outputs()["edge"] == "direct"


def addresses(api: Api) -> list[set[str]]:
    """What kinds of addresses each Droplet of the account has."""
    droplets = api.ok(api.raw.get("/v2/droplets"))["droplets"]
    return [{network["type"] for network in droplet["networks"]["v4"]} for droplet in droplets]


def test_droplets_lose_their_public_address(one: PulumiStack, api: Api) -> None:
    """Side by side, and in one update with the move behind the balancer: the way out is there before who needs it."""
    steps = one.up(settings=PRIVATE)
    assert order(steps, "nat-gateway", "web-1", "rollout", "probe") == [
        "create nat-gateway",
        "replace web-1",
        "update rollout",
        "update probe",
        "delete-replaced web-1",
    ]
    assert addresses(api) == [{"private"}] * 2
    [gateway] = api.ok(api.raw.get("/v2/vpc_nat_gateways"))["vpc_nat_gateways"]
    assert one.outputs()["egress_ip_address"] == gateway["egresses"]["public_gateways"][0]["ipv4"]
    one.run("up", "--yes", "--skip-preview", "--refresh", "--expect-no-changes", settings=PRIVATE)


@pytest.mark.prove
def test_droplets_get_a_public_address_again(one: PulumiStack, api: Api) -> None:
    """The way out goes after the last one that needs it."""
    one.up(settings=PRIVATE)
    steps = one.up(settings=TWO)
    assert order(steps, "nat-gateway", "web-1", "probe") == [
        "replace web-1",
        "update probe",
        "delete-replaced web-1",
        "delete nat-gateway",
    ]
    assert addresses(api) == [{"public", "private"}] * 2
    assert "egress_ip_address" not in one.outputs()


def test_a_stack_without_public_addresses_ends(one: PulumiStack, api: Api) -> None:
    """Its Droplets first, which say good-bye by the way out; then that, then the VPC; nothing is left."""
    one.up(settings=PRIVATE)
    one.run("destroy", "--yes", "--skip-preview", settings=PRIVATE)
    left = [resource["kind"] for resource in api.ok(api.raw.get("/_sandbox/resources"))["resources"]]
    assert left == []
    asked = [
        request["path"].split("/")[2]
        for request in api.ok(api.raw.get("/_sandbox/requests"))["requests"]
        if request["method"] == "DELETE" and request["status"] < 300
    ]
    ends = ("droplets", "vpc_nat_gateways", "vpcs")
    assert list(dict.fromkeys(kind for kind in asked[-40:] if kind in ends)) == list(ends)


@pytest.fixture(scope="module")
def external(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Three Droplets under a name that others keep, with a certificate of the user's own."""
    crt, key = certificates.issue(api.world, ["polls.example"], tmp_path_factory.mktemp("own") / "site")
    own = {"web.certificate.chain": Secret(crt.read_text()), "web.certificate.privateKey": Secret(key.read_text())}
    return {**THREE, "dns": "external", **own}


def test_as_many_droplets_as_the_account_may_have(api: Api, external: Settings) -> None:
    """A preview refuses more. An update asks before the first is made: at the last one the others are there."""
    stack = PulumiStack(api.world)
    stack.forget()
    api.switch(droplet_limit="3")
    try:
        refused = stack.run("preview", settings={**THREE, "web.count": 4}, check=False)
        assert refused.returncode != 0
        assert "web.count: must fit the account, which may have 3 Droplets and has 0, got 4" in refused.stdout
        assert api.client.droplets.list()["droplets"] == []
        stack.up(settings=external)
        assert len(stack.outputs()["droplet_ids"]) == 3
    finally:
        api.switch(droplet_limit="90")


def test_a_first_deployment_behind_a_balancer_ends_before_its_record_is_there(api: Api, external: Settings) -> None:
    """The release answers at the balancer's address, by TLS, which makes it a good one; the record is left to do."""
    stack = PulumiStack(api.world)
    stack.up(settings=external)
    outputs = stack.outputs()
    assert outputs["pending"].startswith(f"create the DNS record `polls.example. A {outputs['ip_address']}`")
    good = api.s3().get_object(Bucket=outputs["buckets"]["releases"], Key="good.json")
    assert json.loads(good["Body"].read())["release"] == outputs["release"]
