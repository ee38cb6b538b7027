"""Several Droplets at once, what is around one, and its end together with what belongs to it."""

from http import HTTPStatus

import pytest

from tests.api_client import DROPLET, Api, Body, until

MANY = {name: value for name, value in DROPLET.items() if name != "name"}


def settled(api: Api) -> None:
    """Wait until no action is going on."""
    until(
        lambda: {action["status"] for action in api.client.actions.list()["actions"]},
        lambda found: "in-progress" not in found,
    )


def test_a_droplet_for_each_name(api: Api) -> None:
    """The answer has all of them, each with its action; up to ten at a time."""
    body = MANY | {"names": ["web-1", "web-2"], "vpc_uuid": api.vpc()["id"], "tags": ["web"]}
    made = api.ok(api.post("/v2/droplets", body))
    assert [droplet["name"] for droplet in made["droplets"]] == ["web-1", "web-2"]
    assert len({droplet["id"] for droplet in made["droplets"]}) == len(made["links"]["actions"]) == 2
    settled(api)
    active = api.client.droplets.list(tag_name="web")["droplets"]
    assert len({net["ip_address"] for droplet in active for net in droplet["networks"]["v4"]}) == 4


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"names": []}, "names: must be 1 to 10, got 0"),
        ({"names": [f"web-{n}" for n in range(11)]}, "names: must be 1 to 10, got 11"),
        ({"names": ["web-1", "web_2"]}, "hostname characters"),
        ({"names": ["web-1"], "name": "web-2"}, "must be one of them"),
        ({}, "name: required"),
        ({"name": "web-1", "backup_policy": {"plan": "daily"}}, "backup_policy: needs backups"),
    ],
)
def test_bad_names_are_refused(api: Api, fields: Body, said: str) -> None:
    """And nothing is made."""
    response = api.post("/v2/droplets", MANY | {"vpc_uuid": api.vpc()["id"]} | fields)
    assert (response.status_code, said in response.json()["message"]) == (422, True)
    assert api.client.droplets.list()["droplets"] == []


def test_the_account_has_a_limit_of_droplets(api: Api) -> None:
    """Said as DigitalOcean says it, before any is made."""
    api.switch(droplet_limit="3")
    assert api.client.account.get()["account"]["droplet_limit"] == 3
    body = MANY | {"vpc_uuid": api.vpc()["id"]}
    api.ok(api.post("/v2/droplets", body | {"names": ["web-1", "web-2"]}))
    response = api.post("/v2/droplets", body | {"names": ["web-3", "web-4"]})
    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert response.json()["message"] == "creating this/these droplet(s) will exceed your droplet limit"
    api.ok(api.post("/v2/droplets", body | {"name": "web-3"}))
    settled(api)
    assert len(api.client.droplets.list()["droplets"]) == 3


@pytest.mark.prove
def test_many_droplets_have_an_address_each(api: Api) -> None:
    """More than a network has room for, where no machine needs a way to its own."""
    api.switch(droplet_limit="300")
    body = MANY | {"vpc_uuid": api.vpc()["id"]}
    for start in range(0, 100, 10):
        names = [f"web-{number}" for number in range(start, start + 10)]
        api.ok(api.post("/v2/droplets", body | {"names": names}))
    settled(api)
    found = api.client.droplets.list(per_page=200)["droplets"]
    networks = [one for droplet in found for one in droplet["networks"]["v4"]]
    for kind in ("public", "private"):
        assert len({one["ip_address"] for one in networks if one["type"] == kind}) == 100


def test_any_region_of_a_city(api: Api) -> None:
    """A region's name without its number is enough."""
    made = api.ok(api.post("/v2/droplets", DROPLET | {"region": "ams"}))["droplet"]
    assert made["region"]["slug"] == "ams3"
    settled(api)


def test_names_are_found_whatever_their_case_and_gpus_are_none(api: Api) -> None:
    """Filters of the list."""
    api.droplet(name="Web-One")
    assert len(api.client.droplets.list(name="web-one")["droplets"]) == 1
    assert api.client.droplets.list(type="gpus")["droplets"] == []


def test_the_firewalls_of_a_droplet(api: Api) -> None:
    """By its id and by a tag; others aren't its own."""
    droplet = api.droplet(tags=["web"])
    rules = {"inbound_rules": [{"protocol": "tcp", "ports": "22", "sources": {"addresses": ["192.0.2.1"]}}]}
    api.client.tags.create({"name": "other"})
    for name, members in (
        ("a", {"droplet_ids": [droplet["id"]]}),
        ("b", {"tags": ["web"]}),
        ("c", {"tags": ["other"]}),
    ):
        api.client.firewalls.create({"name": name, **rules, **members})
    found = api.ok(api.raw.get(f"/v2/droplets/{droplet['id']}/firewalls?page=1&per_page=20"))["firewalls"]
    assert [firewall["name"] for firewall in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("path", "root"),
    [("neighbors", "droplets"), ("kernels", "kernels"), ("snapshots", "snapshots"), ("backups", "backups")],
)
def test_what_a_droplet_has_none_of_here(api: Api, path: str, root: str) -> None:
    """An empty list, and 404 for a Droplet that isn't there."""
    droplet = api.droplet()
    assert api.ok(api.raw.get(f"/v2/droplets/{droplet['id']}/{path}?page=1&per_page=200"))[root] == []
    assert api.raw.get(f"/v2/droplets/1/{path}").status_code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("type_", ["snapshot", "rebuild", "restore", "enable_ipv6", "password_reset", "change_kernel"])
def test_actions_that_the_sandbox_has_not_are_501(api: Api, type_: str) -> None:
    """They are DigitalOcean's; a word that isn't one of its actions is 422."""
    path = f"/v2/droplets/{api.droplet()['id']}/actions"
    response = api.post(path, {"type": type_, "name": "s", "image": 1, "kernel": 1})
    assert response.status_code == HTTPStatus.NOT_IMPLEMENTED
    assert f'DigitalOcean has the action "{type_}", the sandbox doesn\'t' in response.json()["message"]
    assert api.post(path, {"type": "explode"}).status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_droplets_with_a_tag_are_acted_on_and_destroyed_together(api: Api) -> None:
    """Others stay; a tag that isn't there is 404, and none at all 422."""
    for name, tag in (("one", "blue"), ("two", "blue"), ("three", "green")):
        api.droplet(name=name, tags=[tag])
    done = api.ok(api.post("/v2/droplets/actions?tag_name=blue", {"type": "power_off"}))["actions"]
    assert [action["type"] for action in done] == ["power_off", "power_off"]
    settled(api)
    assert {d["name"]: d["status"] for d in api.client.droplets.list()["droplets"]} == {
        "one": "off",
        "two": "off",
        "three": "active",
    }
    assert api.post("/v2/droplets/actions?tag_name=blue", {"type": "rename", "name": "x"}).status_code == 422
    assert api.raw.delete("/v2/droplets?tag_name=blue").status_code == HTTPStatus.NO_CONTENT
    until(lambda: [d["name"] for d in api.client.droplets.list()["droplets"]], lambda names: names == ["three"])
    assert api.raw.delete("/v2/droplets?tag_name=red").status_code == HTTPStatus.NOT_FOUND
    assert api.raw.delete("/v2/droplets").status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_when_a_droplet_would_be_backed_up(api: Api) -> None:
    """Daily unless it is said, changed by actions, and nothing without backups."""
    droplet = api.droplet(backups=True)
    path = f"/v2/droplets/{droplet['id']}/backups/policy"
    daily = {"plan": "daily", "hour": 0, "window_length_hours": 4, "retention_period_days": 7}
    policy = api.ok(api.raw.get(path))["policy"]
    assert (policy["backup_enabled"], policy["backup_policy"]) == (True, daily)
    assert policy["next_backup_window"] == droplet["next_backup_window"]
    weekly = {"plan": "weekly", "weekday": "SUN", "hour": 20}
    for action, wanted in (
        ({"type": "change_backup_policy", "backup_policy": weekly}, weekly),
        ({"type": "disable_backups"}, None),
        ({"type": "enable_backups", "backup_policy": weekly}, weekly),
    ):
        api.ok(api.post(f"/v2/droplets/{droplet['id']}/actions", action))
        settled(api)
        policy = api.ok(api.raw.get(path))["policy"]
        assert policy["backup_enabled"] is (wanted is not None)
        assert wanted is None or wanted.items() <= policy["backup_policy"].items()
    assert list(api.ok(api.raw.get("/v2/droplets/backups/policies"))["policies"]) == [str(droplet["id"])]


def test_the_policies_of_backups_that_there_are(api: Api) -> None:
    """As the description's example has them."""
    found = api.ok(api.raw.get("/v2/droplets/backups/supported_policies"))["supported_policies"]
    assert [(one["name"], one["retention_period_days"], len(one["possible_days"])) for one in found] == [
        ("weekly", 28, 7),
        ("daily", 7, 0),
    ]


@pytest.mark.parametrize(
    ("policy", "said"), [({"plan": "hourly"}, "backup_policy.plan"), ({"hour": 3}, "backup_policy.hour")]
)
def test_bad_policies_of_backups_are_refused(api: Api, policy: Body, said: str) -> None:
    """With the field's path."""
    response = api.post("/v2/droplets", DROPLET | {"backups": True, "backup_policy": policy})
    assert (response.status_code, said in response.json()["message"]) == (422, True)


def owner(api: Api) -> tuple[int, list[str]]:
    """A Droplet with two Reserved IPs, by which it is known to be destroyed with."""
    droplet = api.droplet()
    for _ in range(2):
        ip = api.client.reserved_ips.create({"region": "nyc3"})["reserved_ip"]["ip"]
        api.assign(ip, droplet["id"])
    found = api.ok(api.raw.get(f"/v2/droplets/{droplet['id']}/destroy_with_associated_resources"))
    assert found["snapshots"] == found["volumes"] == found["volume_snapshots"] == []
    assert found["floating_ips"] == found["reserved_ips"]
    assert [one["name"] for one in found["reserved_ips"]] == addresses(api)
    return droplet["id"], [one["id"] for one in found["reserved_ips"]]


def addresses(api: Api) -> list[str]:
    """The account's Reserved IPs."""
    return [one["ip"] for one in api.client.reserved_ips.list()["reserved_ips"]]


def destroyed(api: Api, droplet_id: int) -> Body:
    """What the status says when all is over."""
    path = f"/v2/droplets/{droplet_id}/destroy_with_associated_resources/status"
    return until(lambda: api.ok(api.raw.get(path)), lambda status: bool(status["completed_at"]))


def test_a_droplet_goes_with_what_is_chosen(api: Api) -> None:
    """The rest stays, and what isn't its own is refused before anything is destroyed."""
    droplet_id, [first, _] = owner(api)
    path = f"/v2/droplets/{droplet_id}/destroy_with_associated_resources"
    for body, refused in (({"reserved_ips": ["1"]}, 422), ({"volumes": ["x"], "snapshots": []}, 501)):
        assert api.raw.request("DELETE", f"{path}/selective", json=body).status_code == refused
    gone, kept = addresses(api)
    assert api.raw.request("DELETE", f"{path}/selective", json={"reserved_ips": [first]}).status_code == 202
    status = destroyed(api, droplet_id)
    assert [one["name"] for one in status["resources"]["reserved_ips"]] == [gone]
    assert (status["failures"], status["droplet"]["id"]) == (0, str(droplet_id))
    assert api.raw.get(f"/v2/droplets/{droplet_id}").status_code == HTTPStatus.NOT_FOUND
    assert addresses(api) == [kept]


def test_a_droplet_goes_with_all_that_it_has(api: Api) -> None:
    """If the header says that it is meant."""
    droplet_id, _ = owner(api)
    path = f"/v2/droplets/{droplet_id}/destroy_with_associated_resources"
    assert api.raw.delete(f"{path}/dangerous").status_code == HTTPStatus.BAD_REQUEST
    assert api.raw.delete(f"{path}/dangerous", headers={"X-Dangerous": "true"}).status_code == HTTPStatus.ACCEPTED
    assert len(destroyed(api, droplet_id)["resources"]["reserved_ips"]) == 2
    assert addresses(api) == []
    assert api.post(f"{path}/retry", {}).status_code == HTTPStatus.NOT_FOUND


def test_what_was_not_begun_has_no_status(api: Api) -> None:
    """Nor can it be tried again."""
    path = f"/v2/droplets/{api.droplet()['id']}/destroy_with_associated_resources"
    assert api.raw.get(f"{path}/status").status_code == HTTPStatus.NOT_FOUND
    assert api.post(f"{path}/retry", {}).status_code == HTTPStatus.NOT_FOUND
