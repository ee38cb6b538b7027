"""Faults happen when they are switched on, to the calls that are named, and then stop."""

from http import HTTPStatus

import httpx
import pytest

from tests.api_client import CLUSTER, Api


def test_nothing_goes_wrong_by_itself(api: Api) -> None:
    """No fault is on in a new world."""
    assert api.ok(api.raw.get("/_sandbox/faults")) == {"faults": [], "met": []}


def test_429_comes_with_retry_after_and_goes_away(api: Api) -> None:
    """A limited client is told when to come back."""
    api.fault(kind="status", method="GET", path="/v2/vpcs*", status=429, retry_after=1)
    limited = api.raw.get("/v2/vpcs")
    assert limited.status_code == HTTPStatus.TOO_MANY_REQUESTS
    assert limited.headers["retry-after"] == "1"
    assert limited.json()["id"] == "too_many_requests"
    assert api.raw.get("/v2/vpcs").status_code == HTTPStatus.OK


def test_pydo_survives_a_500(api: Api) -> None:
    """DigitalOcean's client retries as it would in the cloud."""
    api.fault(kind="status", method="GET", path="/v2/account", status=500)
    patient = api.pydo(retry_total=2, retry_backoff_factor=0.1)
    assert patient.account.get()["account"]["status"] == "active"


def test_only_named_calls_are_hit_and_counted(api: Api) -> None:
    """Method and path are patterns; `count` says how often."""
    api.fault(kind="status", method="POST", path="/v2/tags", status=422, message="no", count=2)
    assert api.raw.get("/v2/tags").status_code == HTTPStatus.OK
    answers = [api.post("/v2/tags", {"name": "t"}).status_code for _ in range(3)]
    assert answers == [422, 422, 201]


def test_each_call_is_hit_once(api: Api) -> None:
    """The first time that it is made, by method and path; what was hit is told."""
    api.fault(kind="status", status=503, each=True)
    answers = [api.raw.get(path).status_code for path in ("/v2/tags", "/v2/tags", "/v2/vpcs")]
    assert answers == [503, 200, 503]
    assert api.post("/v2/tags", {"name": "t"}).status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert api.ok(api.raw.get("/_sandbox/faults"))["met"] == ["GET /v2/tags", "GET /v2/vpcs", "POST /v2/tags"]


def test_dropped_connection(api: Api) -> None:
    """The connection breaks off, and nothing was done."""
    api.fault(kind="drop", method="POST", path="/v2/tags")
    with pytest.raises(httpx.TransportError):
        api.post("/v2/tags", {"name": "lost"})
    assert api.raw.get("/v2/tags/lost").status_code == HTTPStatus.NOT_FOUND


def test_connection_dropped_after_the_work(api: Api) -> None:
    """The worst case for clients: it was done and they don't know."""
    api.fault(kind="drop", method="POST", path="/v2/tags", after=True)
    with pytest.raises(httpx.TransportError):
        api.post("/v2/tags", {"name": "done"})
    assert api.raw.get("/v2/tags/done").status_code == HTTPStatus.OK


def test_slow_cluster_stays_in_creation(api: Api) -> None:
    """A cluster can be made to take its time, and can be deleted meanwhile."""
    api.fault(kind="slow", of="database", seconds=600)
    vpc = api.vpc()["id"]
    cluster = api.client.databases.create_cluster(CLUSTER | {"private_network_uuid": vpc})["database"]
    assert api.client.databases.get_cluster(cluster["id"])["database"]["status"] == "creating"
    early = api.post(f"/v2/databases/{cluster['id']}/users", {"name": "app"})
    assert early.status_code == HTTPStatus.PRECONDITION_FAILED


def test_bad_fault_is_refused(api: Api) -> None:
    """A fault that can't happen is told, so that a test doesn't pass for nothing."""
    assert api.post("/_sandbox/faults", {"kind": "explode"}).status_code == HTTPStatus.UNPROCESSABLE_ENTITY
