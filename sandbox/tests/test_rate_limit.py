"""The API's rate limit, in a world that has it switched on."""

import asyncio
import time
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from sandbox.api import rate_limit, switches
from sandbox.api.rate_limit import RateLimit
from sandbox.api.server import create_app
from sandbox.model.store import Store
from sandbox.simulated.realiser import SimulatedRealiser
from sandbox.world import world as worlds
from sandbox.world.supervisor import Supervisor


def test_one_call_too_many_is_refused_and_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers and errors say how many calls are left; what is beyond changes nothing, and hears when to come back."""
    monkeypatch.setattr(rate_limit, "BURST", 3)
    world = worlds.create(tmp_path / "w", "api", proxy_port=1)
    store = Store(world.database)
    switches.change(store, {"rate_limit": True})
    app = create_app(world, store, SimulatedRealiser(world, Supervisor(world)))
    headers = {"Authorization": f"Bearer {world.token}"}

    async def calls() -> tuple[list[httpx.Response], httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://api", headers=headers) as client:
            answers = [await client.get("/v2/account"), await client.get("/v2/vpcs/none")]
            await client.get("/_sandbox/switches")  # not one of DigitalOcean's
            answers += [await client.post("/v2/tags", json={"name": name}) for name in ("third", "fourth")]
            switches.change(store, {"rate_limit": False})
            return answers, await client.get("/v2/tags/fourth")

    answers, after = asyncio.run(calls())
    store.close()
    assert [answer.status_code for answer in answers] == [200, 404, 201, HTTPStatus.TOO_MANY_REQUESTS]
    assert [answer.headers["ratelimit-limit"] for answer in answers] == ["5000"] * 4
    # The third fills the minute.
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["4999", "4998", "0", "0"]
    assert [float(answer.headers["ratelimit-reset"]) for answer in answers] == pytest.approx(
        [time.time() + 3600] * 4, abs=60
    )
    assert {"id": "too_many_requests", "message": "API Rate limit exceeded."}.items() <= answers[3].json().items()
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60
    assert after.status_code == HTTPStatus.NOT_FOUND
    assert "ratelimit-limit" not in after.headers


def test_each_call_counts_for_its_own_minute() -> None:
    """A place is free when the oldest of 250 calls is a minute old, and only that one."""
    limit = RateLimit()
    assert [limit.admit(1000 + number / 10) for number in range(250)] == [None] * 250
    refused = limit.admit(1030)
    assert refused is not None
    assert refused.headers == {"retry-after": "30"}
    assert limit.admit(1060.05) is None
    assert limit.admit(1060.05) is not None


def test_each_call_counts_for_its_own_hour() -> None:
    """The same for 5,000 calls and an hour; that refusal names no time to wait, as documented."""
    limit = RateLimit()
    assert [limit.admit(1000 + number / 4) for number in range(5000)] == [None] * 5000
    refused = limit.admit(2300)
    assert refused is not None
    assert refused.headers == {}
    shown = {"ratelimit-limit": "5000", "ratelimit-remaining": "0", "ratelimit-reset": "4600"}
    assert limit.headers(2300) == shown
    assert limit.admit(4600.1) is None
    assert limit.admit(4600.1) is not None
