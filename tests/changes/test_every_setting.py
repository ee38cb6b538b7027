"""Each setting is changed, one after the other: what becomes of the site is what preview and page say.

`make prove` changes all of them; `make test` one for each kind of outcome.
"""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

from config.stack import StackConfig
from operations.preview import events
from operations.preview.effect import Level
from operations.preview.meaning import effects
from operations.settings_docs import settings as all_settings
from sandbox.world.world import World
from tests.api_client import connect
from tests.changes.page import HEAD, Row, page, without_seconds
from tests.changes.settings import CHANGES, Change, Given, Outcome
from tests.changes.watch import APP_ROLE, Away, Watched, watch
from tests.commands import ROOT
from tests.pulumi_stack import PulumiStack, Settings, Step

PAGE = ROOT / "docs" / "changes.md"
UPDATE = bool(os.environ.get("UPDATE_CHANGES"))
LOST = {"DatabaseCluster", "DatabaseDb", "DatabaseUser", "SpacesBucket", "Domain"}


def watched(stack: PulumiStack) -> Watched:
    """Where the site is now, and how the app gets at its database."""
    roles = [found["outputs"] for found in stack.resources().values() if found["type"].endswith(":DatabaseUser")]
    password = next(role["password"]["plaintext"] for role in roles if role["name"] == APP_ROLE)
    domain = str(stack.outputs()["url"]).removeprefix("https://")
    return Watched(world=stack.world, domain=domain, password=json.loads(password))


@dataclass
class Changing:
    """A deployed stack that is changed step by step."""

    stack: PulumiStack
    given: Given
    watched: Watched
    settings: dict[str, object]
    rows: dict[int, Row]  # by their number in the table
    file: dict[str, object]  # Pulumi.local.yaml, which `settings` change
    made: int = 0  # how many of the table's changes this stack has

    def to(self, number: int) -> None:
        """Make all changes before this one that were not made one by one, in one update."""
        left = [change for change in CHANGES[self.made : number] if change.lasts]
        # Only the last value of each: what comes after it is all that the stack shall have.
        wanted = {path: value for change in left for path, value in change.settings.items()}
        if any(value != self.value(path) for path, value in wanted.items()):
            self.settings |= Change(wanted, "nothing").values(self.given)
            self.stack.up(settings=self.settings)
            self.watched = watched(self.stack)
        self.made = number + 1

    def value(self, path: str) -> object:
        """What the stack has now; None for a setting that is not there."""
        if path in self.settings:
            return self.settings[path]
        section, *rest = path.split(".")
        found = self.file.get(f"django-do:{section}")
        for part in rest:
            found = found.get(part) if isinstance(found, dict) else None
        return found

    def preview(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> events.Preview:
        """What the engine says it would do."""
        with monkeypatch.context() as patch:
            patch.setenv("PULUMI_ENABLE_STREAMING_JSON_PREVIEW", "true")
            done = self.stack.run("preview", "--json", settings=settings, check=False)
        return events.read(done.stdout.splitlines())

    def up(self, settings: Settings) -> tuple[list[Step], Away]:
        """What it does, and how long the site and its database were away meanwhile."""
        with watch(self.watched) as away:
            steps = self.stack.up(settings=settings)
        return steps, away


@pytest.fixture(scope="module")
def changing(api_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Changing]:
    """The stack "local", deployed; in the end without protection, and gone."""
    stack = PulumiStack(api_world)
    stack.up()
    with connect(api_world) as api:
        given = Given(api=api, outputs=stack.outputs(), folder=tmp_path_factory.mktemp("project") / "app")
        file = yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())["config"]
        changing = Changing(stack=stack, given=given, watched=watched(stack), settings={}, rows={}, file=file)
        yield changing
    stack.forget()


def told(preview: events.Preview) -> Outcome:
    """What the preview's report makes of it."""
    if preview.errors or not preview.ended:
        return "refused"
    worst = min((effect.level for effect in effects(preview)), default=Level.NOTE)
    if worst == Level.DATA_LOSS:
        return "data loss"
    if worst == Level.OUTAGE:
        return "outage"
    replaced = {change.kind for change in preview.changes if change.verb == "replaced"}
    return _quiet(replaced, {change.kind for change in preview.changes})


def seen(steps: list[Step], away: Away) -> Outcome:
    """What was done, and missed."""
    if {step.kind for step in steps if step.op in {"delete", "delete-replaced"}} & LOST:
        return "data loss"
    if away.longest > 0:
        return "outage"
    return _quiet({step.kind for step in steps if step.op == "replace"}, {step.kind for step in steps})


def _quiet(replaced: set[str], changed: set[str]) -> Outcome:
    if "Droplet" in replaced:
        return "replacement without downtime"
    if "Rollout" in changed and "Droplet" not in changed:
        return "release"
    return "update in place" if changed else "nothing"


# One for each outcome, in an order with few changes left out between them.
ALWAYS = [
    {"network.sshKeys"},
    {"network.sshFrom"},
    {"database.directConnections"},
    {"app.secrets.GREETING_KEY"},
    {"production"},
    {"protect"},
    {"domain"},
]
ROWS = [
    pytest.param(change, id=change.name, marks=[] if change.settings.keys() in ALWAYS else [pytest.mark.prove])
    for change in CHANGES
]


@pytest.mark.parametrize("change", ROWS)
def test_a_change_does_what_the_preview_says(
    changing: Changing, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No database is lost, and no visitor, without having been told; docs/changes.md says the same."""
    number = next(number for number, found in enumerate(CHANGES) if found is change)
    changing.to(number)
    row = play(changing, change, monkeypatch)
    changing.rows[number] = row
    if not UPDATE:
        line = PAGE.read_text().removeprefix(HEAD).splitlines(keepends=True)[number]
        assert without_seconds(line) == without_seconds(row.line())


def play(changing: Changing, change: Change, monkeypatch: pytest.MonkeyPatch) -> Row:
    """Preview a change and make it, unless it is refused; fail when preview, update and table differ."""
    settings = changing.settings | change.values(changing.given)
    preview = changing.preview(settings, monkeypatch)
    said = told(preview)
    if said == "refused":
        assert change.outcome == "refused", preview.errors
        return Row(change=change, what="")
    if not change.made:
        assert said == change.outcome
        return Row.of(change, preview, 0)
    steps, away = changing.up(settings)
    changing.settings = settings
    if said == "data loss":
        changing.watched = watched(changing.stack)
    assert away.questions > 10
    happened = seen(steps, away)
    assert (said, "outage" if change.unseen else happened) == (change.outcome, change.outcome), (steps, away.seen[:5])
    return Row.of(change, preview, math.ceil(away.longest))


def test_each_outcome_is_always_seen() -> None:
    """However few rows `make test` plays, all kinds are among them."""
    always = [change for change in CHANGES if change.settings.keys() in ALWAYS]
    assert {change.outcome for change in always} == {change.outcome for change in CHANGES}


def test_no_setting_is_left_out() -> None:
    """The table of the README has no setting that was not changed."""
    changed = [path for change in CHANGES for path in change.settings]
    missing = [
        path
        for path, _, _ in all_settings(StackConfig)
        if not any(path == found or path.startswith(f"{found}.") or found.startswith(f"{path}.") for found in changed)
    ]
    assert missing == []


def test_the_page_has_every_row(request: pytest.FixtureRequest) -> None:
    """Names, outcomes and remarks of docs/changes.md are the table's; `make changes-docs` plays it and writes it."""
    if UPDATE:
        rows = request.getfixturevalue("changing").rows
        PAGE.write_text(page([rows[number] for number in range(len(CHANGES))]))
    text = PAGE.read_text()
    assert text.startswith(HEAD)
    lines = text.removeprefix(HEAD).splitlines(keepends=True)
    assert len(lines) == len(CHANGES)
    for line, change in zip(lines, CHANGES, strict=True):
        what = line.split(" | ")[2].strip()
        seconds = 0 if "**outage** of some s" in line else 1
        assert without_seconds(line) == without_seconds(Row(change=change, what=what, seconds=seconds).line())
