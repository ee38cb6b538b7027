"""The report of real previews: what the engine would do, in plain words, before it does it."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sandbox.world.world import World
from tests.commands import ROOT
from tests.pulumi_stack import PulumiStack, Settings


@pytest.fixture(scope="module")
def stack(api_world: World) -> Iterator[PulumiStack]:
    """The stack `local`, deployed, and gone in the end."""
    stack = PulumiStack(api_world)
    stack.up()
    yield stack
    stack.forget()


def report(
    stack: PulumiStack, settings: Settings | None, monkeypatch: pytest.MonkeyPatch, *argv: str
) -> tuple[int, str]:
    """Exit status and text of the report; making it is not part of what a person waits for."""
    monkeypatch.setenv("PULUMI_ENABLE_STREAMING_JSON_PREVIEW", "true")
    events = stack.run("preview", "--json", *argv, settings=settings, check=False).stdout
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-m", "operations", "preview", "report"],
        cwd=ROOT,
        input=events,
        capture_output=True,
        text=True,
        check=False,
    )
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("settings", "status", "expected"),
    [
        (None, 0, ["### `local`: nothing changes", "Cost: about $26.15 a month, as before\n"]),
        pytest.param(
            {"storage.cdn.ttl": 600},
            0,
            ["### `local`: 1 updated", "updated CDN endpoint `polls-local-cdn` (`storage.cdn.ttl`)"],
            marks=pytest.mark.prove,
        ),
        pytest.param(
            {"web.packages": ["gettext"]},
            0,
            ["no downtime", "`polls-local-web-1` is replaced without downtime", "`web.packages`"],
            marks=pytest.mark.prove,
        ),
        pytest.param(
            {"web.workers": 3, "web.size": "s-2vcpu-4gb"},
            0,
            ["replaced without downtime", "`web.size`", "Cost: about $44.15 a month (was $26.15, +$18.00)"],
            marks=pytest.mark.prove,
        ),
        (
            {"web.size": "s-1vcpu-2gb", "web.backups": True, "database.size": "db-s-1vcpu-2gb"},
            0,
            [
                "Cost: about $49.85 a month (was $26.15, +$23.70)",
                "- Droplet `polls-local-web-1`: $12.00 (s-1vcpu-2gb), was $6.00 (s-1vcpu-1gb)",
                "- backups of `polls-local-web-1`: $2.40 (weekly), new",
                "- database cluster `polls-local-db`: $30.45 (1 x db-s-1vcpu-2gb), was $15.15 (1 x db-s-1vcpu-1gb)",
                "- Spaces: $5.00",
            ],
        ),
        (
            {"pool.size": 10},
            0,
            ["**an outage**", "- **OUTAGE**: the connection pool", "- pool 10 + direct 2", "(was: pool 20 + direct 2"],
        ),
        pytest.param(
            {"database.version": "18"}, 0, ["- **OUTAGE**: PostgreSQL is upgraded in place"], marks=pytest.mark.prove
        ),
        pytest.param(
            {"database.timeouts.lock": 5}, 0, ["- **CARE**: SQL is run from this machine"], marks=pytest.mark.prove
        ),
        (
            {"region": "fra1", "network.cidr": "10.45.0.0/20"},
            0,
            [
                "### `local`: **DATA LOSS**",
                "- **DATA LOSS**: `polls-local-db` is replaced",
                "- **DATA LOSS**: `polls-local-database` is replaced",
                "- **DATA LOSS**: `polls-local-app` is replaced",
                "- **DATA LOSS**: `polls-local-media` is replaced, and its objects (what people uploaded) with it.",
                "- **OUTAGE**: the site's address is replaced",
                "`polls-local-web-1` is replaced, and the site is down meanwhile",
                "Cost: about $26.15 a month, as before",
            ],
        ),
        pytest.param(
            {"domain": "www.polls.example"},
            0,
            [
                "- **DATA LOSS**: `polls-local-domain` is replaced, and every record of its zone with it",
                "- **OUTAGE**: the site is www.polls.example instead of polls.example",
                "the site is down meanwhile, because the site gets the name www.polls.example",
            ],
            marks=pytest.mark.prove,
        ),
        pytest.param(
            {"network.cidr": "10.41.0.0/20"},
            0,
            ["**DATA LOSS**", "`polls-local-db` is replaced", "the private network is a new one"],
            marks=pytest.mark.prove,
        ),
        (
            {"network.sshFrom": ["0.0.0.0/1", "128.0.0.0/1"], "network.sshKeys": ["1"]},
            1,
            ["### `local`: **refused**", "- **REFUSED** by the rule `ssh-not-public`: "],
        ),
        # Its own network is there still when the new one is made.
        pytest.param(
            {"region": "fra1"},
            1,
            ["### `local`: **refused**", "- **REFUSED**: network.cidr: must not overlap a VPC"],
            marks=pytest.mark.prove,
        ),
        # Found out when the program reads its settings, and when a value becomes known.
        ({"web.size": "huge"}, 1, ["### `local`: **refused**", '  web.size: must be a Droplet size, got "huge"']),
        (
            {"app.env": {"TOKEN": "a\0b"}},
            1,
            ["### `local`: **refused**", "  environment.env.TOKEN: must not hold a NUL"],
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_change_is_told(
    stack: PulumiStack, settings: Settings | None, status: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by a second of a processor's time at most after the engine's end."""
    # The pack has nothing to say of the others (tests/stack/test_api_depth.py), and a second to compute.
    pack = ("--policy-pack", "policy/run") if any("by the rule" in part for part in expected) else ()
    returned, text = report(stack, settings, monkeypatch, *pack)
    assert returned == status, text
    assert "Traceback" not in text
    for part in expected:
        assert part in text, text
    if status == 0 and "DATA LOSS" not in "".join(expected):
        assert "DATA LOSS" not in text


def test_what_is_deployed_has_its_price(stack: PulumiStack) -> None:
    """The same as its preview says."""
    said = stack.run("cost").stdout.splitlines()
    assert said[0] == "about $26.15 a month, by list prices (docs/cost.md)"
    assert "- Droplet `polls-local-web-1`: $6.00 (s-1vcpu-1gb)" in said


def test_no_secret_is_in_a_report(stack: PulumiStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes into a pull request, which everybody may read."""
    secrets = [
        value
        for found in stack.resources().values()
        for name, value in (found.get("outputs") or {}).items()
        if name in {"password", "secretKey", "value", "privateUri"} and isinstance(value, dict)
    ]
    plain = [str(found["plaintext"]).strip('"') for found in secrets]
    assert len(plain) >= 6
    _, text = report(stack, {"web.packages": ["gettext"], "database.timeouts.lock": 5}, monkeypatch)
    assert [secret for secret in plain if secret in text] == []
