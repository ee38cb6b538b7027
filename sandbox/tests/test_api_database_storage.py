"""The disk of a database cluster: its size, and how it grows by itself."""

from http import HTTPStatus

import pytest
from azure.core.exceptions import HttpResponseError

from tests.api_client import CLUSTER, Api

ON = {"enabled": True, "threshold_percent": 80, "increment_gib": 20}
BASE = 30 * 1024  # MiB, of db-s-1vcpu-2gb
GIB = 1024


def test_autoscale_is_kept(api: Api) -> None:
    """Under the specification's name and under that of DigitalOcean's own client, at creation and later."""
    cluster = api.cluster(autoscale={"storage": ON})
    assert (cluster["autoscale"], cluster["storage_autoscale"]) == ({"storage": ON}, ON)
    assert api.client.databases.get_autoscale(cluster["id"]) == {"autoscale": {"storage": ON}, "storage": ON}
    later = ON | {"threshold_percent": 95, "increment_gib": 500}
    api.client.databases.update_autoscale(cluster["id"], {"storage": later})
    assert api.client.databases.get_cluster(cluster["id"])["database"]["autoscale"] == {"storage": later}
    api.client.databases.update_autoscale(cluster["id"], {"storage": {"enabled": False}})
    assert api.client.databases.get_autoscale(cluster["id"])["storage"] == {"enabled": False}
    other = api.cluster(name="other", storage_autoscale=ON)
    assert other["autoscale"] == {"storage": ON}


def test_a_cluster_that_says_nothing_does_not_grow(api: Api) -> None:
    """Null, as the specification says."""
    cluster = api.cluster()
    assert (cluster["autoscale"], cluster["storage_autoscale"]) == (None, None)
    grown = api.raw.post(f"/_sandbox/databases/{cluster['id']}/grow")
    assert grown.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert "autoscale: must be enabled" in grown.json()["message"]


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        (ON | {"threshold_percent": 14}, "threshold_percent: must be from 15 to 95, got 14"),
        (ON | {"threshold_percent": 96}, "threshold_percent: must be from 15 to 95, got 96"),
        (ON | {"increment_gib": 9}, "increment_gib: must be from 10 to 500, got 9"),
        (ON | {"increment_gib": 501}, "increment_gib: must be from 10 to 500, got 501"),
        (ON | {"increment_gib": 0}, "increment_gib: must be from 10 to 500, got 0"),
        (ON | {"max_gib": 500}, "storage.max_gib: unknown field"),
        ({"threshold_percent": 80}, "storage.enabled: required"),
        (ON | {"enabled": "yes"}, "storage.enabled: Input should be a valid boolean"),
    ],
)
def test_bad_autoscale_is_refused(api: Api, storage: dict[str, object], said: str) -> None:
    """With the field, at creation and later; nothing is created or changed."""
    body = CLUSTER | {"private_network_uuid": api.vpc()["id"]}
    refused = api.post("/v2/databases", body | {"autoscale": {"storage": storage}})
    assert (refused.status_code, said in refused.json()["message"]) == (422, True), refused.text
    assert api.raw.get("/v2/databases").json()["databases"] == []


def test_a_bad_change_of_autoscale_changes_nothing(api: Api) -> None:
    """An empty body is none either, and two names must say the same."""
    cluster = api.cluster(autoscale={"storage": ON})
    path = f"/v2/databases/{cluster['id']}/autoscale"
    for body in (
        {},
        {"storage": None},
        {"storage": ON | {"increment_gib": 5}},
        {"compute": {}},
        {"storage": ON, "x": 1},
    ):
        assert api.raw.put(path, json=body).status_code == HTTPStatus.UNPROCESSABLE_ENTITY, body
    assert api.raw.get(path).json()["storage"] == ON
    both = CLUSTER | {"name": "both", "autoscale": {"storage": ON}, "storage_autoscale": ON | {"enabled": False}}
    assert "must be the same" in api.post("/v2/databases", both).json()["message"]


def test_a_disk_that_has_grown_stays_grown(api: Api) -> None:
    """It grows by the increment; another plan takes what was added along, and only who names a size gets fewer."""
    cluster = api.cluster(autoscale={"storage": ON})
    assert cluster["storage_size_mib"] == BASE
    assert [api.grow(cluster["id"]) for _ in range(2)] == [BASE + 20 * GIB, BASE + 40 * GIB]
    found = api.resize(cluster["id"], size="db-s-2vcpu-4gb", num_nodes=1)
    assert found["storage_size_mib"] == 60 * GIB + 40 * GIB
    assert found["autoscale"] == {"storage": ON}
    found = api.resize(cluster["id"], size="db-s-2vcpu-4gb", num_nodes=1, storage_size_mib=70 * GIB)
    assert found["storage_size_mib"] == 70 * GIB
    with pytest.raises(HttpResponseError, match="must be at least 61440 for db-s-2vcpu-4gb"):
        api.resize(cluster["id"], size="db-s-2vcpu-4gb", num_nodes=1, storage_size_mib=50 * GIB)


def test_a_disk_without_an_increment_grows_by_a_quarter(api: Api) -> None:
    """At least 50 GiB, in steps of 10."""
    storage = {"enabled": True, "threshold_percent": 80}
    cluster = api.cluster(autoscale={"storage": storage}, storage_size_mib=300 * GIB)
    assert [api.grow(cluster["id"]) // GIB for _ in range(2)] == [380, 480]
    small = api.cluster(name="small", autoscale={"storage": storage})
    assert api.grow(small["id"]) // GIB == 80
