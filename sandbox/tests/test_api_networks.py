"""VPCs, tags, Cloud Firewalls, Reserved IPs, domains and CDN endpoints keep DigitalOcean's rules."""

from collections.abc import Callable
from http import HTTPStatus

import pytest
from azure.core.exceptions import HttpResponseError

from tests.api_client import CLUSTER, DROPLET, PUBLIC_KEY, Api, Body, until

WEB: Body = {"protocol": "tcp", "ports": "443", "sources": {"addresses": ["0.0.0.0/0", "::/0"]}}
OUT: Body = {"protocol": "tcp", "ports": "all", "destinations": {"addresses": ["0.0.0.0/0"]}}


@pytest.mark.parametrize(
    ("ip_range", "said"),
    [
        ("10.10.8.0/24", "overlaps with another VPC network in your account: net"),
        ("10.0.0.0/15", "from /16 to /28"),
        ("10.20.0.0/29", "from /16 to /28"),
        ("8.8.8.0/24", "must be private"),
        ("10.244.1.0/24", "which DigitalOcean reserves"),
        ("10.20.0.1/24", "CIDR notation"),
        ("nonsense", "CIDR notation"),
    ],
)
def test_vpc_range_rules(api: Api, ip_range: str, said: str) -> None:
    """A bad range is refused with the rule that it breaks."""
    api.vpc("net", "10.10.0.0/20")
    response = api.post("/v2/vpcs", {"name": "other", "region": "nyc3", "ip_range": ip_range})
    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert said in response.json()["message"]


def test_vpc_without_a_range_gets_a_free_one(api: Api) -> None:
    """Two automatic ranges don't overlap."""
    ranges = {api.client.vpcs.create({"name": n, "region": "nyc3"})["vpc"]["ip_range"] for n in ("a", "b")}
    assert len(ranges) == 2


@pytest.mark.parametrize("fields", [{"name": "a_b"}, {"name": "net"}, {"region": "mars1"}])
def test_vpc_names_and_regions(api: Api, fields: Body) -> None:
    """Underscores, names in use and unknown regions are refused."""
    api.vpc("net")
    response = api.post("/v2/vpcs", {"name": "other", "region": "nyc3"} | fields)
    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_vpc_can_be_renamed(api: Api) -> None:
    """PUT changes name and description and nothing else."""
    vpc = api.vpc("before")
    changed = api.client.vpcs.update(vpc["id"], {"name": "after", "description": "words"})["vpc"]
    assert changed == vpc | {"name": "after", "description": "words"}


def test_vpc_with_members_stays(api: Api) -> None:
    """A VPC can't be deleted under its Droplets and clusters, and can afterwards."""
    vpc = api.vpc()
    droplet, cluster = api.droplet(vpc_uuid=vpc["id"]), api.cluster(private_network_uuid=vpc["id"])
    members = {member["urn"] for member in api.client.vpcs.list_members(vpc["id"])["members"]}
    assert members == {f"do:droplet:{droplet['id']}", f"do:dbaas:{cluster['id']}"}
    deletions: tuple[Callable[[], object], ...] = (
        lambda: api.client.droplets.destroy(droplet["id"]),
        lambda: api.client.databases.destroy_cluster(cluster["id"]),
    )
    for delete in deletions:
        refused = api.raw.delete(f"/v2/vpcs/{vpc['id']}")
        assert (refused.status_code, refused.json()["message"]) == (409, "Can not delete VPC with members")
        delete()
    until(lambda: api.raw.delete(f"/v2/vpcs/{vpc['id']}").status_code, lambda status: status == HTTPStatus.NO_CONTENT)


def test_tag_counts_what_has_it(api: Api) -> None:
    """A tag's resources are counted by kind, and go away with the tag."""
    api.client.tags.create({"name": "web"})
    droplet = api.droplet(tags=["web"])
    resources = api.client.tags.get("web")["tag"]["resources"]
    assert (resources["count"], resources["droplets"]["count"], resources["databases"]["count"]) == (1, 1, 0)
    api.client.tags.delete("web")
    assert api.client.droplets.get(droplet["id"])["droplet"]["tags"] == []


def test_tags_are_put_on_and_taken_off(api: Api) -> None:
    """The calls that the provider makes when tags change."""
    cluster = api.cluster()
    api.client.tags.create({"name": "db"})
    body = {"resources": [{"resource_id": cluster["id"], "resource_type": "database"}]}
    api.client.tags.assign_resources("db", body)
    assert api.client.databases.get_cluster(cluster["id"])["database"]["tags"] == ["db"]
    api.client.tags.unassign_resources("db", body)
    assert api.client.databases.get_cluster(cluster["id"])["database"]["tags"] == []


def test_firewall_is_answered_as_the_provider_reads_it(api: Api) -> None:
    """All ports are "0", sources are objects, and PUT replaces everything."""
    api.client.tags.create({"name": "web"})
    body = {"name": "fw", "inbound_rules": [WEB, WEB | {"protocol": "icmp", "ports": ""}], "outbound_rules": [OUT]}
    firewall = api.ok(api.post("/v2/firewalls", body | {"tags": ["web"], "droplet_ids": None}))["firewall"]
    assert [rule["ports"] for rule in firewall["inbound_rules"]] == ["443", "0"]
    assert firewall["outbound_rules"][0]["ports"] == "0"
    assert firewall["inbound_rules"][0]["sources"] == WEB["sources"]
    changed = api.client.firewalls.update(firewall["id"], {"name": "fw", "inbound_rules": [WEB]})["firewall"]
    assert (changed["outbound_rules"], changed["tags"], changed["id"]) == ([], [], firewall["id"])


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"inbound_rules": []}, 422),
        ({"inbound_rules": [WEB | {"ports": "70000"}]}, 422),
        ({"inbound_rules": [WEB | {"ports": "90-80"}]}, 422),
        ({"inbound_rules": [WEB | {"ports": "0070"}]}, 422),
        ({"inbound_rules": [WEB | {"sources": {}}]}, 422),
        ({"inbound_rules": [WEB | {"sources": {"addresses": ["all"]}}]}, 422),
        ({"inbound_rules": [WEB | {"sources": {"load_balancer_uids": ["x"]}}]}, 422),
        ({"inbound_rules": [WEB | {"sources": {"kubernetes_ids": ["x"]}}]}, 501),
        ({"tags": ["no-such-tag"]}, 422),
        ({"droplet_ids": [1]}, 422),
        ({"name": "taken"}, 409),
    ],
)
def test_firewall_rules_are_checked(api: Api, fields: Body, status: int) -> None:
    """A rule that could not work is refused."""
    api.client.firewalls.create({"name": "taken", "inbound_rules": [WEB]})
    response = api.post("/v2/firewalls", {"name": "fw", "inbound_rules": [WEB]} | fields)
    assert response.status_code == status


def test_reserved_ip_moves(api: Api) -> None:
    """Assigning to another Droplet moves the address; unassigning frees it."""
    one, two = api.droplet(name="one"), api.droplet(name="two")
    ip = api.client.reserved_ips.create({"region": "nyc3"})["reserved_ip"]
    assert (ip["droplet"], ip["region"]["slug"]) == (None, "nyc3")
    for droplet in (one, two):
        api.assign(ip["ip"], droplet["id"])
        seen = api.client.reserved_ips.get(ip["ip"])["reserved_ip"]
        assert seen["droplet"]["id"] == droplet["id"]
    api.client.reserved_ips_actions.post(ip["ip"], {"type": "unassign"})
    until(lambda: api.client.reserved_ips.get(ip["ip"])["reserved_ip"]["droplet"], lambda droplet: droplet is None)


def test_a_reserved_ip_that_was_given_back_is_not_given_out_next(api: Api) -> None:
    """Who still asks for it finds nothing, as where there are many addresses."""
    first, second = (api.client.reserved_ips.create({"region": "nyc3"})["reserved_ip"]["ip"] for _ in range(2))
    api.client.reserved_ips.delete(first)
    assert api.client.reserved_ips.create({"region": "nyc3"})["reserved_ip"]["ip"] not in {first, second}
    assert api.raw.get(f"/v2/reserved_ips/{first}").status_code == HTTPStatus.NOT_FOUND


def test_a_reserved_ip_answers_under_its_earlier_name(api: Api) -> None:
    """What is made by one name is there by the other, and can be moved and deleted by it."""
    droplet = api.droplet()
    made = api.ok(api.post("/v2/floating_ips", {"region": "nyc3"}))["floating_ip"]
    path = f"/v2/floating_ips/{made['ip']}"
    assert api.client.reserved_ips.get(made["ip"])["reserved_ip"] == made
    action = api.ok(api.post(f"{path}/actions", {"type": "assign", "droplet_id": droplet["id"]}))["action"]
    until(
        lambda: api.ok(api.raw.get(f"{path}/actions/{action['id']}"))["action"]["status"],
        lambda status: status == "completed",
    )
    assert [one["id"] for one in api.ok(api.raw.get(f"{path}/actions"))["actions"]] == [action["id"]]
    [listed] = api.ok(api.raw.get("/v2/floating_ips"))["floating_ips"]
    assert listed["droplet"]["id"] == droplet["id"]
    assert api.raw.delete(path).status_code == HTTPStatus.NO_CONTENT
    assert api.raw.get(path).status_code == HTTPStatus.NOT_FOUND


def test_reserved_ip_is_bound_to_its_region(api: Api) -> None:
    """An address of another region, or for no Droplet, is refused."""
    ip = api.client.reserved_ips.create({"region": "ams3"})["reserved_ip"]["ip"]
    droplet = api.droplet()
    for droplet_id in (droplet["id"], 1):
        response = api.post(f"/v2/reserved_ips/{ip}/actions", {"type": "assign", "droplet_id": droplet_id})
        assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_destroying_a_droplet_frees_its_reserved_ip(api: Api) -> None:
    """The address stays, without a Droplet."""
    droplet = api.droplet()
    ip = api.client.reserved_ips.create({"region": "nyc3"})["reserved_ip"]["ip"]
    api.assign(ip, droplet["id"])
    api.client.droplets.destroy(droplet["id"])
    until(lambda: api.client.reserved_ips.get(ip)["reserved_ip"]["droplet"], lambda found: found is None)


def test_domain_begins_with_its_name_servers(api: Api) -> None:
    """A new zone has SOA and NS records, and its zone file shows new ones."""
    api.client.domains.create({"name": "polls.example"})
    records = api.client.domains.list_records("polls.example")["domain_records"]
    assert [record["type"] for record in records] == ["SOA", "NS", "NS", "NS"]
    record = api.client.domains.create_record("polls.example", {"type": "A", "name": "@", "data": "198.51.100.7"})
    assert record["domain_record"]["ttl"] == 1800
    assert "polls.example. 1800 IN A 198.51.100.7" in api.client.domains.get("polls.example")["domain"]["zone_file"]


def test_record_changes_in_place(api: Api) -> None:
    """Data and TTL change; the id stays."""
    api.client.domains.create({"name": "polls.example"})
    body = {"type": "A", "name": "www", "data": "198.51.100.7"}
    record = api.client.domains.create_record("polls.example", body)["domain_record"]
    change = {"type": "A", "data": "198.51.100.8", "ttl": 60}
    changed = api.client.domains.update_record("polls.example", record["id"], change)["domain_record"]
    assert changed == record | {"data": "198.51.100.8", "ttl": 60}


@pytest.mark.parametrize(
    "record",
    [
        {"type": "A", "name": "@", "data": "not-an-address"},
        {"type": "A", "name": "@", "data": "198.51.100.7", "ttl": 5},
        {"type": "CNAME", "name": "www", "data": "polls.example"},
        {"type": "CNAME", "name": "@", "data": "other.example."},
        {"type": "A", "name": "bad name", "data": "198.51.100.7"},
        {"type": "PTR", "name": "@", "data": "x"},
        {"type": "MX", "name": "@", "data": "mail.example."},
        {"type": "SRV", "name": "_sip._tcp", "data": "sip.example.", "priority": 1},
        {"type": "CAA", "name": "@", "data": "letsencrypt.org.", "flags": 0},
        {"type": "CAA", "name": "@", "data": "letsencrypt.org", "flags": 0, "tag": "issue"},
        {"type": "A", "data": "198.51.100.7"},
    ],
)
def test_bad_records_are_refused(api: Api, record: Body) -> None:
    """A record that no zone can have is a 422."""
    api.client.domains.create({"name": "polls.example"})
    response = api.post("/v2/domains/polls.example/records", record)
    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_host_names_lose_their_dot_in_the_answer(api: Api) -> None:
    """The provider adds it again when it reads."""
    api.client.domains.create({"name": "polls.example"})
    record = {"type": "CNAME", "name": "www", "data": "other.example."}
    assert api.client.domains.create_record("polls.example", record)["domain_record"]["data"] == "other.example"


def test_domain_exists_once(api: Api) -> None:
    """A second zone of the same name is refused."""
    api.client.domains.create({"name": "polls.example"})
    with pytest.raises(HttpResponseError, match="name already exists"):
        api.client.domains.create({"name": "polls.example"})


def test_cdn_endpoint(api: Api) -> None:
    """The endpoint's host name comes from its origin; TTL changes in place."""
    origin = "assets.nyc3.digitaloceanspaces.com"
    endpoint = api.client.cdn.create_endpoint({"origin": origin, "ttl": 3600})["endpoint"]
    assert endpoint["endpoint"] == "assets.nyc3.cdn.digitaloceanspaces.com"
    assert api.client.cdn.update_endpoints(endpoint["id"], {"ttl": 60})["endpoint"]["ttl"] == 60
    assert api.post("/v2/cdn/endpoints", {"origin": origin}).status_code == HTTPStatus.CONFLICT


@pytest.mark.parametrize("fields", [{"ttl": 61}, {"origin": "assets.example.org"}, {"custom_domain": "cdn.example"}])
def test_bad_cdn_endpoints_are_refused(api: Api, fields: Body) -> None:
    """Odd lifetimes and foreign origins are 422, what the sandbox lacks is 501."""
    body = {"origin": "assets.nyc3.digitaloceanspaces.com", "ttl": 60} | fields
    wanted = 501 if "custom_domain" in fields else 422
    assert api.post("/v2/cdn/endpoints", body).status_code == wanted


def test_ssh_key_is_known_by_fingerprint_too(api: Api) -> None:
    """A key is on the account once and found by id or fingerprint."""
    key = api.client.ssh_keys.create({"name": "k", "public_key": PUBLIC_KEY})["ssh_key"]
    assert api.client.ssh_keys.get(key["fingerprint"])["ssh_key"] == key
    with pytest.raises(HttpResponseError, match="already in use"):
        api.client.ssh_keys.create({"name": "again", "public_key": PUBLIC_KEY})
    with pytest.raises(HttpResponseError, match="Key invalid"):
        api.client.ssh_keys.create({"name": "bad", "public_key": "ssh-ed25519 xxx"})


def test_both_kinds_take_the_lowest_free_addresses(api: Api) -> None:
    """Two runs of one program get the same addresses."""
    vpc = api.vpc()["id"]
    droplet = api.droplet(vpc_uuid=vpc)
    addresses = {net["type"]: net["ip_address"] for net in droplet["networks"]["v4"]}
    assert addresses == {"public": "198.51.100.10", "private": "10.10.0.10"}


def test_vpc_of_another_region_is_refused(api: Api) -> None:
    """Droplets and clusters live in their VPC's region."""
    vpc = api.vpc()["id"]
    droplet = api.post("/v2/droplets", DROPLET | {"region": "ams3", "vpc_uuid": vpc})
    cluster = api.post("/v2/databases", CLUSTER | {"region": "ams3", "private_network_uuid": vpc})
    assert (droplet.status_code, cluster.status_code) == (422, 422)
