"""Each setting is changed, one after the other: what becomes of the site is what preview and page say."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from config.stack import StackConfig
from operations.preview import events
from operations.preview.meaning import Level, effects
from operations.settings_docs import settings as all_settings
from sandbox.world import World
from tests.changes.page import Row, page, without_seconds
from tests.changes.settings import CHANGES, Change, Given, Outcome
from tests.changes.watch import APP_ROLE, Away, Watched, watch
from tests.commands import ROOT
from tests.pulumi_stack import PulumiStack, Settings, Step
from tests.sandbox.api_client import connect

PAGE = ROOT / "docs" / "changes.md"
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
    rows: list[Row]

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
        changing = Changing(stack=stack, given=given, watched=watched(stack), settings={}, rows=[])
        yield changing
        stack.up(settings=changing.settings | {"protect": False, "storage.forceDestroy": True})
        stack.run("destroy", "--yes", "--skip-preview")
        for key in api.ok(api.raw.get("/v2/account/keys"))["ssh_keys"]:
            api.raw.delete(f"/v2/account/keys/{key['id']}")


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
    if "Rollout" in changed:
        return "release"
    return "update in place" if changed else "nothing"


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_change_does_what_the_preview_says(
    changing: Changing, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No database is lost, and no visitor, without having been told."""
    settings = changing.settings | change.values(changing.given)
    preview = changing.preview(settings, monkeypatch)
    said = told(preview)
    if said == "refused":
        changing.rows.append(Row(change=change, what=""))
        assert change.outcome == "refused", preview.errors
        return
    if not change.made:
        changing.rows.append(Row.of(change, preview, 0))
        assert said == change.outcome
        return
    steps, away = changing.up(settings)
    changing.settings = settings
    if said == "data loss":
        changing.watched = watched(changing.stack)
    changing.rows.append(Row.of(change, preview, math.ceil(away.longest)))
    assert away.questions > 10
    happened = seen(steps, away)
    assert (said, "outage" if change.unseen else happened) == (change.outcome, change.outcome), (steps, away.seen[:5])


def test_no_setting_is_left_out() -> None:
    """The table of the README has no setting that was not changed."""
    changed = [path for change in CHANGES for path in change.settings]
    missing = [
        path
        for path, _, _ in all_settings(StackConfig)
        if not any(path == found or path.startswith(f"{found}.") or found.startswith(f"{path}.") for found in changed)
    ]
    assert missing == []


def test_the_page_is_what_happened(changing: Changing) -> None:
    """docs/changes.md; `make changes-docs` writes it."""
    made = page(changing.rows)
    if os.environ.get("UPDATE_CHANGES"):
        PAGE.write_text(made)
    assert [row.change.name for row in changing.rows] == [change.name for change in CHANGES]
    assert without_seconds(PAGE.read_text()) == without_seconds(made)
