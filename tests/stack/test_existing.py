"""What the account has already: said before anything is made, taken over as the message says, or left alone."""

import re
import shlex
from collections.abc import Iterator

import pytest

from sandbox.model.store import Store
from sandbox.world.world import World
from tests.api_client import Api, connect
from tests.pulumi_stack import PulumiStack, Settings
from tests.worlds import last_request

DOMAIN = "polls.example"
MX = {"type": "MX", "name": "@", "data": "mail.polls.example.", "priority": 10}
CIDR = "10.20.0.0/20"
RANGE: Settings = {"network.cidr": CIDR}
COMMANDS = (("preview",), ("up", "--yes"), ("up", "--yes", "--skip-preview"))


@pytest.fixture
def api(world: World) -> Iterator[Api]:
    """Its API, past Pulumi, on an account with nothing in it, before and afterwards."""
    with connect(world) as api:
        yield api
        api.raw.delete("/_sandbox/faults")
        stack = PulumiStack(world)
        if set(stack.resources()) - {"django-do-local"}:
            stack.run("state", "unprotect", "--all", "--yes")
            stack.run("destroy", "--yes", "--skip-preview")
        api.delete_everything()


@pytest.fixture
def stack(api: Api) -> PulumiStack:
    """The stack "local", not deployed yet."""
    return PulumiStack(api.world)


def zone(api: Api, name: str, *records: dict[str, object]) -> None:
    """Make a zone by hand."""
    api.ok(api.post("/v2/domains", {"name": name}))
    for record in records:
        api.ok(api.post(f"/v2/domains/{name}/records", record))


def records(api: Api, name: str) -> list[tuple[str, str, str]]:
    """Type, name and data of what a zone has beside SOA and NS."""
    found = api.ok(api.raw.get(f"/v2/domains/{name}/records?per_page=200"))["domain_records"]
    return sorted((one["type"], one["name"], one["data"]) for one in found if one["type"] not in {"SOA", "NS"})


def bodies(world: World) -> dict[str, object]:
    """Everything in the account, as it is."""
    return {f"{one.kind} {one.id}": one.body for one in Store(world.database, read_only=True).all()}


def refused(stack: PulumiStack, *argv: str, settings: Settings | None = None) -> str:
    """What a command prints that is refused, in one line; the account is as it was before."""
    before = bodies(stack.world)
    done = stack.run(*argv, settings=settings, check=False)
    printed = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0, printed
    assert "Traceback" not in printed
    assert bodies(stack.world) == before, printed
    # Components and providers are nothing but names in the state.
    made = [name for name, one in stack.resources().items() if one["custom"] and "pulumi:providers:" not in one["type"]]
    assert made == []
    return printed


def take_over(stack: PulumiStack, printed: str, kind: str, settings: Settings | None = None) -> None:
    """Run the command of a message, by the words that it has; scripts/stack names the stack itself."""
    [command] = dict.fromkeys(re.findall(rf"`pulumi (import digitalocean:index/{kind}:[^`]*)`", printed))
    words = shlex.split(command.replace(f" --stack {stack.name}", ""))
    stack.run(*words, "--yes", "--skip-preview", settings=settings)


def test_a_zone_with_mail_is_kept_and_taken_over(api: Api, stack: PulumiStack) -> None:
    """Refused before anything is made; imported as the message says, the mail stays.

    Afterwards there is nothing to say and nothing to do, and nobody asks for it again.
    """
    zone(api, DOMAIN, MX)
    printed = refused(stack, "preview")
    rule = "domain: must not be a zone of the account already"
    assert f'{rule}, "{DOMAIN}" is one with records of others (MX)' in printed
    assert "dns: external" in printed
    assert records(api, DOMAIN) == [("MX", "@", "mail.polls.example")]

    take_over(stack, printed, "domain")
    stack.up()
    address = stack.outputs()["ip_address"]
    assert records(api, DOMAIN) == [("A", "@", address), ("MX", "@", "mail.polls.example")]
    mark = last_request(stack.world)
    done = stack.run("preview", "--expect-no-changes")
    assert "already" not in done.stdout + done.stderr
    requests = [request["path"] for request in Store(stack.world.database, read_only=True).requests(mark)]
    assert [path for path in requests if not path.endswith("/ca")] == []
    stack.settled()


@pytest.mark.prove
def test_an_address_of_the_name_is_not_doubled(api: Api, stack: PulumiStack) -> None:
    """Visitors are never sent to both: the imported zone's own address is deleted first, or taken over and moved."""
    zone(api, DOMAIN, {"type": "A", "name": "@", "data": "203.0.113.5"})
    take_over(stack, refused(stack, "preview"), "domain")
    done = stack.run("preview", check=False)
    printed = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert f'domain: must have no address in its zone yet, "{DOMAIN}" has A 203.0.113.5' in printed
    take_over(stack, printed, "dnsRecord")
    stack.up()
    assert records(api, DOMAIN) == [("A", "@", stack.outputs()["ip_address"])]
    stack.settled()


@pytest.mark.prove
def test_dns_external_leaves_a_zone_alone(api: Api, stack: PulumiStack) -> None:
    """The way out that needs no import; `destroy` leaves the zone, too."""
    zone(api, DOMAIN, MX)
    external = {"dns": "external"}
    stack.up(settings=external)
    assert "create the DNS record" in stack.outputs()["pending"]
    stack.run("destroy", "--yes", "--skip-preview")
    assert records(api, DOMAIN) == [("MX", "@", "mail.polls.example")]


@pytest.mark.prove
def test_a_zone_above_is_said(api: Api, stack: PulumiStack) -> None:
    """Refused where it has records that would be hidden, else a line; what delegates is in nobody's way."""
    settings = {"domain": "shop.acme.example"}
    zone(api, "acme.example", {"type": "CNAME", "name": "www.shop", "data": "elsewhere.example."})
    for argv in COMMANDS:
        assert "www.shop CNAME elsewhere.example" in refused(stack, *argv, settings=settings)
    zone(api, "acme2.example", {"type": "NS", "name": "shop", "data": "ns1.digitalocean.com."})
    done = stack.run("preview", settings={"domain": "shop.acme2.example"})
    assert "acme2.example is a zone of the account already" in " ".join((done.stdout + done.stderr).split())


@pytest.mark.prove
@pytest.mark.parametrize("ip_range", ["10.20.8.0/24", "10.20.0.0/16"])
def test_a_vpc_that_overlaps_is_refused(api: Api, stack: PulumiStack, ip_range: str) -> None:
    """With its name; another range is the way out."""
    api.vpc("by-hand", ip_range)
    for argv in COMMANDS:
        printed = refused(stack, *argv, settings=RANGE)
        assert f'got "{CIDR}", and "by-hand" (nyc3) has {ip_range}; choose another range (' in printed
    stack.run("preview", settings={"network.cidr": "10.60.0.0/20"})


@pytest.mark.prove
def test_the_same_vpc_is_taken_over(api: Api, stack: PulumiStack) -> None:
    """As the message says, and nothing is left to do."""
    vpc = api.vpc("by-hand", CIDR)
    take_over(stack, refused(stack, "preview", settings=RANGE), "vpc")
    stack.up(settings=RANGE)
    assert stack.resources()["vpc"]["id"] == vpc["id"]
    stack.run("up", "--yes", "--skip-preview", "--expect-no-changes", settings=RANGE)


@pytest.mark.prove
def test_a_cluster_of_the_name_is_taken_over_with_its_data(api: Api, stack: PulumiStack) -> None:
    """Refused before there is a network, with and without a preview; then network and cluster are imported."""
    vpc = api.vpc("reports", "10.70.0.0/20")
    cluster = api.cluster(name="polls-local-db", private_network_uuid=vpc["id"], size="db-s-1vcpu-1gb", version="17")
    for argv in COMMANDS:
        printed = refused(stack, *argv)
        assert 'the account has a database cluster "polls-local-db" (pg 17, db-s-1vcpu-1gb, nyc3) already' in printed
        assert cluster["connection"]["password"] not in printed
    settings = {"network.cidr": "10.70.0.0/20"}
    take_over(stack, printed, "vpc")
    take_over(stack, printed, "databaseCluster")
    steps = {step.what for step in stack.up(settings=settings)}
    assert not {f"{op} db" for op in ("create", "replace", "delete", "create-replacement")} & steps
    assert stack.outputs()["database_id"] == cluster["id"]


@pytest.mark.prove
def test_the_tag_of_another_stack_is_refused(api: Api, stack: PulumiStack) -> None:
    """Its Droplets would pass the trusted sources; a tag that nobody has is taken as it is."""
    api.ok(api.post("/v2/tags", {"name": "polls-local-web"}))
    stack.run("preview")
    api.droplet(tags=["polls-local-web"])
    assert '1 of the account have the tag "polls-local-web" already' in refused(stack, "preview")


@pytest.mark.prove
def test_one_resource_at_a_time_is_enough(api: Api, stack: PulumiStack) -> None:
    """With `--parallel 1` the engine can't come to the second while the first is held back, and goes on."""
    zone(api, DOMAIN)
    printed = refused(stack, "preview", "--parallel", "1")
    assert f'"{DOMAIN}" is one' in printed
    api.raw.delete(f"/v2/domains/{DOMAIN}")
    stack.up("--parallel", "1")
    stack.settled()


@pytest.mark.parametrize(
    "status", [pytest.param(401, marks=pytest.mark.prove), 403, pytest.param(503, marks=pytest.mark.prove)]
)
def test_a_token_that_may_not_read_is_a_line(api: Api, stack: PulumiStack, status: int) -> None:
    """Previews go on, and say so once."""
    for path in ("/v2/domains/*", "/v2/vpcs", "/v2/databases", "/v2/tags/*"):
        api.fault(kind="status", method="GET", path=path, status=status, count=50)
    done = stack.run("preview")
    printed = " ".join((done.stdout + done.stderr).split())
    assert f"is answered with {status}" in printed
    assert "to create" in printed


def test_a_first_release_that_fails_can_be_looked_into(api: Api, stack: PulumiStack) -> None:
    """Droplets, database, Spaces and the superuser's password are outputs; the error says where to look."""
    update = stack.start("up", "--yes", "--skip-preview")
    broken = False
    while update.poll() is None and not broken:
        for bucket in api.s3().list_buckets()["Buckets"]:
            for found in api.s3().list_objects_v2(Bucket=bucket["Name"], Prefix="artifacts/").get("Contents", []):
                api.s3().put_object(Bucket=bucket["Name"], Key=found["Key"], Body=b"not what was uploaded")
                broken = True
    said = " ".join(update.communicate(timeout=300)[0].split())
    assert update.returncode != 0
    assert "must have SHA-256" in said
    outputs = stack.outputs()
    [droplet] = outputs["droplet_ids"]
    assert f"{outputs['buckets']['state']}/nodes/{droplet}.json in Spaces" in said
    assert outputs["database_id"] == stack.resources()["db"]["id"]
    assert outputs["superuser_password"] == stack.resources()["superuser-password"]["outputs"]["value"][
        "plaintext"
    ].strip('"')
    assert "release" not in outputs
    shown = stack.run("stack", "output", "--json").stdout
    assert outputs["superuser_password"] not in shown
