"""A rollout: the desired release is written down, and every Droplet says that it runs it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from protocol.node import NODES, NodeReport, node_key
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
    report,
    text_problems,
    warn,
)
from provider.traffic.turns import Reports, Turns
from provider.uploads.spaces_provider import SpacesProvider

if TYPE_CHECKING:
    from provider.uploads.spaces_client import Spaces

PARTS = ("artifact", "sha256", "environment")
# For so long those that had the release already may take to go back from it.
BACK_SECONDS = 60.0
# Nobody tells when a Droplet that was told to leave has been deleted: so many are remembered, twice a stack's most.
LEAVING_KEPT = 400


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
        most = news.get("max_unavailable")
        if not is_unknown(most) and (not isinstance(most, float | int) or most < 1):
            problems.append(f"rollout.max_unavailable: must be at least 1, got {most!r}")
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
        """Find out which release is desired now: the next update compares with that.

        There is something to do when an update was killed before all Droplets had it, or when one has gone back from it
        since, because it crashed under visitors.
        """
        document = self.spaces(props["region"]).get_json(props["releases_bucket"], DESIRED)
        if document is None:
            return ReadResult(None, {})
        desired = Desired.parse(document, f"{props['releases_bucket']}/{DESIRED}")
        outs = {**props, **desired.release.document()}
        droplets = [*map(str, props["droplet_ids"])]
        reports = Reports(spaces=self.spaces(props["region"]), bucket=props["state_bucket"], droplets=droplets)
        failed = [one for one, state in reports.states().items() if _has_failed(state, desired)]
        if failed:
            warn(f"Droplet {', '.join(failed)} went back from release {desired.release.release}; see {NODES}<id>.json")
        if failed or not desired.complete:
            outs["unfinished"] = True
        return ReadResult(id_, outs)

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
        reports = Reports(spaces=spaces, bucket=props["state_bucket"], droplets=[*map(str, props["droplet_ids"])])

        def write(desired: Desired) -> None:
            spaces.put_json(bucket, DESIRED, desired.document())

        document = spaces.get_json(bucket, DESIRED)
        written = None if document is None else Desired.parse(document, f"{bucket}/{DESIRED}")
        desired = _start(written, Desired(release=release, attempt=1, good=good), reports)
        # At a stack's very first attempt nobody serves anything, so all but the one that migrates may begin together.
        is_first = desired.attempt == 1 and good is None
        turns = Turns(
            reports=reports,
            max_unavailable=len(reports.droplets) if is_first else int(props["max_unavailable"]),
            deadline=float(props["deadline"]),
            desired=desired,
            write=write,
            written=written,
        )
        try:
            if failure := turns.lead():
                _give_up(props, turns, good, failure)
        except PartlyMade:
            raise
        except ActionError as error:
            # Interrupted, or Spaces can't be reached any more: the Droplets go on, and the next update joins them.
            raise _partly(str(error), props, turns.desired) from None
        return _outputs(props, turns.desired)


def _outputs(props: Mapping[str, Any], desired: Desired) -> dict[str, Any]:
    """Return what the state is to have."""
    inputs = ("releases_bucket", "state_bucket", "region", "droplet_ids", "max_unavailable", "deadline")
    return {
        **{name: props[name] for name in inputs},
        **desired.release.document(),
        "attempt": desired.attempt,
    }


def _partly(problem: str, props: Mapping[str, Any], desired: Desired) -> PartlyMade:
    """Say what is desired now, whatever came of it: the state has to know, or going back to it would change nothing.

    `unfinished` makes the next update look at the Droplets even if a refresh has come between.
    """
    outs = _outputs(props, desired) | {"unfinished": True}
    return PartlyMade(problem, f"{props['releases_bucket']}/{DESIRED}", outs)


def _where_to_look(props: Mapping[str, Any]) -> str:
    """Say where there is more than the ends of texts."""
    reports = ", ".join(f"{props['state_bucket']}/{node_key(droplet)}" for droplet in map(str, props["droplet_ids"]))
    return (
        f"Where to look: the whole report, {reports} in Spaces; `journalctl -u release-agent -u gunicorn` on the "
        'Droplet (control panel: Droplet, Access, Recovery Console); docs/runbook.md, "A release that failed"'
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


def _start(written: Desired | None, wanted: Desired, reports: Reports) -> Desired:
    """Return the attempt that this is; a new one begins when the first turn is written.

    When desired.json says already what is wanted and nobody failed at it (a Droplet joined, or a wait ran out), the
    attempt goes on: a new one would make every healthy Droplet start again. Who was told to leave, and is the stack's
    all the same, stays: its deletion was interrupted, and is not wanted any more. The others go on leaving.
    """

    def here(droplets: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one for one in droplets if one in reports.droplets)

    if written is None:
        return wanted
    leaving = tuple(one for one in written.leaving if one not in reports.droplets)[-LEAVING_KEPT:]
    failed = any(_has_failed(state, written) for state in reports.states().values())
    if written.release == wanted.release and not failed:
        # The first one migrates, so it must not be one that is gone.
        return replace(written, droplets=here(written.droplets), turns=here(written.turns), leaving=leaving)
    return replace(wanted, attempt=written.attempt + 1, leaving=leaving)


def _has_failed(state: NodeReport | None, desired: Desired) -> bool:
    return state is not None and (state.phase, state.attempt) == ("failed", desired.attempt)


def _give_up(props: Mapping[str, Any], turns: Turns, good: Release | None, failure: str) -> NoReturn:
    """Make the good release the desired one again and fail.

    Without one (the first release failed) desired.json stays, so that the next update is another attempt at it.
    """
    failed = turns.desired
    if good is None:
        outcome = "There is no earlier good release to go back to."
    elif good == failed.release:
        outcome = "It was good before, so it stays the desired one."
    else:
        try:
            outcome = _go_back(turns, good)
        except ActionError as error:  # interrupted, or Spaces are away: what the Droplets said is said all the same
            outcome = f"Whether all Droplets went back to {good.release} is not known: {error}."
    problem = (
        f"release {failed.release.release}, attempt {failed.attempt}: must become healthy on every Droplet, it did "
        f"not. {outcome} Fix the cause, then run `pulumi up` again.\n{failure}\n{_where_to_look(props)}"
    )
    raise _partly(problem, props, turns.desired)


def _go_back(turns: Turns, good: Release) -> str:
    """Let every Droplet run the good release, and wait for those that had the other one already; say how it went."""
    reports, switched = turns.reports, sorted(turns.done)
    droplets = tuple(reports.droplets)
    attempt = turns.desired.attempt + 1
    leaving = turns.desired.leaving
    turns.put(
        Desired(
            release=good,
            attempt=attempt,
            droplets=droplets,
            turns=droplets,
            complete=True,
            good=good,
            leaving=leaving,
        )
    )
    if not switched:
        return f"The Droplets go back to {good.release}."
    back = replace(turns, reports=replace(reports, droplets=switched), deadline=BACK_SECONDS, done=set(), end=0)
    report(f"going back to {good.release}")
    if problem := back.lead():
        return f"The Droplets go back to {good.release}, and not all have come there:\n{problem}\n"
    return f"All Droplets that had it went back to {good.release}."
