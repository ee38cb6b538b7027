"""What official clients send is understood, with the zeros and nulls that Go writes for what is not set."""

import json
import re
from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from tests.sandbox.api_client import Api, Body, until

HERE = Path(__file__).parent


def recording(name: str) -> list[Body]:
    """The requests of a file."""
    return [json.loads(line) for line in (HERE / name).read_text().splitlines()]


# The requests of pulumi-digitalocean 4.76.0 for the stacks of this repository, one of each shape, in an order in which
# they can be sent again; `id` is what the answer called the new resource when they were recorded.
RECORDED = recording("official_requests.jsonl")
# The same of some 200 everyday commands of doctl (168188d3) for claimed products, and of pydo 0.44.0, a call for each
# operation with the body of its example; with what both ask for in vain, which has its right status, too.
CLIENTS = {"doctl": recording("doctl_requests.jsonl"), "pydo": recording("pydo_requests.jsonl")}
BUCKETS = ("polls-local-media-430beaf", "polls-local-assets-d234f08")
ORIGIN = "polls-local-assets-d234f08.nyc3.digitaloceanspaces.com"


def settled(api: Api) -> None:
    """Wait until nothing is under way any more, as the provider does after each request."""

    def busy() -> list[str]:
        droplets, clusters = api.client.droplets.list()["droplets"], api.client.databases.list_clusters()
        actions = api.client.actions.list()["actions"]
        found = [droplet["status"] for droplet in droplets if droplet["status"] == "new"]
        found += [cluster["status"] for cluster in clusters.get("databases", []) if cluster["status"] != "online"]
        return found + [action["type"] for action in actions if action["status"] == "in-progress"]

    until(busy, lambda found: not found)


def test_the_official_plugin_s_requests_are_accepted(api: Api) -> None:
    """One after the other, each with the status that it waits for; null for no e-mail and no Slack among them."""
    for bucket in BUCKETS:
        api.bucket(bucket)
    replay(api, RECORDED)


@pytest.mark.parametrize("name", CLIENTS)
def test_everyday_requests_of_digitalocean_s_own_clients_are_answered(api: Api, name: str) -> None:
    """One after the other, as these clients write them, each with its right status."""
    replay(api, CLIENTS[name])


def replay(api: Api, recording: Iterable[Body]) -> None:
    """Send requests again, with the ids of this run."""
    now: dict[str, str] = {}  # ids of the recording: those of this run
    for recorded in recording:
        known = "|".join(map(re.escape, now)) or "$^"  # in one go: an id of this run may be one of the recording's, too
        request = json.loads(re.sub(known, lambda match: now[match[0]], json.dumps(recorded)))
        answer = api.raw.request(request["method"], request["path"], json=request["body"])
        assert answer.status_code == request["status"], f"{request}: {answer.text}"
        if "id" in recorded:
            [made] = [value for name, value in answer.json().items() if name != "links"]
            name = next(name for name in ("id", "ip", "uuid", "access_key") if made.get(name))
            now[recorded["id"]] = str(made[name])
        if request["method"] != "GET":
            settled(api)


def test_a_token_is_good_as_doctl_asks_for_it(api: Api) -> None:
    """`doctl auth init` asks another name than the API's, and again and again for 31 s where nobody answers."""
    cloud = "https://cloud.digitalocean.com"
    info = api.ok(api.raw.get(f"{cloud}/v1/oauth/token/info"))
    assert info.keys() == {"resource_owner_id", "scopes", "expires_in_seconds", "application", "created_at"}
    assert api.raw.get(f"{cloud}/v1/oauth/token/info", headers={"Authorization": "Bearer x"}).status_code == 401


@pytest.mark.parametrize(
    "address",
    [
        "https://cloud.digitalocean.com/v2/account",
        "https://cloud.digitalocean.com/",
        "https://api.digitalocean.com/v1/oauth/token/info",
    ],
)
def test_each_name_has_its_own_calls(api: Api, address: str) -> None:
    """Nothing of the control panel is there but that."""
    assert api.raw.get(address).status_code == 404


# What terraform-provider-digitalocean 2.99.1 sends in its own acceptance tests to make things of claimed products, one
# of each shape, with the right status of the answer; what needs something with an id first is left out.
TERRAFORM = recording("terraform_requests.jsonl")


@pytest.mark.parametrize("path", sorted({line["path"].removeprefix("/v2/").split("/")[0] for line in TERRAFORM}))
def test_terraform_s_requests_are_accepted(api: Api, path: str) -> None:
    """Zeros, empty texts and nulls for what is not set, names with the zone, IPv6 and Ubuntu among them."""
    for recorded in [line for line in TERRAFORM if line["path"].startswith(f"/v2/{path}")]:
        api.delete_everything()
        body = recorded["body"]
        if zone := re.fullmatch(r"/v2/domains/(.+)/records", recorded["path"]):
            api.client.domains.create({"name": zone[1]})
        for tag in re.findall(r"tf-acc-test--tag\w+", json.dumps(body)):
            api.client.tags.create({"name": tag})
        answer = api.post(recorded["path"], body)
        assert answer.status_code == recorded["status"], f"{recorded}: {answer.text}"


def test_ubuntu_with_ipv6(api: Api) -> None:
    """There is an address of each kind; a machine of depth `full` has neither, and says so."""
    droplet = api.droplet(image="ubuntu-24-04-x64", ipv6=True)
    assert droplet["image"]["distribution"] == "Ubuntu"
    [public] = droplet["networks"]["v6"]
    assert IPv6Address(public["ip_address"]) in IPv6Network(f"{public['gateway']}/{public['netmask']}", strict=False)


def test_icmp_has_no_ports_whatever_is_said_of_them(api: Api) -> None:
    """Terraform's configurations have all of them."""
    rule = {"protocol": "icmp", "ports": "1-65535", "destinations": {"addresses": ["192.0.2.1"]}}
    made = api.ok(api.post("/v2/firewalls", {"name": "fw", "outbound_rules": [rule]}))["firewall"]
    assert made["outbound_rules"][0]["ports"] == "0"


NO_SLACK: Body = {"slack": None, "email": ["a@polls.example"]}
NO_EMAIL: Body = {"slack": [{"channel": "#a", "url": "https://hooks.slack.com/services/x"}], "email": None}


@pytest.mark.parametrize("alerts", [NO_SLACK, NO_EMAIL])
def test_no_address_is_said_with_null(api: Api, alerts: Body) -> None:
    """The policy then has an empty list of them."""
    [policy] = [recorded["body"] for recorded in RECORDED if recorded["path"] == "/v2/monitoring/alerts"]
    made = api.ok(api.post("/v2/monitoring/alerts", policy | {"alerts": alerts}))["policy"]
    assert made["alerts"] == {name: value or [] for name, value in alerts.items()}


def test_nobody_to_tell_is_refused_also_as_null(api: Api) -> None:
    """Neither an address nor a channel, however it is said."""
    [policy] = [recorded["body"] for recorded in RECORDED if recorded["path"] == "/v2/monitoring/alerts"]
    answer = api.post("/v2/monitoring/alerts", policy | {"alerts": {"slack": None, "email": None}})
    assert "alerts: must name an e-mail address or a Slack channel, got neither" in answer.json()["message"]


def test_no_lifetime_is_said_with_zero(api: Api) -> None:
    """A CDN endpoint without one keeps files for an hour, as DigitalOcean's own test of its provider expects."""
    made = api.ok(api.post("/v2/cdn/endpoints", {"origin": ORIGIN, "ttl": 0}))["endpoint"]
    assert made["ttl"] == 3600
    api.ok(api.raw.put(f"/v2/cdn/endpoints/{made['id']}", json={"ttl": 60}))
    assert api.ok(api.raw.put(f"/v2/cdn/endpoints/{made['id']}", json={"ttl": 0}))["endpoint"]["ttl"] == 3600


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("terraform.polls.example.", "terraform"),
        ("polls.example.", "@"),
        ("a.b.polls.example.", "a.b"),
        ("*.polls.example.", "*"),
        ("*.a", "*.a"),
        ("terraform", "terraform"),
    ],
)
def test_a_record_may_have_its_full_name(api: Api, sent: str, kept: str) -> None:
    """With a dot at the end; the answer has what is below the domain, as DigitalOcean's own test expects."""
    api.client.domains.create({"name": "polls.example"})
    record = {"type": "A", "name": sent, "data": "192.0.2.10", "priority": 0, "port": 0, "weight": 0, "flags": 0}
    assert api.ok(api.post("/v2/domains/polls.example/records", record))["domain_record"]["name"] == kept


def test_a_full_name_of_another_domain_is_refused(api: Api) -> None:
    """Also of one that merely ends the same."""
    api.client.domains.create({"name": "polls.example"})
    record = {"type": "A", "name": "www.otherpolls.example.", "data": "192.0.2.10"}
    assert "name: must be @ or a name below polls.example" in api.post("/v2/domains/polls.example/records", record).text


ZERO: Body = {"priority": 0, "port": 0, "weight": 0, "flags": 0}  # what Go writes for what is not set
NOT_SET: Body = dict.fromkeys([*ZERO, "tag"])


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"type": "A", "data": "192.0.2.10"}, {"data": "192.0.2.10"}),
        ({"type": "TXT", "data": "v=spf1 -all"}, {"data": "v=spf1 -all"}),
        ({"type": "CNAME", "data": "polls.example."}, {"data": "@"}),
        ({"type": "CNAME", "data": "www.polls.example."}, {"data": "www.polls.example"}),
        ({"type": "MX", "data": "polls.example."}, {"data": "@", "priority": 0}),
        ({"type": "MX", "data": "@", "priority": 10}, {"data": "@", "priority": 10}),
        ({"type": "NS", "data": "ns1.example.org."}, {"data": "ns1.example.org"}),
        (
            {"type": "SRV", "data": "sip.example.org.", "priority": 5},
            {"data": "sip.example.org", "priority": 5, "port": 0, "weight": 0},
        ),
        (
            {"type": "CAA", "data": "letsencrypt.org.", "tag": "issue"},
            {"data": "letsencrypt.org", "flags": 0, "tag": "issue"},
        ),
        (
            {"type": "CAA", "data": "mailto:a@polls.example", "tag": "iodef"},
            {"data": "mailto:a@polls.example", "flags": 0, "tag": "iodef"},
        ),
    ],
)
def test_a_record_has_what_its_type_has(api: Api, sent: Body, kept: Body) -> None:
    """Zeros of these fields stay, all others are null; hosts lose their dot, and the domain's own is @."""
    api.client.domains.create({"name": "polls.example"})
    made = api.ok(api.post("/v2/domains/polls.example/records", {"name": "a"} | ZERO | sent))["domain_record"]
    assert made == {"id": made["id"], "type": sent["type"], "name": "a", "ttl": 1800} | NOT_SET | kept
    same = ZERO | {name: value for name, value in sent.items() if name != "type"}
    again = api.ok(api.raw.put(f"/v2/domains/polls.example/records/{made['id']}", json=same))["domain_record"]
    assert again == made


def test_a_zone_file_has_what_its_records_have(api: Api) -> None:
    """Numbers in the order of the DNS, text and tags in quotation marks."""
    api.client.domains.create({"name": "polls.example"})
    for record in (
        {"type": "SRV", "name": "_sip._tcp", "data": "sip.example.org.", "priority": 5, "port": 5060, "weight": 7},
        {"type": "CAA", "name": "@", "data": "letsencrypt.org.", "flags": 0, "tag": "issue"},
        {"type": "TXT", "name": "@", "data": "v=spf1 -all"},
        {"type": "MX", "name": "@", "data": "@", "priority": 10},
    ):
        api.ok(api.post("/v2/domains/polls.example/records", record))
    lines = api.client.domains.get("polls.example")["domain"]["zone_file"].splitlines()
    assert lines[-4:] == [
        "_sip._tcp.polls.example. 1800 IN SRV 5 7 5060 sip.example.org.",
        'polls.example. 1800 IN CAA 0 issue "letsencrypt.org"',
        'polls.example. 1800 IN TXT "v=spf1 -all"',
        "polls.example. 1800 IN MX 10 @",
    ]
