"""A load balancer ends before its firewall does, by the API; what can't be done is said, and holds nothing up."""

from typing import Any

import pytest

from provider import actions, api
from provider.actions import ActionError, Interrupted, Operation
from provider.api import UnreadableError
from provider.traffic import balancer_end
from provider.traffic.balancer_end import END_SECONDS, BalancerEndProvider

PROPS = {"balancer_id": "4de7ac8b"}


class Account:
    """Stands for the API's client: has a balancer until it was asked for some times after its deletion."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.stays = 0.0
        self.refuses = ""
        monkeypatch.setenv("DIGITALOCEAN_TOKEN", "dop_v1_secret")
        monkeypatch.setattr(api, "Api", lambda *_inputs: self)
        monkeypatch.setattr(balancer_end, "pause", self.pass_)
        monkeypatch.setattr(balancer_end, "monotonic", lambda: self.now)
        self.now = 0.0

    def pass_(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def get(self, path: str) -> dict[str, Any] | None:
        """Return it as long as it is there, or refuse to."""
        self.asked.append(f"GET {path}")
        if self.refuses:
            raise UnreadableError(self.refuses)
        return {"load_balancer": {}} if self.now < self.stays else None

    def delete(self, path: str) -> None:
        """Delete it, or refuse to."""
        if self.refuses:
            raise UnreadableError(self.refuses)
        self.asked.append(f"DELETE {path}")


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    """One account."""
    return Account(monkeypatch)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What stays on the screen."""
    said: list[str] = []
    monkeypatch.setattr(balancer_end, "warn", said.append)
    return said


def test_it_is_deleted_and_waited_for(account: Account, warnings: list[str]) -> None:
    """The firewall's turn comes when the API has it no more."""
    account.stays = 2.0
    BalancerEndProvider().delete("id", PROPS)
    assert account.asked == ["DELETE load_balancers/4de7ac8b"] + ["GET load_balancers/4de7ac8b"] * 5
    assert account.now == account.stays
    assert warnings == []


def test_what_can_not_be_deleted_is_said(account: Account, warnings: list[str]) -> None:
    """Destroying depends on nothing; the API's own words are there."""
    account.refuses = "/v2/load_balancers/4de7ac8b is answered with 403"
    BalancerEndProvider().delete("id", PROPS)
    account.refuses, account.stays = "", END_SECONDS + 10
    BalancerEndProvider().delete("id", PROPS)
    assert ["is answered with 403; visitors who" in one for one in warnings] == [True, False]
    assert "it is still there after 60 s" in warnings[1]


def test_without_a_token_the_engine_does_it(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """DigitalOcean's provider may have it from the stack's settings, which are not for us."""
    monkeypatch.delenv("DIGITALOCEAN_TOKEN")
    monkeypatch.delenv("DIGITALOCEAN_ACCESS_TOKEN", raising=False)
    BalancerEndProvider().delete("id", PROPS)
    assert BalancerEndProvider().create(PROPS).id == "4de7ac8b"
    assert account.asked == []


def test_a_balancer_that_has_ended_is_not_taken_for_one(account: Account) -> None:
    """An update was killed between its end and the engine's; the settings were changed back then."""
    with pytest.raises(ActionError, match="run `pulumi refresh`, then `pulumi up`"):
        BalancerEndProvider().create(PROPS)
    account.stays = 1.0
    assert BalancerEndProvider().create(PROPS).outs == PROPS


def test_what_the_api_does_not_say_holds_no_update_up(account: Account) -> None:
    """A refusal, or too many questions: the engine asks of its own."""
    account.refuses = "/v2/load_balancers/4de7ac8b is answered with 429"
    assert BalancerEndProvider().create(PROPS).outs == PROPS
    assert account.asked == ["GET load_balancers/4de7ac8b"]


def test_another_account_is_not_asked(account: Account) -> None:
    """The stack's settings have its token, the environment one of somebody else's, who has no such balancer."""
    assert BalancerEndProvider().create(PROPS | {"elsewhere": True}).outs == PROPS
    assert account.asked == []


def test_an_interruption_is_heard(account: Account, monkeypatch: pytest.MonkeyPatch, warnings: list[str]) -> None:
    """Ctrl-C ends the wait, and the engine keeps the end; else the next update would delete the firewall first."""
    account.stays = 2.0
    monkeypatch.setattr(balancer_end, "pause", actions.pause)
    stopped = actions.threading.Event()
    stopped.set()
    with actions.running(Operation(stopped, str, str)), pytest.raises(Interrupted, match="run `pulumi up` again"):
        BalancerEndProvider().delete("id", PROPS)
    assert warnings == []
    account.stays = 0.0
    BalancerEndProvider().delete("id", PROPS)
    assert account.asked[-2:] == ["DELETE load_balancers/4de7ac8b", "GET load_balancers/4de7ac8b"]


@pytest.mark.parametrize("value", ["", 7, None])
def test_what_names_no_balancer_is_refused(value: object) -> None:
    """By its path."""
    [problem] = BalancerEndProvider().check({}, {"balancer_id": value}).failures
    assert problem.startswith("balancer_end.balancer_id: must be a non-empty text, got ")


def test_another_balancer_is_another_end() -> None:
    """The old one's comes after all else."""
    found = BalancerEndProvider().diff("id", PROPS, {"balancer_id": "other"})
    assert (found.changes, found.replaces) == (True, ["balancer_id"])
    assert not BalancerEndProvider().diff("id", PROPS, PROPS).changes
