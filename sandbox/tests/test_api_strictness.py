"""The API refuses what DigitalOcean's would, and what it doesn't know, by name."""

from http import HTTPStatus

import httpx
import pytest

from sandbox.api.calls import Endpoint
from sandbox.api.server import endpoints
from tests.api_client import DROPLET, Api


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", "/v2/kubernetes/clusters", "kubernetes_list_clusters"),
        ("POST", "/v2/volumes", "volumes_create"),
        ("DELETE", "/v2/volumes/4de7ac8b-495b-4884-9a69-1050c6793cd6", "volumes_delete"),
        ("GET", "/v2/droplets/autoscale", "autoscalepools_list"),  # where a Droplet's id would be
        ("PUT", "/v2/images/7555620", "images_update"),  # a path that has other methods here
    ],
)
def test_what_digitalocean_has_and_the_sandbox_has_not_is_501(api: Api, method: str, path: str, operation: str) -> None:
    """It is refused by its name, never as if it were wrong or not there."""
    response = api.raw.request(method, path)
    assert response.status_code == HTTPStatus.NOT_IMPLEMENTED
    assert f"DigitalOcean has {operation}, the sandbox doesn't" in response.json()["message"]


@pytest.mark.parametrize("path", ["/v2/droplet", "/v2/droplets/1/reboot", "/v3/droplets", "/"])
def test_what_digitalocean_has_not_is_404(api: Api, path: str) -> None:
    """A typing error in a path is one there, too."""
    response = api.raw.get(path)
    assert response.status_code == HTTPStatus.NOT_FOUND
    assert response.json()["message"] == "The resource you were accessing could not be found."


def test_another_method_than_a_path_has_is_405(api: Api) -> None:
    """The answer has those that there are, also where they aren't claimed."""
    response = api.raw.delete("/v2/account")
    assert (response.status_code, response.headers["allow"]) == (HTTPStatus.METHOD_NOT_ALLOWED, "GET")
    response = api.raw.patch("/v2/images/7555620")
    assert (response.status_code, response.headers["allow"]) == (HTTPStatus.METHOD_NOT_ALLOWED, "DELETE, GET, PUT")


def test_a_slash_at_the_end_changes_nothing(api: Api) -> None:
    """Some clients write one."""
    assert api.raw.get("/v2/account/").json() == api.raw.get("/v2/account").json()


def test_errors_have_the_documented_body(api: Api) -> None:
    """Errors are id, message and request_id, which is in the headers too."""
    response = api.raw.get("/v2/vpcs/no-such-id")
    body = response.json()
    assert response.status_code == HTTPStatus.NOT_FOUND
    assert set(body) == {"id", "message", "request_id"}
    assert body["id"] == "not_found"
    assert body["request_id"] == response.headers["x-request-id"]


def test_unknown_field_is_422_and_named(api: Api) -> None:
    """A typing error in a field's name is told, with the names that exist."""
    response = api.post("/v2/vpcs", {"name": "net", "region": "nyc3", "ip_rang": "10.10.0.0/20"})
    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert response.json()["message"] == "ip_rang: unknown field; known here: description, ip_range, name, region"


def test_all_problems_of_a_body_are_told_at_once(api: Api) -> None:
    """A missing field and one of the wrong type are in one message."""
    message = api.post("/v2/vpcs", {"name": 7}).json()["message"]
    assert "name: " in message
    assert "region: required" in message


def test_field_that_the_sandbox_does_not_do_is_501_and_named(api: Api) -> None:
    """What DigitalOcean has and the sandbox hasn't is refused instead of ignored."""
    response = api.post("/v2/droplets", DROPLET | {"volumes": ["x"]})
    assert response.status_code == HTTPStatus.NOT_IMPLEMENTED
    assert "volumes" in response.json()["message"]


def test_unknown_query_parameter_is_422(api: Api) -> None:
    """Parameters are checked as fields are."""
    response = api.raw.get("/v2/droplets", params={"tag": "web"})
    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert "tag: unknown query parameter" in response.json()["message"]


@pytest.mark.parametrize("body", [b"{", b"[]"])
def test_body_that_is_no_object_is_400(api: Api, body: bytes) -> None:
    """Broken JSON is told."""
    assert api.raw.post("/v2/tags", content=body).status_code == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Basic abc"])
def test_wrong_token_is_401(api: Api, authorization: str) -> None:
    """Nobody gets in without the world's token, not even to the sandbox's own routes."""
    for path in ("/v2/account", "/_sandbox/requests"):
        response = api.raw.get(path, headers={"Authorization": authorization})
        assert response.status_code == HTTPStatus.UNAUTHORIZED


def test_token_that_looks_real_is_refused_with_a_reason(api: Api) -> None:
    """A real token in the wrong place is noticed."""
    response = api.raw.get("/v2/account", headers={"Authorization": f"Bearer dop_v1_{'0' * 64}"})
    assert response.status_code == HTTPStatus.UNAUTHORIZED
    assert "looks like a real one" in response.json()["message"]


def test_no_limit_is_shown_that_is_not_kept(api: Api) -> None:
    """A new world counts no calls, so its answers name no limit."""
    assert not [name for name in api.raw.get("/v2/account").headers if name.startswith("ratelimit")]


@pytest.mark.parametrize("endpoint", [e for e in endpoints() if "_list" in e.operation], ids=lambda e: e.operation)
def test_every_list_takes_a_page_and_its_size(endpoint: Endpoint) -> None:
    """Also those that come in one piece: Go's clients ask all of them so."""
    assert {"page", "per_page"} <= endpoint.query


def test_lists_come_in_pages_with_links(api: Api) -> None:
    """A client that follows `next` sees everything once."""
    for number in range(5):
        api.client.tags.create({"name": f"page-{number}"})
    seen, path = [], "/v2/tags?per_page=2"
    while path:
        body = api.ok(api.raw.get(path))
        assert body["meta"]["total"] == 5
        seen += [tag["name"] for tag in body["tags"]]
        following = body["links"].get("pages", {}).get("next", "")
        path = httpx.URL(following).raw_path.decode() if following else ""
    assert seen == [f"page-{number}" for number in range(5)]


def test_page_size_has_a_limit(api: Api) -> None:
    """More than 200 per page is refused."""
    assert api.raw.get("/v2/tags?per_page=201").status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_the_request_log_has_every_call(api: Api) -> None:
    """Tests that compare runs can read what was asked."""
    before = api.ok(api.raw.get("/_sandbox/requests"))["requests"]
    last = before[-1]["number"] if before else 0
    api.client.tags.create({"name": "logged"})
    new = api.ok(api.raw.get(f"/_sandbox/requests?after={last}"))["requests"]
    assert [(r["method"], r["path"], r["status"], r["body"]) for r in new] == [
        ("POST", "/v2/tags", 201, '{"name": "logged"}')
    ]


def test_provenance_names_an_operation_for_every_route(api: Api) -> None:
    """Nothing is answered that doesn't say where it comes from."""
    assert "| VPC | POST /v2/vpcs | spec | vpcs_create |" in api.raw.get("/_sandbox/provenance").text
