"""Droplets go through the states of the real API, and refuse what it refuses."""

from http import HTTPStatus

import pytest
from azure.core.exceptions import HttpResponseError

from tests.sandbox.api_client import DROPLET, PUBLIC_KEY, Api, Body, until


def test_droplet_is_new_then_active(api: Api) -> None:
    """The creation is answered before it is done, with the action that does it."""
    api.fault(kind="slow", of="droplet", seconds=0.3)
    body = DROPLET | {"vpc_uuid": api.vpc()["id"]}
    created = api.client.droplets.create(body)
    droplet_id, action_id = created["droplet"]["id"], created["links"]["actions"][0]["id"]
    assert api.client.droplets.get(droplet_id)["droplet"]["status"] == "new"
    assert api.client.actions.get(action_id)["action"]["status"] == "in-progress"
    until(lambda: api.client.actions.get(action_id)["action"]["status"], lambda status: status == "completed")
    assert api.client.droplets.get(droplet_id)["droplet"]["status"] == "active"


def test_droplet_has_all_that_the_provider_reads(api: Api) -> None:
    """Nested objects are always there, and features are as asked for: the official provider panics or replaces else."""
    key = api.client.ssh_keys.create({"name": "k", "public_key": PUBLIC_KEY})["ssh_key"]
    droplet = api.droplet(monitoring=True, tags=["web"], ssh_keys=[key["fingerprint"]])
    assert droplet["region"]["slug"] == "nyc3"
    assert droplet["size"]["slug"] == droplet["size_slug"] == "s-1vcpu-1gb"
    assert droplet["size"]["price_monthly"] == 6
    assert droplet["image"]["slug"] == "debian-13-x64"
    assert (droplet["memory"], droplet["vcpus"], droplet["disk"]) == (1024, 1, 25)
    assert {net["type"] for net in droplet["networks"]["v4"]} == {"public", "private"}
    assert "monitoring" in droplet["features"]
    assert droplet["tags"] == ["web"]
    assert not {"user_data", "password", "public_keys"} & droplet.keys()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"size": "s-3vcpu-1gb"}, "size: must be one of"),
        ({"image": "windows-95"}, "image: the sandbox has debian-13-x64"),
        ({"region": "mars1"}, "region: must be one of"),
        ({"name": "web_1"}, "hostname characters"),
        ({"ssh_keys": ["aa:bb"]}, "invalid key identifiers"),
        ({"vpc_uuid": "00000000-0000-4000-8000-000000000000"}, "no VPC has the id"),
        ({"user_data": "x" * 65537}, "user_data: must be at most 65536 bytes, got 65537"),
    ],
)
def test_bad_droplets_are_refused(api: Api, fields: Body, said: str) -> None:
    """Each broken rule is told, and nothing is made."""
    response = api.post("/v2/droplets", DROPLET | {"vpc_uuid": api.vpc()["id"]} | fields)
    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert said in response.json()["message"]
    assert api.client.droplets.list()["droplets"] == []


def act(api: Api, droplet_id: int, **fields: object) -> str:
    """Do an action and return how it ended."""
    action = api.client.droplet_actions.post(droplet_id, fields)["action"]
    ended: str = until(
        lambda: api.client.droplet_actions.get(droplet_id, action["id"])["action"]["status"],
        lambda status: status != "in-progress",
    )
    return ended


def test_resize_needs_the_droplet_off(api: Api) -> None:
    """The sequence that the provider goes through when the size changes."""
    droplet = api.droplet()
    with pytest.raises(HttpResponseError, match="powered off"):
        api.client.droplet_actions.post(droplet["id"], {"type": "resize", "size": "s-2vcpu-2gb", "disk": True})
    assert act(api, droplet["id"], type="power_off") == "completed"
    assert api.client.droplets.get(droplet["id"])["droplet"]["status"] == "off"
    assert act(api, droplet["id"], type="resize", size="s-2vcpu-2gb", disk=True) == "completed"
    assert act(api, droplet["id"], type="power_on") == "completed"
    resized = api.client.droplets.get(droplet["id"])["droplet"]
    assert (resized["size_slug"], resized["memory"], resized["disk"]) == ("s-2vcpu-2gb", 2048, 60)
    types = [action["type"] for action in api.client.droplet_actions.list(droplet["id"])["actions"]]
    assert types == ["power_on", "resize", "power_off", "create"]


def test_rename(api: Api) -> None:
    """A name changes in place."""
    droplet = api.droplet()
    assert act(api, droplet["id"], type="rename", name="web-2") == "completed"
    assert api.client.droplets.get(droplet["id"])["droplet"]["name"] == "web-2"


def test_backups_are_a_feature_that_is_switched(api: Api) -> None:
    """Which is all that there is of them here."""
    droplet = api.droplet(backups=True)
    assert "backups" in droplet["features"]
    for action, there in (("disable_backups", False), ("enable_backups", True)):
        assert act(api, droplet["id"], type=action) == "completed"
        assert ("backups" in api.client.droplets.get(droplet["id"])["droplet"]["features"]) is there


def test_one_action_at_a_time(api: Api) -> None:
    """A Droplet that is being made takes no action."""
    api.fault(kind="slow", of="droplet", seconds=1)
    body = DROPLET | {"vpc_uuid": api.vpc()["id"]}
    droplet_id = api.client.droplets.create(body)["droplet"]["id"]
    for response in (
        api.post(f"/v2/droplets/{droplet_id}/actions", {"type": "power_off"}),
        api.raw.delete(f"/v2/droplets/{droplet_id}"),
    ):
        assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
        assert response.json()["message"] == "Droplet already has a pending event."


def test_destroyed_droplet_is_gone(api: Api) -> None:
    """DELETE is answered at once, the Droplet is 404 when its node is gone."""
    droplet = api.droplet()
    api.client.droplets.destroy(droplet["id"])
    until(lambda: api.raw.get(f"/v2/droplets/{droplet['id']}").status_code, lambda status: status == 404)


def test_droplets_are_listed_by_tag_and_name(api: Api) -> None:
    """Filters of the list."""
    api.droplet(name="one", tags=["blue"])
    api.droplet(name="two", tags=["green"])
    by_tag = api.client.droplets.list(tag_name="blue")["droplets"]
    by_name = api.client.droplets.list(name="two")["droplets"]
    assert [d["name"] for d in by_tag + by_name] == ["one", "two"]


def test_node_is_named_simulated(api: Api) -> None:
    """Nobody takes the player of a Droplet for a machine."""
    droplet = api.droplet()
    nodes = api.ok(api.raw.get("/_sandbox/nodes"))["nodes"]
    assert [(node["droplet_id"], node["kind"]) for node in nodes] == [(droplet["id"], "simulated node")]


def test_user_data_is_shown_by_no_call(api: Api) -> None:
    """What cloud-init gets may hold a secret."""
    droplet = api.droplet(user_data="#cloud-config\n# the-secret\n")
    assert "the-secret" not in api.raw.get(f"/v2/droplets/{droplet['id']}").text
