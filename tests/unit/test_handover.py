"""A site that moves to another address: it serves there first, and the old one until nobody asks for it."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from protocol.health import mark
from provider.actions import ActionError, Operation, PartlyMade, running
from provider.traffic import handover, new_address
from provider.traffic.handover import HandoverProvider
from provider.traffic.new_address import NewAddressProvider
from provider.traffic.public_site import Answer, Site
from provider.traffic.record_ttl import Ttl

OLD, NEW = "203.0.113.9", "203.0.113.80"


def address(value: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Inputs of NewAddress."""
    props = {"url": "https://shop.example", "address": value, "region": "nyc3", "release": "r"}
    return props | {"ttl": 60, "deadline": 60, **more}


def made(value: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """What the state has of NewAddress."""
    return address(value, **{"old_is_asked_for": 0, "before": [], **more})


def move(value: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Inputs of Handover."""
    props = {"url": "https://shop.example", "address": value, "before": [], "dns": "managed", "droplet_ids": ["101"]}
    return props | {"old_is_asked_for": 60, "patience": 300, **more}


class Clock:
    """Time passes only when somebody waits."""

    def __init__(self) -> None:
        self.now_ = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
        self.waited = 0.0

    def now(self, _zone: object) -> datetime:
        """Stand for datetime.now."""
        return self.now_

    def fromisoformat(self, text: str) -> datetime:
        """Stand for datetime.fromisoformat."""
        return datetime.fromisoformat(text)

    def step(self, seconds: float) -> None:
        """Stand for pause."""
        self.waited += seconds
        self.now_ += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Rule the time."""
    clock = Clock()
    monkeypatch.setattr(handover, "datetime", clock)
    monkeypatch.setattr(handover, "pause", clock.step)
    monkeypatch.setattr(new_address, "pause", clock.step)
    monkeypatch.setattr(new_address, "monotonic", lambda: clock.waited)
    return clock


def test_a_first_address_needs_nothing(clock: Clock) -> None:
    """There is no way of before that would have to go on."""
    assert NewAddressProvider().create(address(OLD)).outs == made(OLD)
    HandoverProvider().create(move(OLD))
    assert clock.waited == 0


def test_a_new_address_serves_before_the_name_leads_there(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then nothing is given up; the record of before lives as long as it said."""
    answers = [Answer("nothing there"), Answer("503"), Answer()]
    asked: list[tuple[Site, str]] = []

    def ask_at(site: Site, where: str, _trusted: object) -> Answer:
        asked.append((site, where))
        return answers.pop(0)

    monkeypatch.setattr(new_address, "ask_at", ask_at)
    updated = NewAddressProvider().update("id", made(OLD, ttl=90), address(NEW))
    assert updated.outs == made(NEW, old_is_asked_for=90, before=[OLD])
    assert asked[0] == (Site(url="https://shop.example", release="r"), NEW)
    assert clock.waited == 1


def test_a_new_address_that_does_not_serve_gets_nobody(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The update ends, with what was wrong and the address that stays."""
    monkeypatch.setattr(new_address, "ask_at", lambda *_: Answer("it answered 503", "see Nginx"))
    with pytest.raises(
        ActionError, match=rf"keeps its address {OLD}, since {NEW} must serve release r .*503; see Nginx; .*refresh"
    ):
        NewAddressProvider().update("id", made(OLD), address(NEW))
    assert clock.waited == pytest.approx(60, abs=1)


def test_an_address_in_another_region_is_not_waited_for(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can serve there before the name leads there: the certificate is obtained by that."""
    monkeypatch.setattr(new_address, "ask_at", lambda *_: Answer("nothing there"))
    updated = NewAddressProvider().update("id", made(OLD), address(NEW, region="fra1", release=""))
    assert updated.outs == made(NEW, region="fra1", release="", old_is_asked_for=60, before=[OLD])
    assert clock.waited == 0


def test_a_state_that_has_no_region_gets_one(clock: Clock) -> None:
    """Else the first change of the region would not be known for one; what the state knows of a move stays."""
    older = made(NEW, old_is_asked_for=60, before=[OLD])
    del older["region"]
    assert NewAddressProvider().diff("id", older, address(NEW)).changes is True
    known = NewAddressProvider().update("id", older, address(NEW)).outs
    assert known == made(NEW, old_is_asked_for=60, before=[OLD])
    assert NewAddressProvider().diff("id", known, address(NEW)).changes is False
    assert clock.waited == 0


def test_the_old_address_is_waited_for(clock: Clock) -> None:
    """So the engine deletes nothing while resolvers have it."""
    updated = HandoverProvider().update("id", move(OLD), move(NEW))
    assert clock.waited == 60
    assert updated.outs == move(NEW)
    assert HandoverProvider().diff("id", updated.outs or {}, move(NEW)).changes is False


def test_a_wait_that_was_interrupted_goes_on_from_where_it_was(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next update waits for the rest alone."""

    def interrupted(seconds: float) -> None:
        clock.step(seconds)
        if clock.waited >= 20:
            raise ActionError("interrupted")

    monkeypatch.setattr(handover, "pause", interrupted)
    with pytest.raises(PartlyMade) as caught:
        HandoverProvider().update("id", move(OLD), move(NEW))
    kept = caught.value.outs
    assert HandoverProvider().diff("id", kept, move(NEW)).changes is True
    clock.step(10)
    monkeypatch.setattr(handover, "pause", clock.step)
    assert HandoverProvider().update("id", kept, move(NEW)).outs == move(NEW)
    assert clock.waited == 60


def test_a_record_that_lives_longer_than_allowed_is_said_and_kept(clock: Clock) -> None:
    """Both ways serve meanwhile; a later update ends it, or the user says that it may be lost."""
    long = {"old_is_asked_for": 3600}
    with pytest.raises(
        PartlyMade, match=r"until 13:00:00 UTC, 3600 s from now, which is longer than dnsPatience"
    ) as caught:
        HandoverProvider().update("id", move(OLD), move(NEW, **long))
    assert clock.waited == 0
    clock.step(3500)
    HandoverProvider().update("id", caught.value.outs, move(NEW, **long))
    assert clock.waited == 3600
    assert HandoverProvider().update("id", caught.value.outs, move(NEW, patience=0, **long)).outs is not None


def zones(seconds: int) -> Ttl:
    """What a server of the zone says."""
    return Ttl(seconds, is_the_zones=True)


@pytest.fixture
def leads(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Where a name leads that others keep."""
    leads = {OLD}
    monkeypatch.setattr(handover, "addresses", lambda _url: leads)
    return leads


def test_a_name_that_others_keep_is_theirs_to_change(
    clock: Clock, leads: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time begins once it leads elsewhere; it is that of the record that was there."""
    ttls = {OLD: 200, NEW: 30}
    monkeypatch.setattr(handover, "ttl_of", lambda name: zones(ttls[max(leads)] * (name == "shop.example")))
    external = move(NEW, dns="external")
    with pytest.raises(
        PartlyMade, match=f"change its DNS record to {NEW}, .* until the record of now has run out, 200 s"
    ) as caught:
        HandoverProvider().update("id", move(OLD, dns="external"), external)
    clock.step(1000)
    leads.remove(OLD)
    leads.add(NEW)
    HandoverProvider().update("id", caught.value.outs, external)
    assert clock.waited == 1200


def test_a_record_of_others_that_lives_longer_than_allowed_is_said(
    clock: Clock, leads: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of ours is; the time is that of the record that took its place, if the one before was never seen."""
    monkeypatch.setattr(handover, "ttl_of", lambda _name: zones(3600))
    leads.symmetric_difference_update({OLD, NEW})
    external = move(NEW, dns="external")
    with pytest.raises(PartlyMade, match="3600 s from now, which is longer than dnsPatience") as caught:
        HandoverProvider().update("id", move(OLD, dns="external"), external)
    clock.step(3600)
    assert HandoverProvider().update("id", caught.value.outs, external).outs == external
    assert clock.waited == 3600


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Ttl(None), "(no name server answered), 60 s is assumed"),
        (Ttl(7), "(only a resolver answered, which knows what is left), 60 s is assumed"),
        (Ttl(150), "(only a resolver answered, which knows what is left), 150 s is assumed"),
    ],
)
def test_where_no_server_of_the_zone_answers_the_time_is_assumed_and_that_is_said(
    clock: Clock, leads: set[str], monkeypatch: pytest.MonkeyPatch, found: Ttl, said: str
) -> None:
    """Not less than our own records have."""
    monkeypatch.setattr(handover, "ttl_of", lambda _name: found)
    leads.symmetric_difference_update({OLD, NEW})
    warnings: list[str] = []
    with running(Operation(threading.Event(), lambda _text: None, warnings.append)):
        HandoverProvider().update("id", move(OLD, dns="external"), move(NEW, dns="external"))
    assert warnings == [f"https://shop.example: for how long its DNS record may be remembered is not known {said}"]
    assert said.endswith(f", {clock.waited:.0f} s is assumed")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Answer]:
    """What is heard at the name, and at the old address."""
    answers = {"name": Answer("Temporary failure in name resolution"), OLD: Answer(served_by=mark("100"))}
    monkeypatch.setattr(handover, "ask", lambda _site, _trusted: answers["name"])
    monkeypatch.setattr(handover, "ask_at", lambda _site, where, _trusted: answers[where])
    monkeypatch.setattr(handover, "ttl_of", lambda _name: zones(60))
    return answers


def refusal(olds: dict[str, Any], news: dict[str, Any]) -> PartlyMade:
    """What keeps a move from its end."""
    with pytest.raises(PartlyMade) as caught:
        HandoverProvider().update("id", olds, news)
    return caught.value


def test_no_answer_of_a_resolver_is_no_move(clock: Clock, leads: set[str], answers: dict[str, Answer]) -> None:
    """Visitors may well come by the old address; that one goes only once the name was seen to lead to the new one."""
    external = move(NEW, dns="external")
    leads.clear()
    refused = refusal(move(OLD, dns="external"), external)
    assert f"whether visitors still come by {OLD} is not known: it leads to no address that" in str(refused)
    assert f"{answers['name'].problem}. Change its DNS record" in str(refused)
    assert "set dnsPatience to 0 for one update" in str(refused)
    clock.step(1000)
    leads.add(NEW)
    assert HandoverProvider().update("id", refused.outs, external).outs == external
    assert clock.waited == 1060


def test_a_name_behind_a_proxy_has_moved_once_new_droplets_answer(
    clock: Clock, leads: set[str], answers: dict[str, Answer]
) -> None:
    """Its addresses are the proxy's before and after."""
    external = move(NEW, dns="external")
    leads.symmetric_difference_update({OLD, "198.51.100.1"})
    answers["name"] = answers[OLD]
    refused = refusal(move(OLD, dns="external"), external)
    assert "it leads to 198.51.100.1, not to" in str(refused)
    assert "none of the stack's new Droplets answers there" in str(refused)
    clock.step(1000)
    answers["name"] = Answer(served_by=mark("101"))
    assert HandoverProvider().update("id", refused.outs, external).outs == external
    assert clock.waited == 1060


def test_droplets_that_answer_by_both_addresses_prove_nothing(
    clock: Clock, leads: set[str], answers: dict[str, Answer]
) -> None:
    """Another balancer before the same Droplets, behind a proxy: the user alone knows, and has a way on."""
    leads.symmetric_difference_update({OLD, "198.51.100.1"})
    answers["name"] = answers[OLD] = Answer(served_by=mark("101"))
    refused = refusal(move(OLD, dns="external"), move(NEW, dns="external"))
    assert f"{OLD} leads to the same Droplets" in str(refused)
    known = move(NEW, dns="external", patience=0)
    assert HandoverProvider().update("id", refused.outs, known).outs == known
    assert clock.waited == 0


def test_moving_back_before_the_end_waits_for_who_comes_by_the_new_address(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name led there until now; the old address serves all along, and is the one that stays."""

    def interrupted(_seconds: float) -> None:
        raise ActionError("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(handover, "pause", interrupted)
        kept = refusal(move(OLD), move(NEW, before=[OLD])).outs
    back = move(OLD, before=[OLD, NEW])
    assert HandoverProvider().update("id", kept, back).outs == back
    assert clock.waited == 60


def test_an_address_that_came_and_went_unseen_is_waited_for(clock: Clock) -> None:
    """An update ended when the record had been moved, and the settings were changed back."""
    back = move(OLD, before=[OLD, NEW])
    assert HandoverProvider().diff("id", move(OLD), back).changes is True
    assert HandoverProvider().update("id", move(OLD), back).outs == back
    assert clock.waited == 60
    assert HandoverProvider().diff("id", back, back).changes is False


def test_each_earlier_address_has_its_own_time(clock: Clock) -> None:
    """A third one, while the first is still asked: the last to run out is waited for."""
    other = "203.0.113.81"
    since = clock.now_.isoformat()
    unfinished = move(NEW, before=[OLD], earlier=[{"address": OLD, "since": since, "ttl": 200}])
    clock.step(100)
    HandoverProvider().update("id", unfinished, move(other, before=[OLD, NEW]))
    assert clock.waited == 200


def test_a_wait_that_an_older_version_began_goes_on(clock: Clock) -> None:
    """Its state has one old address."""
    older = move(NEW) | {"old_address": OLD, "since": clock.now_.isoformat(), "old_ttl": 90}
    del older["before"], older["droplet_ids"]
    clock.step(30)
    assert HandoverProvider().diff("id", older, move(NEW)).changes is True
    assert HandoverProvider().update("id", older, move(NEW)).outs == move(NEW)
    assert clock.waited == 90
