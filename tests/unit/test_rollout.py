import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from plugin_base.wire import UNKNOWN
from protocol.document import DocumentError
from protocol.environment import environment_key
from protocol.node import PHASES, NodeReport
from protocol.release import DESIRED, GOOD, Desired, Release, artifact_key, record_key, release_id
from provider.actions import ActionError, Operation, PartlyMade, running
from provider.traffic import turns
from provider.traffic.rollout import RolloutProvider
from tests.commands import ROOT
from tests.unit.conftest import Buckets

Report = tuple[str, bool, str | None]
DONE: Report = ("done", True, None)
FAILED: Report = ("failed", False, "Traceback …\nImproperlyConfigured: no such app: polls2")


def release(number: int) -> Release:
    """Return one of several releases."""
    sha256, environment = f"{number}a" * 32, f"{number}e" * 32
    return Release(
        release=release_id(sha256, environment),
        artifact=artifact_key(sha256),
        sha256=sha256,
        environment=environment_key(environment),
    )


def desired(
    number: int,
    attempt: int,
    *let: str,
    droplets: tuple[str, ...] = (),
    complete: bool = True,
    good: int | None = None,
) -> dict[str, Any]:
    """Return a desired.json; those that were `let` begin are Droplet 101 alone where none is named."""
    return Desired(
        release=release(number),
        attempt=attempt,
        droplets=droplets or let or ("101",),
        turns=let or ("101",),
        complete=complete,
        good=None if good is None else release(good),
    ).document()


R1, R2, R9 = (release(number).release for number in (1, 2, 9))


@dataclass(kw_only=True)
class Cloud:
    """The buckets, and Droplets that do what the test says each time that the rollout waits."""

    buckets: Buckets
    script: dict[str, list[Report | None]] = field(default_factory=dict)
    waits: int = 0
    clock: float = 0  # seconds

    def props(self, number: int, *droplets: str) -> dict[str, Any]:
        """Return the inputs of a rollout."""
        return {
            "releases_bucket": self.buckets.releases,
            "state_bucket": self.buckets.state,
            "region": self.buckets.region,
            **release(number).document(),
            "droplet_ids": list(droplets or ("101",)),
            "max_unavailable": 1,
            "deadline": 60,
        }

    def upload(self, number: int) -> Release:
        """Put the objects of a release where Artifact and Environment put them."""
        for key in (release(number).artifact, release(number).environment):
            self.buckets.client.put(self.buckets.releases, key, b"", "application/octet-stream")
        return release(number)

    def put(self, key: str, document: object) -> None:
        """Write a document of the releases bucket."""
        self.buckets.client.put_json(self.buckets.releases, key, document)

    def get(self, key: str) -> Any:  # noqa: ANN401  # any JSON
        """Read a document of the releases bucket."""
        return self.buckets.client.get_json(self.buckets.releases, key)

    def report(self, droplet: str, desired: dict[str, Any], report: Report) -> None:
        """Write a state as the agent does."""
        phase, healthy, error = report
        state = {name: desired[name] for name in ("release", "attempt")}
        state |= {"phase": phase, "healthy": healthy, "error": error, "at": "2026-11-23T10:00:00Z"}
        self.buckets.client.put_json(self.buckets.state, f"nodes/{droplet}.json", state)

    def step(self, seconds: float) -> None:
        """Let each Droplet do its next step instead of waiting."""
        self.waits += 1
        self.clock += seconds
        for droplet, reports in self.script.items():
            if reports and (next_report := reports.pop(0)) is not None:
                self.report(droplet, self.get(DESIRED), next_report)


@pytest.fixture
def cloud(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Make buckets and Droplets; time passes only when the rollout waits."""
    cloud = Cloud(buckets=buckets)
    monkeypatch.setattr(turns, "pause", cloud.step)
    monkeypatch.setattr(turns, "monotonic", lambda: cloud.clock)
    return cloud


def test_the_first_release_is_written_and_waited_for(cloud: Cloud) -> None:
    """desired.json has the schema of docs/releases.md; the outputs have all that the Probe needs."""
    cloud.upload(1)
    cloud.script = {"101": [None, ("build", False, None), ("health", False, None), DONE]}
    created = RolloutProvider().create(cloud.props(1))
    assert cloud.get(DESIRED) == desired(1, 1)
    assert cloud.get(record_key(R1)) == release(1).document()
    assert created.outs == cloud.props(1) | {"attempt": 1}
    assert cloud.waits == 4


def test_the_next_release_counts_on(cloud: Cloud) -> None:
    """A number that comes again would be an attempt that is answered already."""
    cloud.put(GOOD, cloud.upload(1).document())
    cloud.put(DESIRED, desired(1, 7))
    cloud.upload(2)
    cloud.script = {"101": [DONE]}
    updated = RolloutProvider().update("id", cloud.props(1), cloud.props(2))
    assert cloud.get(DESIRED) == desired(2, 8, good=1)
    assert updated.outs is not None
    assert updated.outs["attempt"] == 8


def test_every_droplet_has_to_be_done(cloud: Cloud) -> None:
    """One that is slow is waited for; one begins, and once it is done the others, as many at once as may be away."""
    cloud.put(GOOD, cloud.upload(1).document())
    cloud.put(DESIRED, desired(1, 1, *LET))
    cloud.upload(2)
    assert seen_turns(cloud, 2) == [(LET[:1], False), (LET[:1], False), (LET[:3], False), (LET, False), (LET, True)]


def test_where_nobody_serves_yet_all_begin_once_the_first_is_done(cloud: Cloud) -> None:
    """At a stack's first attempt no visitor can lose anything; fifty Droplets one by one would take an hour."""
    cloud.upload(1)
    assert seen_turns(cloud, 1) == [(LET[:1], False), (LET[:1], False), (LET, False), (LET, False), (LET, True)]


LET = ["101", "102", "103", "104"]


def seen_turns(cloud: Cloud, number: int) -> list[tuple[list[str], bool]]:
    """Roll a release out, two Droplets at once; return whose turn it was, and whether it was complete, at each wait."""
    cloud.script = {
        "101": [None, DONE],
        "102": [None, None, DONE],
        "103": [None, None, DONE],
        "104": [None] * 3 + [DONE],
    }
    seen: list[tuple[list[str], bool]] = []
    step = cloud.step

    def watched(seconds: float) -> None:
        seen.append((cloud.get(DESIRED)["turns"], cloud.get(DESIRED)["complete"]))
        step(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turns, "pause", watched)
        RolloutProvider().create(cloud.props(number, *LET) | {"max_unavailable": 2})
    return [*seen, (cloud.get(DESIRED)["turns"], cloud.get(DESIRED)["complete"])]


def test_a_report_of_another_release_or_attempt_is_not_taken(cloud: Cloud) -> None:
    """The state bucket still has what was reported last time."""
    cloud.upload(1)
    cloud.report("101", {"release": release(0).release, "attempt": 1}, DONE)
    cloud.report("102", {"release": release(1).release, "attempt": 0}, FAILED)
    cloud.script = {"101": [DONE], "102": [DONE]}
    RolloutProvider().create(cloud.props(1, "101", "102"))
    assert cloud.waits == 1


@pytest.mark.parametrize("report", [("done", False, None), ("health", True, None)])
def test_only_done_and_healthy_is_done(cloud: Cloud, report: Report) -> None:
    """Never report a release as deployed that does not serve."""
    cloud.upload(1)
    cloud.script = {"101": [report]}
    with pytest.raises(
        ActionError, match=rf"Droplet 101 was not done within 0 s, its last report: release {R1}, attempt 1"
    ):
        RolloutProvider().create(cloud.props(1) | {"deadline": 0.05})


def test_a_failure_is_told_in_the_droplets_own_words(cloud: Cloud) -> None:
    """The cause is there, in the terminal of who runs `pulumi up`; the other Droplets aren't waited for."""
    cloud.upload(1)
    cloud.script = {"101": [FAILED], "102": []}
    with pytest.raises(ActionError) as caught:
        RolloutProvider().create(cloud.props(1, "101", "102"))
    assert f"release {R1}, attempt 1: must become healthy on every Droplet, it did not." in str(caught.value)
    assert "Droplet 101 failed:\nTraceback …\nImproperlyConfigured: no such app: polls2" in str(caught.value)
    last = str(caught.value).splitlines()[-1]
    assert last.startswith("Where to look: the whole report, ")
    assert "/nodes/101.json" in last
    assert 'docs/runbook.md, "A release that failed"' in last
    assert "### A release that failed\n" in (ROOT / "docs/runbook.md").read_text()


def test_a_long_text_is_cut_in_its_middle(cloud: Cloud) -> None:
    """The first line says which step failed, the end of a traceback what happened."""
    cloud.upload(1)
    cloud.script = {"101": [("failed", False, "`manage.py migrate` ended\n" + "x" * 100_000 + "the cause")]}
    with pytest.raises(ActionError, match="the cause") as caught:
        RolloutProvider().create(cloud.props(1))
    assert "\n`manage.py migrate` ended\nx" in str(caught.value)
    assert len(str(caught.value)) < 5000


def test_after_a_failure_the_good_release_is_desired_again(cloud: Cloud) -> None:
    """The cloud agrees with Pulumi's state, which still has the old release; the number goes on."""
    cloud.put(GOOD, cloud.upload(1).document())
    cloud.put(DESIRED, desired(1, 1))
    cloud.upload(2)
    cloud.script = {"101": [FAILED]}
    with pytest.raises(ActionError, match=f"The Droplets go back to {R1}"):
        RolloutProvider().update("id", cloud.props(1), cloud.props(2))
    assert cloud.get(DESIRED) == desired(1, 3, good=1)


def test_a_failed_first_release_stays_desired_and_the_next_update_is_a_new_attempt(cloud: Cloud) -> None:
    """There is nothing to go back to; what failed once may work after a fix, so the Droplets must try again."""
    cloud.upload(1)
    cloud.script = {"101": [FAILED, DONE]}
    with pytest.raises(ActionError, match="There is no earlier good release"):
        RolloutProvider().create(cloud.props(1))
    assert cloud.get(DESIRED)["attempt"] == 1
    created = RolloutProvider().create(cloud.props(1))
    assert created.outs is not None
    assert (created.outs["attempt"], cloud.get(DESIRED)["attempt"]) == (2, 2)


def test_a_droplet_that_joins_is_waited_for_without_a_new_attempt(cloud: Cloud) -> None:
    """A new attempt would make the healthy Droplets start again."""
    cloud.put(GOOD, cloud.upload(1).document())
    cloud.put(DESIRED, desired(1, 4))
    cloud.report("101", cloud.get(DESIRED), DONE)
    cloud.script = {"102": [None, DONE]}
    updated = RolloutProvider().update("id", cloud.props(1), cloud.props(1, "101", "102"))
    assert updated.outs is not None
    assert (updated.outs["attempt"], cloud.get(DESIRED)["attempt"], cloud.waits) == (4, 4, 2)


@pytest.mark.parametrize("unhealthy", [None, ("build", False, None)])
def test_an_interrupted_rollout_is_kept_and_the_next_update_goes_on(cloud: Cloud, unhealthy: Report | None) -> None:
    """With the same attempt: the Droplets went on meanwhile, and the healthy one is not to start again."""
    cloud.upload(1)
    cloud.script = {"101": [DONE], "102": [unhealthy]}

    def interrupted(seconds: float) -> None:
        cloud.step(seconds)
        if cloud.waits == 2:
            raise ActionError("interrupted")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turns, "pause", interrupted)
        with pytest.raises(PartlyMade, match="interrupted") as caught:
            RolloutProvider().create(cloud.props(1, "101", "102"))
    assert caught.value.id == f"{cloud.buckets.releases}/{DESIRED}"
    kept = cloud.props(1, "101", "102") | {"attempt": 1, "unfinished": True}
    assert caught.value.outs == kept

    assert RolloutProvider().diff("id", kept, cloud.props(1, "101", "102")).changes is True
    refreshed = RolloutProvider().read("id", kept).outs
    assert RolloutProvider().diff("id", refreshed, cloud.props(1, "101", "102")).changes is True
    cloud.script = {"102": [DONE]}
    updated = RolloutProvider().update("id", kept, cloud.props(1, "101", "102"))
    assert updated.outs == cloud.props(1, "101", "102") | {"attempt": 1}
    assert cloud.get(DESIRED)["attempt"] == 1


def test_the_state_knows_what_is_desired_after_a_failure(cloud: Cloud) -> None:
    """The good release, which the Droplets go back to: what comes next, even that one, is a change."""
    cloud.put(GOOD, cloud.upload(1).document())
    cloud.upload(2)
    cloud.script = {"101": [FAILED]}
    with pytest.raises(PartlyMade) as caught:
        RolloutProvider().update("id", cloud.props(1), cloud.props(2))
    assert caught.value.outs == cloud.props(1) | {"attempt": 2, "unfinished": True}
    assert RolloutProvider().diff("id", caught.value.outs, cloud.props(1)).changes is True


def test_a_rollout_says_where_each_droplet_is(cloud: Cloud) -> None:
    """Once for each news."""
    cloud.upload(1)
    cloud.script = {"101": [("build", False, None), None, ("done", True, None)], "102": [None, None, DONE]}
    said: list[str] = []
    with running(Operation(threading.Event(), said.append, said.append)):
        RolloutProvider().create(cloud.props(1, "101", "102"))
    assert said == [
        "attempt 1, Droplet 101: not begun, Droplet 102: not begun",
        "attempt 1, Droplet 101: build, Droplet 102: not begun",
    ]


def test_of_many_droplets_it_says_how_many_are_where(cloud: Cloud) -> None:
    """Two hundred of them in a line nobody reads."""
    cloud.upload(1)
    droplets = [str(number) for number in range(101, 111)]
    cloud.script = {one: [("prepared", False, None), DONE] for one in droplets}
    said: list[str] = []
    with running(Operation(threading.Event(), said.append, said.append)):
        RolloutProvider().create(cloud.props(1, *droplets))
    assert said == ["attempt 1, 10 not begun", "attempt 1, 10 prepared"]


def test_what_a_person_should_know_of_a_release_that_serves_is_a_warning(cloud: Cloud) -> None:
    """Each Droplet's notes stay on the screen; a progress line does not."""
    cloud.upload(1)
    attempt = {"release": R1, "attempt": 1, "healthy": True, "error": None, "at": "…"}
    document = {**attempt, "phase": "done", "notes": ["no superuser was made"]}
    cloud.buckets.client.put_json(cloud.buckets.state, "nodes/101.json", document)
    warned: list[str] = []
    with running(Operation(threading.Event(), list[str]().append, warned.append)):
        RolloutProvider().create(cloud.props(1))
    assert warned == ["Droplet 101: no superuser was made"]


def test_a_report_whose_notes_are_no_texts_is_not_valid() -> None:
    """It is waited for, as every report that is not valid."""
    document = {"release": R1, "attempt": 1, "phase": "done", "healthy": True, "error": None, "at": "…"}
    assert NodeReport.parse(document) is not None
    assert NodeReport.parse(document | {"notes": [1]}) is None
    assert NodeReport.parse(document | {"notes": "text"}) is None


def test_a_droplet_that_cannot_start_its_agent_is_shown_at_once_and_fails_within_a_minute(cloud: Cloud) -> None:
    """Its own words say why; until then it may find what this update has uploaded."""
    cloud.upload(1)
    error = "polls-releases/agents/5f5f.tar: must be there, is not"
    bootstrap = {"release": "", "attempt": 0, "phase": "bootstrap", "healthy": False, "error": error, "at": "…"}
    cloud.buckets.client.put_json(cloud.buckets.state, "nodes/101.json", bootstrap)
    shown: list[str] = []
    with running(Operation(threading.Event(), shown.append, shown.append)), pytest.raises(ActionError, match=error):
        RolloutProvider().create(cloud.props(1) | {"deadline": 600})
    assert shown == [f"attempt 1, Droplet 101: can't start its agent, {error}"]
    assert cloud.clock == pytest.approx(60, abs=2)


def test_a_droplet_that_finds_its_agent_after_all_is_waited_for(cloud: Cloud) -> None:
    """An earlier report of a Space that was empty does not end the rollout."""
    cloud.upload(1)
    bootstrap = {"release": "", "attempt": 0, "phase": "bootstrap", "healthy": False, "error": "empty", "at": "…"}
    cloud.buckets.client.put_json(cloud.buckets.state, "nodes/101.json", bootstrap)
    cloud.script = {"101": [None] * 30 + [DONE]}
    assert RolloutProvider().create(cloud.props(1)).outs["attempt"] == 1


def test_a_wait_that_ran_out_says_what_was_seen_last(cloud: Cloud) -> None:
    """Also that a Droplet never reported, and where to look."""
    cloud.upload(1)
    with pytest.raises(ActionError, match=r"Droplet 101 has not reported within 0 s.*cloud-init-output\.log"):
        RolloutProvider().create(cloud.props(1) | {"deadline": 0.05})


def test_a_report_that_is_none_does_not_end_the_wait(cloud: Cloud) -> None:
    """Something else in the bucket counts as no report."""
    cloud.upload(1)
    cloud.buckets.client.put_json(
        cloud.buckets.state, "nodes/101.json", {"release": release(1).release, "attempt": "1"}
    )
    cloud.script = {"101": [DONE]}
    RolloutProvider().create(cloud.props(1))
    assert cloud.waits == 1


@pytest.mark.parametrize("missing", [release(1).artifact, release(1).environment])
def test_a_release_whose_objects_are_missing_is_not_rolled_out(cloud: Cloud, missing: str) -> None:
    """The Droplets would fail minutes later; desired.json is not touched."""
    release_ = cloud.upload(1)
    kept = {release_.artifact, release_.environment} - {missing}
    props = cloud.props(1) | {
        name: "gone" for name in ("artifact", "environment") if getattr(release_, name) not in kept
    }
    with pytest.raises(ActionError, match=f"gone: must be uploaded before release {R1}"):
        RolloutProvider().create(props)
    assert cloud.get(DESIRED) is None


def recorded(props: dict[str, Any]) -> dict[str, Any]:
    """Return inputs that name a release only, as `app.release` does."""
    return {name: value for name, value in props.items() if name not in {"artifact", "sha256", "environment"}}


def test_a_recorded_release_is_looked_up(cloud: Cloud) -> None:
    """`app.release` is an id; what it consists of is in the bucket."""
    cloud.put(record_key(R1), cloud.upload(1).document())
    cloud.script = {"101": [DONE]}
    created = RolloutProvider().create(recorded(cloud.props(1)))
    assert created.outs == cloud.props(1) | {"attempt": 1}


def test_a_release_that_was_never_recorded_is_said_with_those_that_were(cloud: Cloud) -> None:
    """The ids are not memorable."""
    cloud.put(record_key(R1), release(1).document())
    cloud.put(record_key(R2), release(2).document())
    with pytest.raises(ActionError, match=rf"got '{R9}'; the newest are ({R1}, {R2}|{R2}, {R1}); `pulumi config rm`"):
        RolloutProvider().create(recorded(cloud.props(9)))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "desired.json: must be a JSON object, got list"),
        ({"release": release(1).release, "attempt": 1}, "desired.json.artifact: must match"),
        (release(1).document(), "desired.json.attempt: must be a whole number from 1, got None"),
        (desired(1, 1) | {"attempt": True}, "desired.json.attempt: must be a whole number from 1, got True"),
        (desired(1, 1) | {"complete": "yes"}, "desired.json.complete: must be true or false, got 'yes'"),
        (desired(1, 1) | {"turns": ["../x"]}, "desired.json.turns: must be a list of Droplet ids"),
        (desired(1, 1) | {"good": {}}, "desired.json.good.release: must match"),
    ],
)
def test_a_document_that_something_else_wrote_is_said(cloud: Cloud, document: object, message: str) -> None:
    """Validated on both sides: better no release than a wrong number."""
    cloud.upload(1)
    cloud.put(DESIRED, document)
    with pytest.raises(DocumentError, match=message):
        RolloutProvider().create(cloud.props(1))


def test_nothing_differs_the_second_time(cloud: Cloud) -> None:
    """Neither does a longer deadline, another order, or a recorded release that was looked up."""
    olds = cloud.props(1, "101", "102") | {"attempt": 3}
    same: list[dict[str, Any]] = [
        cloud.props(1, "101", "102"),
        cloud.props(1, "102", "101") | {"deadline": 900},
        recorded(cloud.props(1, "101", "102")),
    ]
    assert [RolloutProvider().diff("id", olds, news).changes for news in same] == [False, False, False]


@pytest.mark.parametrize(
    ("change", "replaces"),
    [
        ({"release": release(2).release}, []),
        ({"sha256": UNKNOWN}, []),
        ({"droplet_ids": ["101", "102"]}, []),
        ({"droplet_ids": UNKNOWN}, []),
        ({"releases_bucket": "other"}, ["releases_bucket"]),
        ({"state_bucket": "other"}, ["state_bucket"]),
    ],
)
def test_a_new_release_or_droplet_is_rolled_out(cloud: Cloud, change: dict[str, Any], replaces: list[str]) -> None:
    """In place; other buckets are another cloud."""
    diff = RolloutProvider().diff("id", cloud.props(1), cloud.props(1) | change)
    assert (diff.changes, diff.replaces) == (True, replaces)


def test_refresh_finds_what_is_desired_now(cloud: Cloud) -> None:
    """After somebody else wrote it, the next update rolls out again."""
    olds = cloud.props(1) | {"attempt": 1}
    assert RolloutProvider().read("id", olds).id is None
    cloud.put(DESIRED, desired(1, 1))
    assert RolloutProvider().read("id", olds).outs == olds
    cloud.put(DESIRED, desired(2, 2))
    read = RolloutProvider().read("id", olds)
    assert read.outs is not None
    assert RolloutProvider().diff("id", read.outs, cloud.props(1)).changes is True


def test_refresh_finds_an_update_that_was_killed(cloud: Cloud) -> None:
    """The engine knows nothing of it: the release is the desired one, and some Droplets wait for their turn."""
    cloud.put(DESIRED, desired(1, 2, "101", droplets=("101", "102"), complete=False))
    read = RolloutProvider().read("id", cloud.props(1, "101", "102"))
    assert read.outs is not None
    assert RolloutProvider().diff("id", read.outs, cloud.props(1, "101", "102")).changes is True


def test_refresh_finds_a_droplet_that_went_back(cloud: Cloud) -> None:
    """A release that crashed under visitors, after its rollout was done: the next update looks again."""
    cloud.put(DESIRED, desired(1, 2))
    olds = cloud.props(1) | {"attempt": 2}
    cloud.report("101", cloud.get(DESIRED), FAILED)
    warned: list[str] = []
    with running(Operation(threading.Event(), list[str]().append, warned.append)):
        read = RolloutProvider().read("id", olds)
    assert warned == [f"Droplet 101 went back from release {R1}; see nodes/<id>.json"]
    assert RolloutProvider().diff("id", read.outs, cloud.props(1)).changes is True


def test_check_reports_what_cannot_be_rolled_out(cloud: Cloud) -> None:
    """All problems at once."""
    news = cloud.props(1) | {"release": "", "artifact": "artifacts/other.tar", "droplet_ids": [], "max_unavailable": 0}
    assert RolloutProvider().check({}, news).failures == [
        "rollout.release: must be a non-empty text, got an empty one",
        f"rollout.artifact: must be {release(1).artifact}, got 'artifacts/other.tar'",
        "rollout.droplet_ids: must name at least one Droplet, got none",
        "rollout.max_unavailable: must be at least 1, got 0",
    ]


def test_check_refuses_half_a_release(cloud: Cloud) -> None:
    """All of its parts, or only its name."""
    news = cloud.props(1) | {"sha256": None}
    (failure,) = RolloutProvider().check({}, news).failures
    assert "must be given together, or none for a recorded release; got artifact, environment" in failure


@pytest.mark.parametrize("change", [dict, recorded, lambda props: dict.fromkeys(props, UNKNOWN)])
def test_check_accepts_what_can_be(cloud: Cloud, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """A release, a recorded one, and what is not known yet."""
    assert RolloutProvider().check({}, change(cloud.props(1))).failures == []


def test_a_state_that_is_none_is_not_parsed() -> None:
    """Each field has its type, and a phase is one of those that there are."""
    good = {"release": "r", "attempt": 1, "phase": "done", "healthy": True, "error": None, "at": "now"}
    assert NodeReport.parse(good) is not None
    for name in good:
        assert NodeReport.parse(good | {name: []}) is None
    assert NodeReport.parse(good | {"phase": "swtich"}) is None
    assert NodeReport.parse(None) is None


def test_the_phases_are_those_of_the_docs() -> None:
    """In this order; whoever reads a report looks them up there."""
    text = (Path(__file__).parents[2] / "docs/releases.md").read_text()
    [row] = [line for line in text.splitlines() if line.startswith("| `phase` |")]
    assert tuple(re.findall(r"`(\w+)`", row)[1:]) == PHASES


def test_what_fails_on_the_second_droplet_is_taken_back_on_the_first(cloud: Cloud) -> None:
    """Everything serves the old release when the update ends, and the others never had the new one."""
    cloud.put(GOOD, cloud.upload(1).document())
    cloud.upload(2)
    cloud.script = {"101": [DONE, None, DONE], "102": [None, FAILED], "103": []}
    with pytest.raises(ActionError, match=f"All Droplets that had it went back to {R1}"):
        RolloutProvider().update("id", cloud.props(1), cloud.props(2, "101", "102", "103"))
    assert cloud.get(DESIRED) == desired(1, 2, "101", "102", "103", good=1)


def test_a_droplet_that_does_not_come_back_is_said(cloud: Cloud) -> None:
    """It serves what the others don't."""
    cloud.put(GOOD, cloud.upload(1).document())
    cloud.upload(2)
    cloud.script = {"101": [DONE], "102": [None, FAILED]}
    with pytest.raises(ActionError, match=r"not all have come there:\nDroplet 101 was not done within 60 s"):
        RolloutProvider().update("id", cloud.props(1), cloud.props(2, "101", "102"))


def test_a_droplet_that_joins_a_release_and_fails_takes_nobody_back(cloud: Cloud) -> None:
    """The release was good before."""
    cloud.put(GOOD, cloud.upload(2).document())
    cloud.put(DESIRED, desired(2, 4, good=1))
    cloud.report("101", cloud.get(DESIRED), DONE)
    cloud.script = {"102": [FAILED]}
    with pytest.raises(ActionError, match="It was good before, so it stays"):
        RolloutProvider().update("id", cloud.props(2), cloud.props(2, "101", "102"))
    assert cloud.get(DESIRED) == desired(2, 4, "101", "102", good=1)


def test_who_migrates_is_there(cloud: Cloud) -> None:
    """An attempt that was cut short goes on, with the first of those that are left in the place of one that is gone."""
    cloud.upload(1)
    cloud.put(DESIRED, desired(1, 4, "100", complete=False))
    cloud.script = {"101": [DONE]}
    RolloutProvider().update("id", cloud.props(1), cloud.props(1))
    assert cloud.get(DESIRED) == desired(1, 4)


def test_who_was_told_to_leave_and_is_the_stacks_stays(cloud: Cloud) -> None:
    """Its deletion was interrupted, and then not wanted any more; those that are deleted go on leaving."""
    cloud.upload(1)
    cloud.put(DESIRED, desired(1, 2) | {"leaving": ["101", "100"]})
    cloud.script = {"101": [None, DONE]}
    RolloutProvider().update("id", cloud.props(1), cloud.props(1))
    assert cloud.get(DESIRED) == desired(1, 2) | {"leaving": ["100"]}


def test_who_leaves_goes_on_leaving(cloud: Cloud) -> None:
    """Neither another release nor the way back from one brings visitors to a Droplet that is about to be deleted."""
    cloud.put(GOOD, cloud.upload(1).document())
    cloud.put(DESIRED, desired(1, 1) | {"leaving": ["100"]})
    cloud.upload(2)
    cloud.script = {"101": [FAILED]}
    with pytest.raises(ActionError):
        RolloutProvider().update("id", cloud.props(1), cloud.props(2))
    assert cloud.get(DESIRED) == desired(1, 3, good=1) | {"leaving": ["100"]}


def test_what_failed_is_said_when_the_way_back_is_interrupted(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Ctrl-C, or because Spaces are away: the cause comes from the Droplet all the same."""

    def interrupted(seconds: float) -> None:
        if cloud.get(DESIRED)["release"] == R1:
            raise ActionError("interrupted")
        cloud.step(seconds)

    cloud.put(GOOD, cloud.upload(1).document())
    cloud.put(DESIRED, desired(1, 1, "101", "102"))
    cloud.upload(2)
    cloud.script = {"101": [DONE], "102": [None, FAILED]}
    monkeypatch.setattr(turns, "pause", interrupted)
    with pytest.raises(PartlyMade, match=r"(?s)is not known: interrupted.*no such app: polls2") as raised:
        RolloutProvider().update("id", cloud.props(1, "101", "102"), cloud.props(2, "101", "102"))
    assert (raised.value.outs["release"], raised.value.outs["unfinished"]) == (R1, True)
