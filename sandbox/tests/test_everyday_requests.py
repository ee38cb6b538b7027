"""What DigitalOcean's own clients ask for day by day is answered, in the order in which it was asked."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from sandbox.tests.recorded import settle
from tests.api_client import Api, Body

HERE = Path(__file__).parent


def recording(name: str) -> list[Body]:
    """The requests of a file; `id` is what the answer called the new resource when they were recorded."""
    return [json.loads(line) for line in (HERE / name).read_text().splitlines()]


# Some 200 everyday commands of doctl (168188d3) for claimed products, and of pydo 0.44.0 a call for each operation with
# the body of its example; with what both ask for in vain, which has its right status, too.
CLIENTS = {"doctl": recording("doctl_requests.jsonl"), "pydo": recording("pydo_requests.jsonl")}


@pytest.mark.parametrize("name", CLIENTS)
def test_everyday_requests_of_digitalocean_s_own_clients_are_answered(api: Api, name: str) -> None:
    """One after the other, as these clients write them, each with its right status."""
    replay(api, CLIENTS[name])


def replay(api: Api, recording: Iterable[Body]) -> None:
    """Send requests again, with the ids of this run."""
    now: dict[str, str] = {}  # ids of the recording: those of this run
    for recorded in recording:
        known = "|".join(map(re.escape, now)) or "$^"  # in one go: an id of this run may be one of the recording's, too
        request = json.loads(re.sub(known, lambda match: now[match[0]], json.dumps(recorded)))
        answer = api.raw.request(request["method"], request["path"], json=request["body"])
        assert answer.status_code == request["status"], f"{request}: {answer.text}"
        if "id" in recorded:
            [made] = [value for name, value in answer.json().items() if name != "links"]
            name = next(name for name in ("id", "ip", "uuid", "access_key") if made.get(name))
            now[recorded["id"]] = str(made[name])
        if request["method"] != "GET":
            settle(api)


def test_a_token_is_good_as_doctl_asks_for_it(api: Api) -> None:
    """`doctl auth init` asks another name than the API's, and again and again for 31 s where nobody answers."""
    cloud = "https://cloud.digitalocean.com"
    info = api.ok(api.raw.get(f"{cloud}/v1/oauth/token/info"))
    assert info.keys() == {"resource_owner_id", "scopes", "expires_in_seconds", "application", "created_at"}
    assert api.raw.get(f"{cloud}/v1/oauth/token/info", headers={"Authorization": "Bearer x"}).status_code == 401


@pytest.mark.parametrize(
    "address",
    [
        "https://cloud.digitalocean.com/v2/account",
        "https://cloud.digitalocean.com/",
        "https://api.digitalocean.com/v1/oauth/token/info",
    ],
)
def test_each_name_has_its_own_calls(api: Api, address: str) -> None:
    """Nothing of the control panel is there but that."""
    assert api.raw.get(address).status_code == 404
