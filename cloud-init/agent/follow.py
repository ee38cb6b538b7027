"""Follows desired.json: sleeps, looks whether another release is desired, rolls it out, reports how far that is."""

import datetime as dt
import functools
import http
import json
import shutil
import time
import traceback
from dataclasses import asdict, dataclass, field, replace

from agent.config import Config
from agent.errors import AgentError
from agent.machine import Machine, log, write
from agent.notify import notify
from agent.redaction import redacted, secrets, written
from agent.rollout import Rollout, serving
from agent.spaces import PATIENT, Answer, Spaces, SpacesError
from agent.state import State
from protocol.document import DocumentError, json_bytes, json_object
from protocol.failure import shortened
from protocol.node import node_key
from protocol.release import DESIRED, Desired

INTERVAL = 3  # seconds between two looks
KEPT_RELEASES = 5


@dataclass(kw_only=True)
class Follower:
    """What this Droplet does about desired.json; one look after the other."""

    machine: Machine
    config: Config
    state: State = field(default_factory=State)
    spaces: Spaces = field(init=False)
    problem: str = ""  # why the last look failed
    rolled_out: bool = False
    accepted: set[str] = field(default_factory=set)  # buckets that have accepted the key

    def __post_init__(self) -> None:
        self.spaces = self.client()
        self.recall()

    def client(self) -> Spaces:
        """Make a client of Spaces for looks and reports: there will be another one soon."""
        return Spaces(self.config, self.machine.alive, accepted=self.accepted)

    def patient_client(self) -> Spaces:
        """Make a client of Spaces for a rollout, which a moment of trouble must not end."""
        return Spaces(self.config, self.machine.alive, pauses=PATIENT, accepted=self.accepted)

    def follow(self) -> None:
        """Look again and again; return after a rollout, whose memory this process would keep for ever."""
        notify("READY=1")
        # Said again: meanwhile something else may have been said of this Droplet, that it can't start its agent.
        self.state = replace(self.state, reported=False)
        while not self.rolled_out:
            self.try_to_look()
            self.machine.alive()
            time.sleep(INTERVAL)

    def try_to_look(self) -> None:
        """Look once; whatever goes wrong is said once, and the next look tries again."""
        try:
            self.look()
        except SpacesError as error:
            problem = f"Spaces: {error}"
        except Exception as error:  # noqa: BLE001 - nothing may end this program unheard
            problem = unforeseen(error)
            if problem != self.problem:
                log(traceback.format_exc())
                # Not kept: the next look that ends well says again what is true.
                self.state = replace(self.state, reported=False)
                self.tell(replace(self.state, phase="failed", healthy=False, error=problem, at=now()))
        else:
            problem = ""
        if problem and problem != self.problem:
            log(problem)
        self.problem = problem

    def look(self) -> None:
        """Answer desired.json, unless that has been done."""
        if self.state.droplet != self.droplet_id:
            self.state = State(droplet=self.droplet_id)
        answer = self.ask()
        if answer.status == http.HTTPStatus.NOT_FOUND:
            if not (self.state.reported and self.state.phase == "waiting"):
                self.remember(State(droplet=self.droplet_id, good=self.state.good))
        elif answer.status == http.HTTPStatus.OK:
            self.answer(answer)
        elif not self.state.reported:
            self.remember(self.state)

    def ask(self) -> Answer:
        """Read desired.json, unless it is the one that the state is the answer to."""
        return self.spaces.get(self.config.releases_bucket, DESIRED, unless=self.state.etag)

    def answer(self, answer: Answer) -> None:
        """Run the release, unless this attempt has an end already."""
        try:
            desired = Desired.parse(json_object(answer.body, DESIRED))
        except DocumentError as error:
            # About no release, so that what serves is said again once this document is repaired.
            failed = State(droplet=self.droplet_id, phase="failed", error=str(error), good=self.state.good)
            self.remember(replace(failed, etag=answer.etag))
            return
        name = desired.release.release
        answered = (self.state.release, self.state.attempt) == (name, desired.attempt)
        if answered and self.state.phase in {"done", "failed"}:
            self.remember(replace(self.state, etag=answer.etag))
            return
        started = State(droplet=self.droplet_id, release=name, attempt=desired.attempt, good=self.state.good)
        self.state = started
        rollout = Rollout(
            machine=self.machine,
            config=self.config,
            client=self.patient_client,
            release=desired.release,
            last_good=self.state.good,
            enter=lambda phase: self.remember(replace(self.state, phase=phase)),
            still_desired=lambda: rollout.spaces.get(self.config.releases_bucket, DESIRED).body == answer.body,
        )
        text = self.failure_of(rollout)
        self.rolled_out = True
        if text is None:
            log(f"{name}, attempt {desired.attempt}: serves")
            notes = [shortened(redacted(note, self.hidden(rollout))) for note in rollout.notes]
            for note in notes:
                log(f"{name}: {note}")
            self.remember(replace(started, phase="done", healthy=True, good=name, etag=answer.etag, notes=notes))
        else:
            log(f"{name}, attempt {desired.attempt}: failed\n{text}")
            self.remember(replace(started, phase="failed", error=text, etag=answer.etag))
        try:
            self.prune()
        except OSError as error:
            log(f"{self.machine.releases}: old releases stay: {error}")
        if text is None:
            rollout.compile()
            rollout.tidy()

    def failure_of(self, rollout: Rollout) -> str | None:
        """Roll out; return what went wrong, as it may be shown, None when nothing did."""
        try:
            rollout.run()
        except (AgentError, DocumentError, OSError) as error:  # OSError: a full disk, above all
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - the runner has to hear of it, once, whatever it is
            problem = unforeseen(error)
            log(redacted(traceback.format_exc(), self.hidden(rollout)))
        else:
            return None
        return shortened(redacted(problem + rollout.left_behind(), self.hidden(rollout)))

    def hidden(self, rollout: Rollout) -> dict[str, str]:
        """Return what no text may show -> what is shown in its place."""
        return secrets(rollout.environment) | dict.fromkeys(written(self.config.secret_key), "[agent's key]")

    def prune(self) -> None:
        """Remove what was not built to its end, and all but the last few releases, failed ones included."""
        folders = sorted(self.machine.releases.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for age, folder in enumerate(folders):
            useless = age >= KEPT_RELEASES or not (folder / "built").exists()
            if useless and folder.name not in {serving(self.machine), self.state.good}:
                shutil.rmtree(folder)
            self.machine.alive()

    def recall(self) -> None:
        """Read what an earlier start has kept; without it everything is looked at again."""
        try:
            self.state = State(**json.loads(self.machine.state.read_bytes()))
        except FileNotFoundError:
            self.state = State()
        except (ValueError, TypeError) as error:
            log(f"{self.machine.state}: starting without it: {error}")

    def remember(self, state: State) -> None:
        """Keep the state, and tell the runner; what can't be told now is told by a later look."""
        self.keep(replace(state, at=now(), reported=False))
        if self.tell(self.state):
            self.keep(replace(self.state, reported=True))

    def tell(self, state: State) -> bool:
        """Tell the runner, or say why that has to wait."""
        try:
            body = json_bytes(state.report().document())
            self.spaces.put(
                self.config.state_bucket, node_key(self.droplet_id), body, {"content-type": "application/json"}
            )
        except (OSError, SpacesError) as error:
            log(f"the report has to wait: {error}")
            return False
        return True

    @functools.cached_property
    def droplet_id(self) -> str:
        """Who reports."""
        return self.machine.droplet_id()

    def keep(self, state: State) -> None:
        """Keep the state; a full disk must not keep the runner from hearing of it."""
        self.state = state
        try:
            write(self.machine.state, json.dumps(asdict(state)), 0o600)
        except OSError as error:
            log(f"{self.machine.state}: {error}")


def now() -> str:
    """Return the time, as reports have it."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def unforeseen(error: Exception) -> str:
    """Say what went wrong that nobody thought of; the journal has the way there."""
    return f"a mistake in the agent: {type(error).__name__}: {error}; see `journalctl -u release-agent` on the Droplet"
