"""The Droplets of a rollout: first one of them gets the release, then the others, as many at once as may be away."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING

from protocol.failure import shortened
from protocol.node import NODES, NodeReport, node_key
from protocol.release import Desired
from provider.actions import pause, report, warn

if TYPE_CHECKING:
    from provider.uploads.spaces_client import Spaces

POLL_SECONDS = 0.5
# For so long a Droplet may say that it can't start its agent: what this update has just uploaded may be what it misses,
# or systemd is about to start an agent that ended.
BOOTSTRAP_SECONDS = 60.0

SHOWN = 5  # Droplets of which each is shown

States = Mapping[str, NodeReport | None]  # by Droplet


@dataclass(kw_only=True)
class Reports:
    """What Droplets have reported last; only what has changed since is read again."""

    spaces: "Spaces"
    bucket: str
    droplets: Sequence[str]
    read: dict[str, tuple[str, NodeReport | None]] = field(default_factory=dict)  # by key, with the ETag

    def states(self) -> States:
        """Read them."""
        etags = self.spaces.etags(self.bucket, NODES)
        for key in map(node_key, self.droplets):
            if key in etags and self.read.get(key, ("",))[0] != etags[key]:
                self.read[key] = (etags[key], NodeReport.parse(self.spaces.get_json(self.bucket, key)))
        return {
            droplet: self.read[key][1] if (key := node_key(droplet)) in etags else None for droplet in self.droplets
        }


def next_turns(turns: Sequence[str], droplets: Sequence[str], done: Collection[str], most: int) -> tuple[str, ...]:
    """Return who may let visitors have the release: one alone until one is done, then `most` at once."""
    busy = [droplet for droplet in turns if droplet in droplets and droplet not in done]
    waiting = [droplet for droplet in droplets if droplet not in turns and droplet not in done]
    room = (most if done else 1) - len(busy)
    return (*turns, *waiting[: max(0, room)])


@dataclass(kw_only=True)
class Turns:
    """One attempt as the runner leads it. `write` is given each new desired.json."""

    reports: Reports
    max_unavailable: int
    deadline: float  # seconds for those whose turn it is
    desired: Desired
    write: Callable[[Desired], None]
    written: Desired | None = None  # what desired.json is now
    done: set[str] = field(default_factory=set)
    stuck_since: dict[str, float] = field(default_factory=dict)  # of those that can't start their agent
    failure: str | None = None
    end: float = 0  # by the monotonic clock
    shown: str = ""  # what was reported last

    def lead(self) -> str | None:
        """Return when every Droplet runs the release, or with what went wrong."""
        while not self.step():
            pause(min(POLL_SECONDS, max(0.0, self.end - monotonic())))
        return self.failure

    def step(self) -> bool:
        """Read the reports once, and let those begin whose turn it is; whether it is over."""
        states = self.reports.states()
        current = {one: state for one, state in states.items() if state and self.is_about(state)}
        self.failure = self.said_by_failed(states, current)
        if self.failure:
            return True
        done = {one for one, state in current.items() if state.phase == "done" and state.healthy}
        if done != self.done or not self.end:
            self.done, self.end = done, monotonic() + self.deadline
        if len(done) == len(states):
            self.finish(current)
            return True
        self.let_begin()
        if (line := self.progress(states, current)) != self.shown:
            report(line)
            self.shown = line
        if monotonic() >= self.end:
            self.failure = "\n".join(_late(one, states[one], self.deadline) for one in states if one not in done)
        return self.failure is not None

    def is_about(self, state: NodeReport) -> bool:
        """Whether a report is about this attempt."""
        return (state.release, state.attempt) == (self.desired.release.release, self.desired.attempt)

    def said_by_failed(self, states: States, current: Mapping[str, NodeReport]) -> str | None:
        """Return what those Droplets say that have failed, None when none has."""
        stuck = {one for one, state in states.items() if state and state.phase == "bootstrap"}
        self.stuck_since = {one: self.stuck_since.get(one, monotonic()) for one in stuck}
        failed = [one for one, state in current.items() if state.phase == "failed"]
        failed += [one for one, since in self.stuck_since.items() if monotonic() >= since + BOOTSTRAP_SECONDS]
        reports = [(one, state) for one in failed if (state := states[one])]
        texts = [f"Droplet {one} failed:\n{shortened(said.error or 'it gave no reason')}" for one, said in reports]
        return "\n".join(texts) or None

    def let_begin(self) -> None:
        """Write down whose turn it is, if that has changed."""
        droplets = tuple(self.reports.droplets)
        if self.desired.complete:  # all that join may begin
            turns = tuple(dict.fromkeys((*self.desired.turns, *droplets)))
            droplets = tuple(dict.fromkeys((*self.desired.droplets, *droplets)))
        else:
            turns = next_turns(self.desired.turns, droplets, self.done, self.max_unavailable)
        self.put(replace(self.desired, turns=turns, droplets=droplets))

    def put(self, desired: Desired) -> None:
        """Write desired.json, unless it is that already."""
        if desired != self.written:
            self.write(desired)
        self.desired = self.written = desired

    def finish(self, current: Mapping[str, NodeReport]) -> None:
        """Write down that all have it, and show what they noted."""
        self.put(replace(self.desired, complete=True))
        notes: dict[str, list[str]] = {}
        for droplet, state in current.items():
            for note in state.notes:
                notes.setdefault(shortened(note), []).append(droplet)
        for note, droplets in notes.items():
            warn(f"Droplet{'s' if len(droplets) > 1 else ''} {', '.join(droplets)}: {note}")

    def progress(self, states: States, current: Mapping[str, NodeReport]) -> str:
        """Return a line that says where each Droplet is; of many, how many are where."""
        stuck = {one: state.error for one, state in states.items() if state and state.phase == "bootstrap"}
        phases = {one: current[one].phase if one in current else "not begun" for one in states if one not in stuck}
        said = [f"Droplet {one}: can't start its agent, {error}" for one, error in stuck.items()]
        if len(phases) > SHOWN:
            said += [f"{count} {phase}" for phase, count in Counter(phases.values()).items()]
        else:
            said += [f"Droplet {one}: {phase}" for one, phase in phases.items()]
        return f"attempt {self.desired.attempt}, {', '.join(said)}"


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
