"""Follows desired.json: sleeps, looks whether another release is desired, rolls it out, reports how far that is."""

import datetime as dt
import functools
import http
import json
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from agent.config import Config
from agent.errors import AgentError
from agent.machine import Machine, log, serve, serving, write
from agent.notify import notify
from agent.redaction import redacted, secrets, written
from agent.rollout import Rollout
from agent.spaces import PATIENT, Answer, Spaces, SpacesError
from agent.state import State
from protocol.document import DocumentError, json_bytes, json_object
from protocol.environment import Environment
from protocol.failure import shortened
from protocol.health import mark
from protocol.node import node_key
from protocol.release import DESIRED, Desired

INTERVAL = 3  # seconds between two looks
SOON, SOON_FOR = 0.5, 600  # seconds; while its turn is near
NEAR = 10  # so many of those that wait are: all of many together would ask more than Spaces answer
KEPT_RELEASES = 5
PROBATION = 600  # seconds after its switch in which a release that crashes is taken back
PROBATION_WINDOW = 60  # seconds, in which that many crashes count


@dataclass(kw_only=True)
class Follower:
    """What this Droplet does about desired.json; one look after the other."""

    machine: Machine
    config: Config
    state: State = field(default_factory=State)
    spaces: Spaces = field(init=False)
    problem: str = ""  # why the last look failed
    rolled_out: bool = False
    prepared: Rollout | None = None  # what waits for its turn
    soon_until: float = 0  # by the monotonic clock
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
            time.sleep(SOON if self.prepared and time.monotonic() < self.soon_until else INTERVAL)

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
        self.watch()  # also while Spaces are away
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
        """Do what is desired, unless this attempt has an end already."""
        try:
            desired = Desired.parse(json_object(answer.body, DESIRED))
        except DocumentError as error:
            # About no release, so that what serves is said again once this document is repaired.
            failed = State(droplet=self.droplet_id, phase="failed", error=str(error), good=self.state.good)
            self.remember(replace(failed, etag=answer.etag))
            return
        if self.droplet_id in desired.leaving:
            self.leave(answer.etag)
            return
        self.machine.stay()
        joins = not self.state.good  # it serves nothing yet
        meanwhile = replace(desired, release=desired.good, complete=True) if desired.good else None
        if self.has_answered(desired):
            self.note(replace(self.state, etag=answer.etag))
        elif self.droplet_id in desired.turns or (desired.complete and joins):
            self.roll_out(desired, answer.etag)
        elif joins and meanwhile and not self.prepared and not self.has_answered(meanwhile):
            self.roll_out(meanwhile, "")
        elif self.droplet_id in desired.droplets:
            self.prepare(desired, answer.etag)
        else:
            # One that is to be replaced, or has just joined. It goes on as it is.
            self.prepared = None
            state = replace(self.state, phase="waiting", healthy=False, etag=answer.etag)
            (self.note if self.state.phase == "waiting" else self.remember)(state)

    def has_answered(self, desired: Desired) -> bool:
        """Whether this attempt has come to an end here."""
        answered = (self.state.release, self.state.attempt) == (desired.release.release, desired.attempt)
        return answered and self.state.phase in {"done", "failed"}

    def prepare(self, desired: Desired, etag: str) -> None:
        """Do what can be done before it is this Droplet's turn."""
        waited = self.prepared
        rollout = self.begun(desired)
        text = None if rollout is waited else self.failure_of(rollout, rollout.prepare)
        if text is not None or rollout.serves:
            self.end(rollout, text, etag)
            return
        self.prepared, self.soon_until = rollout, time.monotonic() + SOON_FOR if self.is_near(desired) else 0
        state = replace(self.state, phase="prepared", etag=etag)
        (self.note if rollout is waited else self.remember)(state)

    def is_near(self, desired: Desired) -> bool:
        """Whether it is among the next whose turn comes; the order is that of the document, as the runner lets them."""
        waiting = [one for one in desired.droplets if one not in desired.turns]
        return self.droplet_id in waiting[:NEAR]

    def roll_out(self, desired: Desired, etag: str) -> None:
        """Let visitors have the release."""
        rollout = self.begun(desired)
        migrates = desired.complete or desired.turns[0] == self.droplet_id

        def run() -> None:
            rollout.prepare()
            rollout.finish(migrates=migrates)

        self.end(rollout, self.failure_of(rollout, run), etag)

    def begun(self, desired: Desired) -> Rollout:
        """Return the rollout of this attempt, which may be prepared."""
        prepared, self.prepared = self.prepared, None
        if prepared and (self.state.release, self.state.attempt) == (desired.release.release, desired.attempt):
            return prepared
        self.state = State(
            droplet=self.droplet_id,
            release=desired.release.release,
            attempt=desired.attempt,
            good=self.state.good,
        )
        rollout = Rollout(
            machine=self.machine,
            config=self.config,
            client=self.patient_client,
            release=desired.release,
            served_by=mark(self.droplet_id),
            last_good=self.state.good,
            enter=lambda phase: self.remember(replace(self.state, phase=phase)),
            still_desired=lambda: self.is_desired(rollout.spaces, desired),
        )
        return rollout

    def is_desired(self, spaces: Spaces, attempt: Desired) -> bool:
        """Whether an attempt is still what is desired; whose turn it is may have changed."""
        now = Desired.parse(json_object(spaces.get(self.config.releases_bucket, DESIRED).body, DESIRED))
        return now.attempt == attempt.attempt and attempt.release in (now.release, now.good)

    def end(self, rollout: Rollout, text: str | None, etag: str) -> None:
        """Report how an attempt ended, and clean up."""
        self.rolled_out = True
        name, attempt = self.state.release, self.state.attempt
        ended = State(droplet=self.droplet_id, release=name, attempt=attempt, good=self.state.good, etag=etag)
        if text is None:
            log(f"{name}, attempt {attempt}: serves")
            notes = [shortened(redacted(note, self.hidden(rollout.environment))) for note in rollout.notes]
            for note in notes:
                log(f"{name}: {note}")
            if self.state.good not in {"", name}:
                ended = replace(ended, before=self.state.good, since=time.time())
            self.remember(replace(ended, phase="done", healthy=True, good=name, notes=notes))
        else:
            log(f"{name}, attempt {attempt}: failed\n{text}")
            self.remember(replace(ended, phase="failed", error=text))
        try:
            self.prune()
        except OSError as error:
            log(f"{self.machine.releases}: old releases stay: {error}")
        if text is None:
            rollout.compile()
            rollout.tidy()

    def watch(self) -> None:
        """Go back from a new release whose processes end again and again under visitors: its look was not enough."""
        state = self.state
        if state.phase != "done" or not state.before or time.time() - state.since > PROBATION:
            return
        if not (crashes := self.machine.crashes(since=time.time() - PROBATION_WINDOW)):
            return
        log(f"{state.release}: {crashes}; back to {state.before}")
        text = f"it was healthy, then {crashes} under visitors; {state.before} serves again"
        said = self.machine.journal()
        try:
            serve(self.machine, state.before)
        except AgentError as error:
            said = f"{state.before} did not start: {error}\n{said}"
        text = shortened(f"{text}\n{self.without_secrets(said)}")
        self.remember(replace(state, phase="failed", healthy=False, error=text, good=state.before, before=""))

    def without_secrets(self, said: str) -> str:
        """Return what the desired release said, as it may be shown; nothing while it is not known what may not be."""
        try:
            desired = Desired.parse(json_object(self.spaces.read(self.config.releases_bucket, DESIRED), DESIRED))
            key = desired.release.environment
            environment = Environment.parse(self.spaces.read(self.config.releases_bucket, key), key)
        except (SpacesError, DocumentError) as error:
            return f"its last words are in `journalctl -u gunicorn` on the Droplet: {error}"
        return redacted(said, self.hidden(environment))

    def leave(self, etag: str) -> None:
        """Let the load balancer send no more visitors here, and say when those that are here have been served."""
        if self.state.phase != "left":
            self.remember(replace(self.state, phase="leaving", healthy=False))
            self.machine.leave()
        self.remember(replace(self.state, phase="left", etag=etag))

    def failure_of(self, rollout: Rollout, step: Callable[[], None]) -> str | None:
        """Take a step of a rollout; return what went wrong, as it may be shown, None when nothing did."""
        try:
            step()
        except (AgentError, DocumentError, OSError) as error:  # OSError: a full disk, above all
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - the runner has to hear of it, once, whatever it is
            problem = unforeseen(error)
            log(redacted(traceback.format_exc(), self.hidden(rollout.environment)))
        else:
            return None
        return shortened(redacted(problem + rollout.left_behind(), self.hidden(rollout.environment)))

    def hidden(self, environment: Environment) -> dict[str, str]:
        """Return what no text may show -> what is shown in its place."""
        return secrets(environment) | dict.fromkeys(written(self.config.secret_key), "[agent's key]")

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
        if self.state.phase == "left" and not self.machine.leaving.exists():  # the Droplet has started again since
            self.state = replace(self.state, phase="waiting", etag="")

    def remember(self, state: State) -> None:
        """Keep the state, and tell the runner; what can't be told now is told by a later look."""
        self.keep(replace(state, at=now(), reported=False))
        if self.tell(self.state):
            self.keep(replace(self.state, reported=True))

    def note(self, state: State) -> None:
        """Keep what is no news to the runner.

        desired.json changes with each turn: of n Droplets each would write n reports in a release, and the runner read
        them.
        """
        (self.keep if self.state.reported else self.remember)(state)

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
