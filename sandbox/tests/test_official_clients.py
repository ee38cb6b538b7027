"""What official clients send is understood, with the zeros and nulls that Go writes for what is not set."""

from http import HTTPStatus
from ipaddress import IPv6Address, IPv6Network

import pytest

from sandbox.tests.recorded import RECORDED, Stock
from tests.api_client import DROPLET, Api, Body

ORIGIN = "polls-local-assets-d234f08.nyc3.digitaloceanspaces.com"


@pytest.mark.parametrize("product", sorted({recorded.product for recorded in RECORDED}))
def test_what_official_clients_sent_is_answered_rightly(api: Api, product: str) -> None:
    """Each request again, with the zeros and nulls that Go writes for what is not set; what is missing here says so."""
    stock = Stock(api)
    for recorded in RECORDED:
        if recorded.product == product:
            answer = stock.replay(recorded)
            assert answer.status_code == recorded.status, f"{recorded}: {answer.text}"
            missing = answer.status_code == HTTPStatus.NOT_IMPLEMENTED
            assert not missing or answer.json()["message"].startswith("sandbox: ")


def test_ubuntu_with_ipv6(api: Api) -> None:
    """There is an address of each kind; a machine of depth `full` has neither, and says so."""
    droplet = api.droplet(image="ubuntu-24-04-x64", ipv6=True)
    assert droplet["image"]["distribution"] == "Ubuntu"
    [public] = droplet["networks"]["v6"]
    assert IPv6Address(public["ip_address"]) in IPv6Network(f"{public['gateway']}/{public['netmask']}", strict=False)


def test_a_droplet_may_have_no_public_address(api: Api) -> None:
    """It is in its VPC alone, and never gets one: no Reserved IP, no IPv6."""
    droplet = api.droplet(public_networking=False)
    assert [network["type"] for network in droplet["networks"]["v4"]] == ["private"]
    assert api.post("/v2/reserved_ips", {"droplet_id": droplet["id"]}).status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    both = DROPLET | {"public_networking": False, "ipv6": True}
    assert api.post("/v2/droplets", both).status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_trusted_sources_said_with_null_are_none(api: Api) -> None:
    """As Go writes an empty list; only silence about them is an error."""
    path = f"/v2/databases/{api.cluster()['id']}/firewall"
    api.raw.put(path, json={"rules": [{"type": "ip_addr", "value": "192.0.2.1"}]})
    assert api.raw.put(path, json={}).status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert api.raw.put(path, json={"rules": None}).status_code == HTTPStatus.NO_CONTENT
    assert api.ok(api.raw.get(path))["rules"] == []


@pytest.mark.parametrize(
    ("path", "body"), [("tags", {"name": "a b"}), ("droplets", DROPLET | {"tags": ["web", "a b"]})]
)
def test_a_name_that_no_tag_may_have_is_a_bad_request(api: Api, path: str, body: Body) -> None:
    """With all fields of this answer: those of every error, and the causes."""
    answer = api.post(f"/v2/{path}", body)
    said = 'Error validating resource tag: "tag-name \\"a b\\" contains invalid characters"'
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert answer.json() == {
        "id": "bad_request",
        "message": said,
        "request_id": answer.headers["x-request-id"],
        "error": said,
        "messages": None,
        "root_causes": [f"rpc error: code = InvalidArgument desc = {said}"],
    }
    assert api.client.tags.list()["tags"] == []


def test_an_image_is_what_clients_know(api: Api) -> None:
    """In regions of the API's description, which typed clients have; of the kind that Terraform's test expects."""
    known = {f"{name}{number}" for name in ("ams", "nyc", "sfo") for number in (1, 2, 3)}
    known |= {"blr1", "fra1", "lon1", "sgp1", "tor1", "syd1"}
    images = api.client.images.list()["images"]
    assert {region for image in images for region in image["regions"]} <= known
    assert {image["type"] for image in images} == {"snapshot"}


@pytest.mark.parametrize(("said", "kept"), [(None, "0"), ("all", "0"), ("1-65535", "1-65535")])
def test_icmp_has_no_ports_but_keeps_what_is_said_of_them(api: Api, said: str | None, kept: str) -> None:
    """Else Terraform, whose configurations have all of them, would find a difference in each plan."""
    rule = {"protocol": "icmp", "ports": said, "destinations": {"addresses": ["192.0.2.1"]}}
    made = api.ok(api.post("/v2/firewalls", {"name": "fw", "outbound_rules": [rule]}))["firewall"]
    assert made["outbound_rules"][0]["ports"] == kept


[POLICY] = [recorded.body | {"tags": []} for recorded in RECORDED if recorded.body and "alerts" in recorded.body]
NO_SLACK: Body = {"slack": None, "email": ["a@polls.example"]}
SLACK = [{"channel": "#a", "url": "https://hooks.slack.com/services/x"}]
NO_EMAIL: Body = {"slack": SLACK, "email": None}


@pytest.mark.parametrize("said", [{}, {"entities": None, "tags": None}])
def test_a_policy_may_be_about_every_droplet(api: Api, said: Body) -> None:
    """Neither entities nor tags are said with null, or not at all."""
    policy = {name: value for name, value in POLICY.items() if name not in {"entities", "tags"}} | said
    made = api.ok(api.post("/v2/monitoring/alerts", policy))["policy"]
    assert (made["entities"], made["tags"]) == ([], [])


@pytest.mark.parametrize("alerts", [NO_SLACK, NO_EMAIL, {"slack": SLACK}, {"email": ["a@polls.example"]}])
def test_no_address_is_said_with_null_or_not_at_all(api: Api, alerts: Body) -> None:
    """The policy then has an empty list of them."""
    made = api.ok(api.post("/v2/monitoring/alerts", POLICY | {"alerts": alerts}))["policy"]
    assert made["alerts"] == {name: alerts.get(name) or [] for name in ("slack", "email")}


def test_an_alert_policy_without_an_id_is_not_found(api: Api) -> None:
    """So Terraform's tests see that one is gone; elsewhere a slash at the end changes nothing."""
    assert api.raw.get("/v2/monitoring/alerts/").status_code == HTTPStatus.NOT_FOUND
    assert api.raw.get("/v2/monitoring/alerts").status_code == HTTPStatus.OK


@pytest.mark.parametrize("nobody", [{}, {"slack": None, "email": None}, {"slack": [], "email": []}])
def test_nobody_to_tell_is_refused(api: Api, nobody: Body) -> None:
    """Neither an address nor a channel, however it is said."""
    answer = api.post("/v2/monitoring/alerts", POLICY | {"alerts": nobody})
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
