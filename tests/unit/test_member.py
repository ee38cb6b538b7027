"""A Droplet that leaves the load balancer before it is deleted."""

import threading
from typing import Any

import pytest

from protocol.release import DESIRED, Desired
from provider.actions import ActionError, Interrupted, Operation, running
from provider.traffic import member
from provider.traffic.member import MemberProvider
from tests.unit.conftest import Buckets
from tests.unit.test_rollout import release


def props(buckets: Buckets, droplet: str = "7") -> dict[str, Any]:
    """Inputs of a member."""
    return {
        "droplet_id": droplet,
        "releases_bucket": buckets.releases,
        "state_bucket": buckets.state,
        "region": buckets.region,
    }


def leaving(buckets: Buckets) -> tuple[str, ...]:
    """Who is told to leave."""
    return Desired.parse(buckets.client.get_json(buckets.releases, DESIRED)).leaving


@pytest.fixture
def desired(buckets: Buckets) -> Buckets:
    """Buckets with a release that three Droplets run."""
    document = Desired(
        release=release(1), attempt=3, droplets=("6", "7", "8"), turns=("6", "7", "8"), complete=True
    ).document()
    buckets.client.put_json(buckets.releases, DESIRED, document)
    return buckets


class Droplet:
    """Does a step each time that it is waited for, and reports the phase."""

    def __init__(self, buckets: Buckets, phases: list[str]) -> None:
        self.buckets = buckets
        self.phases = phases
        self.clock = 0.0

    def step(self, seconds: float) -> None:
        """Stand for pause."""
        self.clock += seconds
        if self.phases:
            state = {"release": "r", "attempt": 3, "phase": self.phases.pop(0), "healthy": False, "error": None}
            self.buckets.client.put_json(self.buckets.state, "nodes/7.json", {**state, "at": "2026-11-30T10:00:00Z"})


def delete(droplet: Droplet, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Delete its member; return what was warned of."""
    monkeypatch.setattr(member, "pause", droplet.step)
    monkeypatch.setattr(member, "monotonic", lambda: droplet.clock)
    warned: list[str] = []
    with running(Operation(threading.Event(), list[str]().append, warned.append)):
        MemberProvider().delete("7", props(droplet.buckets))
    return warned


def test_it_is_told_to_leave_and_waited_for(desired: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its visitors are served before the Droplet is deleted; the release and whose turn it was stay."""
    droplet = Droplet(desired, ["done", "leaving", *["leaving"] * 50, "left"])
    assert delete(droplet, monkeypatch) == []
    assert leaving(desired) == ("7",)
    assert Desired.parse(desired.client.get_json(desired.releases, DESIRED)).turns == ("6", "7", "8")
    assert droplet.clock == 26.5


def test_one_that_does_not_answer_is_not_waited_for_long(desired: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is dead, or as good as that: a sick Droplet must be replaceable."""
    droplet = Droplet(desired, [])
    assert delete(droplet, monkeypatch) == ["Droplet 7: does not answer; it is deleted all the same"]
    assert droplet.clock == 15


def test_one_that_does_not_come_to_an_end_is_cut_off(desired: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """A visitor may hold on for ever."""
    [warned] = delete(Droplet(desired, ["leaving"]), monkeypatch)
    assert "has not served its last visitors within 75 s" in warned


def test_deleting_everything_needs_neither_release_nor_keys(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pulumi destroy` does not depend on Spaces; what could not be done is said."""
    assert delete(Droplet(buckets, []), monkeypatch) == []

    def no_keys(_self: object, _region: str) -> None:
        raise ActionError("Spaces keys: must be set, found none")

    monkeypatch.setattr(MemberProvider, "spaces", no_keys)
    [warned] = delete(Droplet(buckets, []), monkeypatch)
    assert "could not be taken out of the load balancer before it is deleted: Spaces keys" in warned


def test_an_interruption_keeps_it_for_the_next_update(desired: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgotten by the engine, the Droplet would be deleted with its visitors; it goes on leaving meanwhile."""
    stopped = threading.Event()
    stopped.set()
    said: list[str] = []
    with running(Operation(stopped, str, said.append)), pytest.raises(Interrupted):
        MemberProvider().delete("7", props(desired))
    assert (said, leaving(desired)) == ([], ("7",))
    assert delete(Droplet(desired, ["left"]), monkeypatch) == []


def test_a_refresh_finds_one_that_has_left(desired: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody wrote that down, or a deletion was interrupted: the next update lets it in again, where it stays."""
    assert MemberProvider().read("7", props(desired)).id == "7"
    droplet = Droplet(desired, ["leaving", "left"])
    delete(droplet, monkeypatch)
    assert MemberProvider().read("7", props(desired)).id is None
    assert MemberProvider().read("8", props(desired, "8")).outs == props(desired, "8")
    droplet.phases = ["leaving"]
    droplet.step(0)
    assert MemberProvider().read("7", props(desired)).id == "7", "its deletion has to wait for it"


def test_where_nothing_is_desired_all_stay(buckets: Buckets) -> None:
    """The Rollout is what is gone then."""
    assert MemberProvider().read("7", props(buckets)).id == "7"


def test_one_that_was_to_leave_and_stays_is_told_so(desired: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its deletion had failed, and it is wanted again."""
    delete(Droplet(desired, ["left"]), monkeypatch)
    MemberProvider().create(props(desired))
    assert leaving(desired) == ()


def test_another_droplet_is_another_member(buckets: Buckets) -> None:
    """Made before the old one leaves."""
    diff = MemberProvider().diff("7", props(buckets), props(buckets, "8"))
    assert (diff.changes, diff.replaces) == (True, ["droplet_id"])
    assert MemberProvider().diff("7", props(buckets), props(buckets)).changes is False
