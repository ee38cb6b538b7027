"""Networks, firewalls, CDN and addresses are changed in part, by calls of their own."""

from http import HTTPStatus

import pytest

from sandbox.model.plans import IMAGES
from tests.api_client import DROPLET, PUBLIC_KEY, Api, Body

ORIGIN = "media.nyc3.digitaloceanspaces.com"
SSH: Body = {"protocol": "tcp", "ports": "22", "sources": {"addresses": ["192.0.2.0/24"]}}
WEB: Body = {"protocol": "tcp", "ports": "80", "sources": {"addresses": ["0.0.0.0/0"]}}
OUT: Body = {"protocol": "icmp", "ports": "", "destinations": {"addresses": ["0.0.0.0/0"]}}


def firewall(api: Api) -> tuple[str, str]:
    """One that has a rule, and its path."""
    made = api.client.firewalls.create({"name": "fw", "inbound_rules": [SSH]})["firewall"]
    return made["id"], f"/v2/firewalls/{made['id']}"


def shown(api: Api, firewall_id: str) -> Body:
    """How it is now."""
    found: Body = api.client.firewalls.get(firewall_id)["firewall"]
    return found


def send(api: Api, method: str, path: str, body: Body) -> int:
    """Send a body, also with DELETE."""
    return api.raw.request(method, path, json=body).status_code


def test_rules_come_and_go(api: Api) -> None:
    """One that is there is there once; what is taken away is what is the same, with ports as they are kept."""
    firewall_id, path = firewall(api)
    for _ in range(2):
        assert send(api, "POST", f"{path}/rules", {"inbound_rules": [WEB], "outbound_rules": [OUT]}) == 204
    now = shown(api, firewall_id)
    assert now["inbound_rules"] == [SSH, WEB]
    assert now["outbound_rules"] == [OUT | {"ports": "0"}]
    assert send(api, "DELETE", f"{path}/rules", {"inbound_rules": [SSH], "outbound_rules": [OUT]}) == 204
    now = shown(api, firewall_id)
    assert (now["inbound_rules"], now["outbound_rules"]) == ([WEB], [])


@pytest.mark.parametrize("body", [{}, {"inbound_rules": None, "outbound_rules": []}, {"inbound_rules": [{}]}])
def test_no_rules_are_refused(api: Api, body: Body) -> None:
    """Neither to add nor to take away."""
    _, path = firewall(api)
    assert {send(api, method, f"{path}/rules", body) for method in ("POST", "DELETE")} == {422}


def test_droplets_and_tags_come_and_go(api: Api) -> None:
    """What isn't there can't be put behind a firewall; to take it away changes nothing."""
    firewall_id, path = firewall(api)
    droplet = api.droplet(tags=["web"])
    for method, droplets, tags in (("POST", [droplet["id"]], ["web"]), ("DELETE", [], [])):
        assert send(api, method, f"{path}/droplets", {"droplet_ids": [droplet["id"]]}) == 204
        assert send(api, method, f"{path}/tags", {"tags": ["web"]}) == 204
        now = shown(api, firewall_id)
        assert (now["droplet_ids"], now["tags"]) == (droplets, tags)
    assert send(api, "POST", f"{path}/droplets", {"droplet_ids": [1]}) == 422
    assert send(api, "POST", f"{path}/tags", {"tags": ["nobody"]}) == 422
    assert send(api, "DELETE", f"{path}/droplets", {"droplet_ids": [1]}) == 204


def test_a_vpc_is_changed_in_part(api: Api) -> None:
    """PATCH keeps what isn't named; PUT needs the name."""
    vpc = api.vpc()
    path = f"/v2/vpcs/{vpc['id']}"
    described = api.ok(api.raw.patch(path, json={"description": "the first"}))["vpc"]
    assert described == vpc | {"description": "the first"}
    renamed = api.ok(api.raw.patch(path, json={"name": "other"}))["vpc"]
    assert renamed == described | {"name": "other"}
    assert "name: required" in api.raw.put(path, json={"description": "x"}).json()["message"]
    assert "description: must have at most 255" in api.raw.patch(path, json={"description": "x" * 256}).text


def test_another_default_vpc_of_a_region(api: Api) -> None:
    """Then the former one isn't any more; that there is none can't be said."""
    api.ok(api.post("/v2/droplets", DROPLET))  # into the default one, which is made for it
    path = f"/v2/vpcs/{api.vpc()['id']}"
    assert api.ok(api.raw.patch(path, json={"default": True}))["vpc"]["default"] is True
    assert [vpc["default"] for vpc in api.client.vpcs.list()["vpcs"] if vpc["region"] == "nyc3"].count(True) == 1
    assert api.raw.patch(path, json={"default": False}).status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    other = api.client.vpcs.create({"name": "next", "region": "nyc3"})["vpc"]["id"]
    api.ok(api.raw.patch(f"/v2/vpcs/{other}", json={"default": True}))


def test_an_address_comes_again_after_all_others(api: Api) -> None:
    """One that was given back may still be in somebody's cache."""
    seen = []
    for _ in range(51):
        ip = api.client.reserved_ips.create({"region": "nyc3"})["reserved_ip"]["ip"]
        seen.append(ip)
        api.client.reserved_ips.delete(ip)
    assert len(set(seen[:50])) == 50
    assert seen[50] == seen[0]


@pytest.mark.parametrize(
    ("files", "status"), [(["*"], 204), (["css/*", "index.html"], 204), ([], 422), (["*/a.css"], 422), (None, 422)]
)
def test_the_cache_of_a_cdn_is_purged(api: Api, files: list[str] | None, status: int) -> None:
    """By paths, of which a star may be the end."""
    cdn = api.client.cdn.create_endpoint({"origin": ORIGIN})["endpoint"]["id"]
    assert send(api, "DELETE", f"/v2/cdn/endpoints/{cdn}/cache", {"files": files}) == status
    assert send(api, "DELETE", "/v2/cdn/endpoints/x/cache", {"files": ["*"]}) == HTTPStatus.NOT_FOUND


def test_an_ssh_key_is_renamed_and_deleted_by_its_fingerprint(api: Api) -> None:
    """As doctl does it."""
    key = api.client.ssh_keys.create({"name": "k", "public_key": PUBLIC_KEY})["ssh_key"]
    path = f"/v2/account/keys/{key['fingerprint']}"
    assert api.ok(api.raw.put(path, json={"name": "desk"}))["ssh_key"] == key | {"name": "desk"}
    assert api.raw.delete(path).status_code == HTTPStatus.NO_CONTENT
    assert api.client.ssh_keys.list()["ssh_keys"] == []


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("type=distribution", len(IMAGES)),
        ("type=application", 0),
        ("private=true", 0),
        ("private=false", len(IMAGES)),
        ("tag_name=base", 0),
        ("type=distribution&private=true", 0),
        ("page=2&per_page=3", len(IMAGES) - 3),
    ],
)
def test_images_are_filtered(api: Api, query: str, count: int) -> None:
    """All here are distributions that everybody has."""
    assert len(api.ok(api.raw.get(f"/v2/images?{query}"))["images"]) == count


def test_an_unknown_type_of_images_is_refused(api: Api) -> None:
    """There are two."""
    assert "type: must be application or distribution" in api.raw.get("/v2/images?type=snapshot").json()["message"]


def test_nothing_is_owed(api: Api) -> None:
    """Amounts are texts, as in the description's example."""
    balance = api.client.balance.get()
    assert balance.pop("generated_at")
    assert set(balance.values()) == {"0.00"}


def test_a_tag_says_what_was_tagged_last(api: Api) -> None:
    """Of each kind and of all, until it is taken away again."""
    droplets = [api.droplet(name=name, tags=["web"])["id"] for name in ("one", "two")]

    def last() -> list[str]:
        resources = api.client.tags.get("web")["tag"]["resources"]
        return [resources["last_tagged_uri"], resources["droplets"]["last_tagged_uri"]]

    def uris(droplet_id: int) -> list[str]:
        return [f"https://api.digitalocean.com/v2/droplets/{droplet_id}"] * 2

    assert last() == uris(droplets[1])
    first: Body = {"resources": [{"resource_id": str(droplets[0]), "resource_type": "droplet"}]}
    api.client.tags.assign_resources("web", first)
    assert last() == uris(droplets[0])
    api.client.tags.unassign_resources("web", first)
    assert last() == uris(droplets[1])
    api.client.tags.create({"name": "bare"})
    assert "last_tagged_uri" not in api.client.tags.get("bare")["tag"]["resources"]
