"""Projects: their own words, the default one, and what is in them."""

from collections.abc import Iterator
from http import HTTPStatus

import pytest

from tests.api_client import Api, Body

PROJECT = {"name": "shop", "purpose": "Service or API", "environment": "Production", "description": ""}


@pytest.fixture
def shop(api: Api) -> Iterator[Body]:
    """A project, beside the one that the account begins with, which is the default one again afterwards."""
    [first] = [project["id"] for project in api.client.projects.list()["projects"]]
    yield api.client.projects.create(PROJECT)["project"]
    api.client.projects.patch(first, {"is_default": True})


def urns(api: Api, project_id: str) -> list[str]:
    """What is in a project."""
    return [one["urn"] for one in api.client.projects.list_resources(project_id)["resources"]]


def test_a_project_has_what_it_was_made_with(api: Api, shop: Body) -> None:
    """It is listed behind the default one, which has an address of its own."""
    assert PROJECT.items() <= shop.items()
    assert shop["is_default"] is False
    assert [project["is_default"] for project in api.client.projects.list()["projects"]] == [True, False]
    assert api.client.projects.get(shop["id"])["project"] == shop
    assert api.client.projects.get_default()["project"]["name"] == "sandbox"


def test_another_purpose_is_kept_as_such(api: Api) -> None:
    """As the description of the field says."""
    made = api.client.projects.create({"name": "own", "purpose": "Brewing beer"})["project"]
    assert (made["purpose"], made["environment"], made["description"]) == ("Other: Brewing beer", "", "")


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"name": "shop"}, 409, "must be unique"),
        ({"name": ""}, 422, "name: must not be empty"),
        ({"name": "x" * 176}, 422, "name: must have at most 175 characters, got 176"),
        ({"environment": "Moon"}, 422, "environment: must be one of Development, Staging, Production"),
    ],
)
@pytest.mark.usefixtures("shop")
def test_bad_projects_are_refused(api: Api, fields: Body, status: int, said: str) -> None:
    """Each broken rule is told."""
    response = api.post("/v2/projects", PROJECT | {"name": "other"} | fields)
    assert (response.status_code, said in response.json()["message"]) == (status, True)


def test_a_patch_changes_what_is_named(api: Api, shop: Body) -> None:
    """Go's client writes null for what it doesn't name."""
    nulls = dict.fromkeys(("name", "purpose", "environment", "is_default"))
    body = nulls | {"description": "sells things"}
    changed = api.ok(api.raw.patch(f"/v2/projects/{shop['id']}", json=body))["project"]
    assert changed | {"description": "", "updated_at": ""} == shop | {"updated_at": ""}
    assert changed["description"] == "sells things"


def test_a_put_needs_all_fields(api: Api, shop: Body) -> None:
    """And replaces them."""
    path, body = f"/v2/projects/{shop['id']}", {"name": "shop", "description": "", "purpose": "IoT"}
    assert "environment: required; is_default: required" in api.raw.put(path, json=body).json()["message"]
    body |= {"environment": "Staging", "is_default": False}
    changed = api.ok(api.raw.put(path, json=body))["project"]
    assert (changed["purpose"], changed["environment"]) == ("IoT", "Staging")


def test_resources_are_in_the_default_project_until_they_are_assigned(api: Api, shop: Body) -> None:
    """Each is in one; what is there already, and what isn't anywhere, is said."""
    droplet, domain = f"do:droplet:{api.droplet()['id']}", "do:domain:polls.example"
    api.client.domains.create({"name": "polls.example"})
    assert urns(api, "default") == [droplet, domain]
    said = api.client.projects.assign_resources(shop["id"], {"resources": [domain, domain, "do:droplet:1"]})
    assert [one["status"] for one in said["resources"]] == ["assigned", "already_assigned", "not_found"]
    assert (urns(api, "default"), urns(api, shop["id"])) == ([droplet], [domain])
    api.client.projects.assign_resources_default({"resources": [domain]})
    assert urns(api, shop["id"]) == []


@pytest.mark.parametrize("word", ["floatingip", "reservedip"])
def test_a_reserved_ip_has_two_names(api: Api, shop: Body, word: str) -> None:
    """The older one, and the one of DigitalOcean's Go client; the answer has the one that was used."""
    ip = api.client.reserved_ips.create({"region": "nyc3"})["reserved_ip"]["ip"]
    api.client.projects.assign_resources(shop["id"], {"resources": [f"do:{word}:{ip}"]})
    assert urns(api, shop["id"]) == [f"do:{word}:{ip}"]
    assert api.client.reserved_ips.get(ip)["reserved_ip"]["project_id"] == shop["id"]


def test_what_is_created_for_a_project_is_in_it(api: Api, shop: Body) -> None:
    """A project that isn't there is refused by name."""
    ip = api.client.reserved_ips.create({"region": "nyc3", "project_id": shop["id"]})["reserved_ip"]
    assert urns(api, shop["id"]) == [f"do:floatingip:{ip['ip']}"]
    response = api.post("/v2/reserved_ips", {"region": "nyc3", "project_id": "00000000-0000-4000-8000-000000000000"})
    assert "project_id: no project has the id" in response.json()["message"]


def test_another_default_project_takes_what_comes_later(api: Api, shop: Body) -> None:
    """What was in the former one stays there, which can't be left without another."""
    first = api.client.projects.get_default()["project"]["id"]
    api.client.domains.create({"name": "early.example"})
    api.client.projects.patch(shop["id"], {"is_default": True})
    api.client.domains.create({"name": "late.example"})
    assert urns(api, first) == ["do:domain:early.example"]
    assert urns(api, "default") == urns(api, shop["id"]) == ["do:domain:late.example"]
    response = api.raw.patch("/v2/projects/default", json={"is_default": False})
    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_only_an_empty_project_can_be_deleted(api: Api, shop: Body) -> None:
    """Neither can the default one."""
    api.client.domains.create({"name": "polls.example"})
    api.client.projects.assign_resources(shop["id"], {"resources": ["do:domain:polls.example"]})
    for project_id in (shop["id"], api.client.projects.get_default()["project"]["id"]):
        response = api.raw.delete(f"/v2/projects/{project_id}")
        assert response.status_code == HTTPStatus.PRECONDITION_FAILED
    api.client.domains.delete("polls.example")
    assert api.raw.delete(f"/v2/projects/{shop['id']}").status_code == HTTPStatus.NO_CONTENT
    assert api.raw.get(f"/v2/projects/{shop['id']}").status_code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize(
    ("urn", "status"), [("do:space:media", 501), ("do:vpc:x", 422), ("droplet:1", 422), ("do:droplet:", 422)]
)
def test_what_projects_are_not_made_of_is_refused(api: Api, shop: Body, urn: str, status: int) -> None:
    """Where the sandbox alone lacks it, it says so."""
    assert api.post(f"/v2/projects/{shop['id']}/resources", {"resources": [urn]}).status_code == status
