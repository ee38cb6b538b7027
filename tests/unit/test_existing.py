"""Existing's hooks without an engine: who waits for whom, who refuses, and what is said once."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

import pulumi
import pytest

from components import existing
from components.account import Look, Note, Problem, Wanted
from components.existing import Existing
from config.stack import StackConfig
from provider.api import Ask, UnreadableError
from tests.commands import ROOT

HOOK = pulumi.ResourceHook
Hook = Callable[[Any], Coroutine[Any, Any, None]]


class Hooks(dict[str, Hook]):
    """What is called by the names of hooks, which nobody registers here."""

    def hook(self, name: str, callback: Hook, _options: pulumi.ResourceHookOptions) -> pulumi.ResourceHook:
        """Stand for the SDK's class."""
        self[name.rpartition("-existing-")[2]] = callback
        hook = object.__new__(HOOK)
        hook.name, hook.callback = name, callback
        return hook


class NoOutputs:
    """What a stack without outputs answers."""

    async def future(self) -> dict[str, object]:
        """Have none."""
        return {}


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Hooks:
    """Of an update of a stack."""
    hooks = Hooks()
    monkeypatch.setattr(existing, "_own", NoOutputs)
    monkeypatch.setattr(pulumi, "ResourceHook", hooks.hook)
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: False)
    return hooks


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each warning."""
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    return said


def of_account(*, token: str = "dop_v1_secret") -> Existing:  # noqa: S107 nobody's
    """Existing with the settings that matter here."""
    config = StackConfig.model_validate(
        {"name": "shop", "region": "nyc3", "domain": "shop.example", "app": {"path": str(ROOT / "app")}}
        | {"database": {"size": "db-s-1vcpu-1gb"}, "web": {"size": "s-1vcpu-1gb"}}
        | {"alerts": {}}
    )
    return Existing(config, {"DIGITALOCEAN_TOKEN": token})


def look(*findings: Problem | Note) -> Look:
    """A look that finds this."""

    def look(_ask: Ask, _wanted: Wanted) -> Iterator[Problem | Note]:
        yield from findings

    return look


def unreadable(_ask: Ask, _wanted: Wanted) -> Iterator[Problem | Note]:
    """A look that is answered by nobody."""
    raise UnreadableError("/v2/vpcs is answered with 403")


def outcomes(hooks: Hooks, *roles: str) -> list[str]:
    """Call hooks at once; the text of each refusal, "" for none."""

    async def all_of_them() -> list[BaseException | None]:
        return await asyncio.gather(*(hooks[role](None) for role in roles), return_exceptions=True)

    loop = asyncio.new_event_loop()  # asyncio.run would leave other tests without one
    try:
        return ["" if found is None else str(found) for found in loop.run_until_complete(all_of_them())]
    finally:
        loop.close()


def test_nothing_is_created_beside_what_is_refused(hooks: Hooks) -> None:
    """The other one that comes first waits, and is refused with it."""
    account = of_account()
    account.refusal("vpc", look(), first=True)
    account.refusal("domain", look(Problem("domain: is there")), first=True)
    assert outcomes(hooks, "vpc", "domain") == [
        "nothing else is created: what exists already comes first",
        "domain: is there",
    ]


def test_all_that_is_in_the_way_of_one_is_said_together(hooks: Hooks) -> None:
    """With what an update looks for ahead of it, a line each."""
    of_account().refusal("vpc", look(Problem("range"), Problem("range 2")), first=True, ahead=look(Problem("cluster")))
    assert outcomes(hooks, "vpc") == ["range\nrange 2\ncluster"]


def test_a_preview_waits_for_nothing(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    """It creates nothing, so each says its own, and looks for nothing ahead."""
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    account = of_account()
    account.refusal("vpc", look(), first=True, ahead=look(Problem("cluster")))
    account.refusal("domain", look(Problem("domain: is there")), first=True)
    assert account.looked == []
    assert outcomes(hooks, "vpc") == [""]


def test_of_many_the_first_asks_before_any_is_made(hooks: Hooks) -> None:
    """By the time of the last one the others are there: they would be counted twice. Refused is each."""
    asked: list[int] = []

    def full(_ask: Ask, _wanted: Wanted) -> Iterator[Problem | Note]:
        asked.append(len(asked))
        yield Problem("web.count: must fit the account")

    of_account().refusal("web", full)
    assert outcomes(hooks, "web", "web", "web") == ["web.count: must fit the account", *["it is not made, either"] * 2]
    of_account().refusal("web", look())
    assert outcomes(hooks, "web", "web", "web") == ["", "", ""]
    assert asked == [0]


class OwnOutputs:
    """What a stack with two Droplets behind a load balancer answers."""

    async def future(self) -> dict[str, object]:
        """Have some."""
        return {"database_id": "9cc10173", "droplet_ids": ["1", "2"], "edge": "balanced"}


def test_what_is_in_the_way_is_looked_for_again_without_what_is_the_stacks(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cluster and its Droplets, of which those with another edge are all replaced."""
    monkeypatch.setattr(existing, "_own", OwnOutputs)
    seen: list[Wanted] = []

    def full(_ask: Ask, wanted: Wanted) -> Iterator[Problem | Note]:
        seen.append(wanted)
        yield Problem("web.count: must fit the account")

    of_account().refusal("web", full)
    assert outcomes(hooks, "web") == ["web.count: must fit the account"]
    first, second = seen
    assert (first.edge, first.own_cluster, first.own_droplets, first.own_edge) == ("direct", None, 0, None)
    assert second == replace(first, own_cluster="9cc10173", own_droplets=2, own_edge="balanced")


def test_an_engine_that_does_one_thing_at_a_time_goes_on(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other hook is called after this one has ended."""
    monkeypatch.setattr(existing, "HELD", 0.05)
    account = of_account()
    account.refusal("vpc", look(), first=True)
    account.refusal("domain", look(), first=True)
    assert outcomes(hooks, "vpc") == [""]


def test_what_can_not_be_read_is_said_once(hooks: Hooks, said: list[str]) -> None:
    """And refuses nothing; notes are said as they are."""
    account = of_account()
    account.refusal("vpc", unreadable)
    account.refusal("db", unreadable)
    account.refusal("domain", look(Note("domain: a note")))
    assert outcomes(hooks, "vpc", "db", "domain") == ["", "", ""]
    line = "what exists already in the account was not looked for: /v2/vpcs is answered with 403"
    assert sorted(said) == ["domain: a note", line]


def test_without_a_token_nobody_is_asked(hooks: Hooks, said: list[str]) -> None:
    """DigitalOcean's provider says what is missing."""
    of_account(token="").refusal("vpc", unreadable)
    assert (outcomes(hooks, "vpc"), said) == ([""], [])


EOF = "invoke of pulumi:pulumi:readStackOutputs failed: invocation returned an error: failed to load checkpoint: EOF"


@pytest.mark.parametrize(
    ("failures", "tries"),
    [([], 1), ([EOF], 2), ([EOF] * 19, 20)],
    ids=["at once", "while it was written", "at last"],
)
def test_a_state_that_is_being_written_is_read_again(
    monkeypatch: pytest.MonkeyPatch, failures: list[str], tries: int
) -> None:
    """A backend of files has half of it for a moment: the engine writes it while the program asks for its outputs."""
    asked = answering(monkeypatch, failures)
    assert asyncio.run(existing._outputs("organization/django-do/prod")) == {"outputs": {"database_id": "d"}}
    assert asked == ["pulumi:pulumi:readStackOutputs organization/django-do/prod"] * tries


@pytest.mark.parametrize(
    ("failures", "tries"), [(["no such stack"], 1), ([EOF] * 20, 20)], ids=["something else", "for ever"]
)
def test_what_can_not_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch, failures: list[str], tries: int) -> None:
    """At once, or after two seconds."""
    asked = answering(monkeypatch, failures)
    with pytest.raises(Exception, match=failures[-1]):
        asyncio.run(existing._outputs("organization/django-do/prod"))
    assert len(asked) == tries


def answering(monkeypatch: pytest.MonkeyPatch, failures: list[str]) -> list[str]:
    """An engine that fails so often first; returns what it is asked."""
    asked: list[str] = []
    left = iter(failures)

    async def invoke(token: str, arguments: dict[str, str]) -> dict[str, dict[str, str]]:
        asked.append(f"{token} {arguments['name']}")
        if (failure := next(left, None)) is not None:
            raise Exception(failure)  # noqa: TRY002 - as the SDK does
        return {"outputs": {"database_id": "d"}}

    monkeypatch.setattr(pulumi.runtime, "invoke_async", invoke)
    monkeypatch.setattr(existing, "READ_AGAIN", 0)
    return asked
