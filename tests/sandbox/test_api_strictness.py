"""The API refuses what DigitalOcean's would, and what it doesn't know, by name."""

from http import HTTPStatus

import httpx
import pytest

from tests.sandbox.api_client import DROPLET, Api


def test_unknown_route_is_501_and_named(api: Api) -> None:
    """A call that the sandbox doesn't have is never answered as if it had it."""
    response = api.raw.get("/v2/kubernetes/clusters")
    assert response.status_code == HTTPStatus.NOT_IMPLEMENTED
    assert "GET /v2/kubernetes/clusters" in response.json()["message"]


def test_unknown_method_of_a_known_route_is_501(api: Api) -> None:
    """The same for a method."""
    assert api.raw.delete("/v2/account").status_code == HTTPStatus.NOT_IMPLEMENTED


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
