"""A rollout: the desired release is written down, and every Droplet says that it runs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

from protocol.failure import shortened
from protocol.node import NodeReport, node_key
from protocol.release import DESIRED, GOOD, RECORDS, Desired, Release, artifact_key, record_key
from provider.actions import (
    ActionError,
    CheckResult,
    CreateResult,
    DiffResult,
    PartlyMade,
    ReadResult,
    UpdateResult,
    checked,
    differing,
    is_unknown,
    pause,
    report,
    text_problems,
    warn,
)
from provider.spaces_provider import SpacesProvider

if TYPE_CHECKING:
    from provider.spaces_client import Spaces

PARTS = ("artifact", "sha256", "environment")
POLL_SECONDS = 0.5
# For so long a Droplet may say that it can't start its agent: what this update has just uploaded may be what it misses,
# or systemd is about to start an agent that ended.
BOOTSTRAP_SECONDS = 60.0


class RolloutProvider(SpacesProvider):
    """Write desired.json, wait for the Droplets; on failure put the good release back, and fail with their words."""

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse what no Droplet could run or report."""
        problems = text_problems(news, "rollout", "releases_bucket", "state_bucket", "region", "release")
        given = [name for name in PARTS if news.get(name) is not None]
        if given and len(given) < len(PARTS):
            problems.append(
                f"rollout: {', '.join(PARTS)} must be given together, or none for a recorded release; "
                f"got {', '.join(given)}"
            )
        elif given:
            problems += text_problems(news, "rollout", *PARTS)
            sha256, artifact = news["sha256"], news["artifact"]
            if not is_unknown([sha256, artifact]) and artifact != artifact_key(sha256):
                problems.append(f"rollout.artifact: must be {artifact_key(sha256)}, got {artifact!r}")
        droplet_ids = news.get("droplet_ids")
        if not is_unknown(droplet_ids) and not droplet_ids:
            problems.append("rollout.droplet_ids: must name at least one Droplet, got none")
        return checked(news, problems)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Compare what is to run and where; a recorded release says by its name what it is."""
        replaces = differing(olds, news, ["releases_bucket", "state_bucket", "region"])
        changed = differing(olds, news, ["release", *(name for name in PARTS if news.get(name) is not None)])
        moved = is_unknown(news["droplet_ids"]) or set(olds.get("droplet_ids", [])) != set(news["droplet_ids"])
        unfinished = bool(olds.get("unfinished"))
        return DiffResult(changes=bool(replaces or changed or moved or unfinished), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Roll the release out."""
        return CreateResult(f"{props['releases_bucket']}/{DESIRED}", self._roll_out(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Roll the release out, or wait for Droplets that joined."""
        return UpdateResult(self._roll_out(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Find out which release is desired now: the next update compares with that."""
        document = self.spaces(props["region"]).get_json(props["releases_bucket"], DESIRED)
        if document is None:
            return ReadResult(None, {})
        desired = Desired.parse(document, f"{props['releases_bucket']}/{DESIRED}")
        return ReadResult(id_, {**props, **desired.release.document()})

    def _roll_out(self, props: dict[str, Any]) -> dict[str, Any]:
        spaces = self.spaces(props["region"])
        bucket = props["releases_bucket"]
        release = _release_of(spaces, props)
        for key in (release.artifact, release.environment):
            if not spaces.exists(bucket, key):
                raise ActionError(
                    f"{bucket}/{key}: must be uploaded before release {release.release}; "
                    "`pulumi refresh`, then `pulumi up`, uploads it again"
                )
        spaces.put_json(bucket, record_key(release.release), release.document())

        good_document = spaces.get_json(bucket, GOOD)
        good = None if good_document is None else Release.parse(good_document, f"{bucket}/{GOOD}")
        nodes = Nodes(spaces, props["state_bucket"], props["droplet_ids"])
        attempt = _start(spaces, bucket, release, nodes)
        try:
            failure = nodes.wait(release.release, attempt, float(props["deadline"]))
            if failure:
                _give_up(spaces, props, release=release, good=good, attempt=attempt, failure=failure)
        except PartlyMade:
            raise
        except ActionError as error:
            # Interrupted, or Spaces can't be reached any more: the Droplets go on, and the next update joins them.
            raise _partly(str(error), props, release, attempt) from None
        return _outputs(props, release, attempt)


def _outputs(props: Mapping[str, Any], release: Release, attempt: int) -> dict[str, Any]:
    """Return what the state is to have."""
    inputs = ("releases_bucket", "state_bucket", "region", "droplet_ids", "deadline")
    return {**{name: props[name] for name in inputs}, **release.document(), "attempt": attempt}


def _partly(problem: str, props: Mapping[str, Any], desired: Release, attempt: int) -> PartlyMade:
    """Say what is desired now, whatever came of it: the state has to know, or going back to it would change nothing.

    `unfinished` makes the next update look at the Droplets even if a refresh has come between.
    """
    outs = _outputs(props, desired, attempt) | {"unfinished": True}
    return PartlyMade(problem, f"{props['releases_bucket']}/{DESIRED}", outs)


@dataclass(frozen=True, slots=True)
class Nodes:
    """The Droplets of a rollout, as far as they report."""

    spaces: "Spaces"
    bucket: str
    droplet_ids: Sequence[str]

    def states(self) -> dict[str, NodeReport | None]:
        """Read the last report of each Droplet."""
        return {
            droplet: NodeReport.parse(self.spaces.get_json(self.bucket, node_key(droplet)))
            for droplet in map(str, self.droplet_ids)
        }

    def wait(self, release: str, attempt: int, deadline: float) -> str | None:
        """Poll until every Droplet runs the release; return what went wrong, None when nothing did."""
        end = monotonic() + deadline
        shown = ""
        stuck_since: dict[str, float] = {}
        while True:
            states = self.states()
            current = {
                droplet: state
                for droplet, state in states.items()
                if state is not None and (state.release, state.attempt) == (release, attempt)
            }
            failed = {droplet: state for droplet, state in current.items() if state.phase == "failed"}
            stuck = {droplet: state for droplet, state in states.items() if state and state.phase == "bootstrap"}
            stuck_since = {droplet: stuck_since.get(droplet, monotonic()) for droplet in stuck}
            failed |= {one: stuck[one] for one in stuck if monotonic() >= stuck_since[one] + BOOTSTRAP_SECONDS}
            if failed:
                return "\n".join(
                    f"Droplet {droplet} failed:\n{shortened(state.error or 'it gave no reason')}"
                    for droplet, state in failed.items()
                )
            missing = [
                droplet
                for droplet in states
                if droplet not in current or not (current[droplet].phase == "done" and current[droplet].healthy)
            ]
            if not missing:
                for droplet, state in current.items():
                    for note in state.notes:
                        warn(f"Droplet {droplet}: {shortened(note)}")
                return None
            phases = [
                f"Droplet {one}: can't start its agent, {stuck[one].error}"
                if one in stuck
                else f"Droplet {one}: {current[one].phase if one in current else 'not begun'}"
                for one in states
            ]
            if (line := f"attempt {attempt}, {', '.join(phases)}") != shown:
                report(line)
                shown = line
            if monotonic() >= end:
                return "\n".join(_late(droplet, states[droplet], deadline) for droplet in missing)
            pause(min(POLL_SECONDS, max(0.0, end - monotonic())))


def _where_to_look(props: Mapping[str, Any]) -> str:
    """Say where there is more than the ends of texts."""
    reports = ", ".join(f"{props['state_bucket']}/{node_key(str(droplet))}" for droplet in props["droplet_ids"])
    return (
        f"Where to look: the whole report, {reports} in Spaces; `journalctl -u release-agent -u gunicorn` on the "
        'Droplet (control panel: Droplet, Access, Recovery Console); docs/runbook.md, "A release that failed"'
    )


def _late(droplet: str, state: NodeReport | None, deadline: float) -> str:
    """Say how far a Droplet came that is not done."""
    if state is None:
        return (
            f"Droplet {droplet} has not reported within {deadline:.0f} s: its cloud-init is not done or failed, or it "
            "cannot reach Spaces; see /var/log/cloud-init-output.log and `journalctl -u release-agent` there "
            "(control panel: Droplet, Access, Recovery Console)"
        )
    return (
        f"Droplet {droplet} was not done within {deadline:.0f} s, its last report: {state}; "
        "see `journalctl -u release-agent` there"
    )


def _release_of(spaces: "Spaces", props: Mapping[str, Any]) -> Release:
    """Return the release of the inputs, or look the recorded one up (a rollback by `app.release`)."""
    if props.get("artifact") is not None:
        return Release(**{name: props[name] for name in ("release", *PARTS)})
    bucket, name = props["releases_bucket"], props["release"]
    document = spaces.get_json(bucket, record_key(name))
    if document is None:
        recorded = [key.removeprefix(RECORDS).removesuffix(".json") for key in spaces.newest(bucket, RECORDS, 10)]
        raise ActionError(
            f"app.release: must be a release that was rolled out before, got {name!r}; "
            f"the newest are {', '.join(recorded) or 'none'}; `pulumi config rm` it to release the tree at app.path"
        )
    return Release.parse(document, f"{bucket}/{record_key(name)}")


def _start(spaces: "Spaces", bucket: str, release: Release, nodes: Nodes) -> int:
    """Write desired.json and return the attempt's number.

    When it says already what is wanted and nobody failed at it (a Droplet joined, or a wait ran out), it is left alone:
    a new attempt would make every healthy Droplet start again.
    """
    document = spaces.get_json(bucket, DESIRED)
    attempt = 0
    if document is not None:
        desired = Desired.parse(document, f"{bucket}/{DESIRED}")
        attempt = desired.attempt
        failed = any(
            state is not None and (state.phase, state.attempt) == ("failed", attempt)
            for state in nodes.states().values()
        )
        if desired.release == release and not failed:
            return attempt
    attempt += 1
    spaces.put_json(bucket, DESIRED, Desired(release=release, attempt=attempt).document())
    return attempt


def _give_up(
    spaces: "Spaces", props: Mapping[str, Any], *, release: Release, good: Release | None, attempt: int, failure: str
) -> NoReturn:
    """Make the good release the desired one again and fail.

    Without one (the first release failed) desired.json stays, so that the next update is another attempt at it.
    """
    desired, number = release, attempt
    if good is None:
        outcome = "There is no earlier good release to go back to."
    elif good == release:
        outcome = "It was good before, so it stays the desired one."
    else:
        desired, number = good, attempt + 1
        document = Desired(release=good, attempt=number).document()
        spaces.put_json(props["releases_bucket"], DESIRED, document)
        outcome = f"The Droplets go back to {good.release}."
    problem = (
        f"release {release.release}, attempt {attempt}: must become healthy on every Droplet, it did not. {outcome} "
        f"Fix the cause, then run `pulumi up` again.\n{failure}\n{_where_to_look(props)}"
    )
    raise _partly(problem, props, desired, number)
