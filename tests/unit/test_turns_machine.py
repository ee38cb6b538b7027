"""Releases over several Droplets, whatever happens in between: agents and the runner end and come back at any step."""

import hashlib
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent import follow, rollout
from agent.errors import AgentError
from protocol.release import DESIRED, GOOD, Desired, Release
from provider.actions import PartlyMade
from provider.traffic import member
from provider.traffic import rollout as runner
from provider.traffic.turns import Reports, Turns
from tests.unit.droplet_world import CONFIG, ENVIRONMENT, FakeMachine, FakeSpaces, archive

NAMES = st.sampled_from(["1", "2", "3", "4"])


@dataclass
class Bucket:
    """What the runner does with Spaces, on the agents' own."""

    spaces: FakeSpaces

    def etags(self, bucket: str, prefix: str) -> dict[str, str]:
        """Return the objects below a prefix; what has changed has another ETag."""
        found = {key: body for (where, key), body in self.spaces.objects.items() if where == bucket}
        return {key: str(hash(body)) for key, body in found.items() if key.startswith(prefix)}

    def get_json(self, bucket: str, key: str) -> Any:  # noqa: ANN401 - any JSON
        """Read a document."""
        body = self.spaces.objects.get((bucket, key))
        return None if body is None else json.loads(body)

    def put_json(self, bucket: str, key: str, document: object) -> None:
        """Write one."""
        self.spaces.objects[bucket, key] = json.dumps(document).encode()


@dataclass
class Droplet:
    """A machine, and its agent while that runs."""

    machine: FakeMachine
    agent: follow.Follower
    migrated: list[str] = field(default_factory=list)  # releases

    @property
    def serves(self) -> str:
        """The release that visitors get."""
        link = self.machine.current
        return link.readlink().name if link.is_symlink() else ""


class Fleet(RuleBasedStateMachine):
    """Four Droplets at most, and a runner."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.folder = tempfile.TemporaryDirectory()
        self.spaces = FakeSpaces()
        self.bucket = Bucket(self.spaces)
        self.droplets: dict[str, Droplet] = {}
        self.turns: Turns | None = None
        self.outs: dict[str, Any] = {}  # what the engine's state has of the rollout
        self.most = 1
        self.fails: dict[str, str] = {}  # release -> the step that fails, on every Droplet
        self.proven: set[str] = set()  # releases that were once good
        self.number = 0
        for module, name, value in (
            (follow, "Spaces", self.spaces.client),
            (rollout, "HEALTH_DEADLINE", 0),
            (rollout, "CANDIDATE_DEADLINE", 0),
            (follow, "log", lambda _text: None),
            (rollout, "log", lambda _text: None),
            (runner.RolloutProvider, "spaces", lambda _provider, _region: self.bucket),
        ):
            self.patch.setattr(module, name, value)

    def teardown(self) -> None:
        """Whatever has happened: once the runner and the agents are left alone, all Droplets serve one release."""
        if self.droplets and self.number:
            self.nobody_serves_nothing()
            self.refresh_and_up()
            for _ in range(40):
                for name in self.droplets:
                    self.look(name)
                if self.turns:
                    self.step()
            assert not [name for name, droplet in self.droplets.items() if droplet.machine.leaving.exists()]
            served = {droplet.serves for droplet in self.droplets.values()}
            good = self.bucket.get_json("releases", GOOD)
            if self.wanted.release not in self.fails:
                assert served == {self.wanted.release}, served
            elif good:
                assert served == {good["release"]}, served
            else:  # nothing is proven: who serves goes on, who joins waits
                assert self.wanted.release not in served, served
        self.patch.undo()
        self.folder.cleanup()

    def nobody_serves_nothing(self) -> None:
        """A Droplet that has joined what is complete or good needs no runner."""
        document = self.bucket.get_json("releases", DESIRED)
        desired = document and Desired.parse(document)
        for name in self.droplets:
            for _ in range(3):
                self.look(name)
        if desired and (desired.good or (desired.complete and desired.release.release not in self.fails)):
            staying = self.droplets.keys() - {*desired.leaving}
            assert all(self.droplets[name].serves for name in staying), desired

    def refresh_and_up(self) -> None:
        """Do what the engine does: nothing, where the provider finds no difference."""
        provider, wanted = runner.RolloutProvider(), self.props()
        outs = provider.read("id", self.outs).outs if self.outs else None
        if not outs or provider.diff("id", outs, wanted).changes:
            self.start(self.wanted)

    def props(self) -> dict[str, Any]:
        """Return the inputs of the rollout."""
        return PROPS | {"droplet_ids": sorted(self.droplets), **self.wanted.document()}

    @initialize(most=st.sampled_from([1, 2]))
    def first(self, most: int) -> None:
        """Begin with two Droplets and a release that works."""
        self.most = most
        self.join("1")
        self.join("2")
        self.release(fails="")

    @rule(name=NAMES)
    def join(self, name: str) -> None:
        """Let a Droplet be made, unless it is there."""
        if name in self.droplets:
            return
        self.number_of_machines = getattr(self, "number_of_machines", 0) + 1
        machine = FakeMachine(Path(self.folder.name, f"{name}-{self.number_of_machines}"))
        machine.id = name
        machine.behaviour = lambda command: self.behave(machine, command)
        machine.sickness = self.sickness
        # A Droplet that is made anew has another id; here the report of the one before goes with it.
        self.spaces.objects.pop(("state", f"nodes/{name}.json"), None)
        self.droplets[name] = Droplet(machine, follow.Follower(machine=machine, config=CONFIG))

    @precondition(lambda self: len(self.droplets) > 1)
    @rule(name=NAMES)
    def go(self, name: str) -> None:
        """Let a Droplet be deleted; the runner's next update does not have it."""
        if name in self.droplets:
            del self.droplets[name]
            self.turns = None

    @precondition(lambda self: self.outs and not self.turns)
    @rule(name=NAMES)
    def is_told_to_leave(self, name: str) -> None:
        """Let the deletion of a Droplet begin that the last update did not have, and be interrupted then."""
        if name in self.droplets:
            member._change(self.bucket, {"releases_bucket": "releases", "droplet_id": name}, leaves=True)  # type: ignore[arg-type]
            self.outs["droplet_ids"] = [one for one in self.outs["droplet_ids"] if one != name]

    @rule(name=NAMES)
    def reboot(self, name: str) -> None:
        """Start a Droplet again, whose /run is empty then."""
        if droplet := self.droplets.get(name):
            droplet.machine.leaving.unlink(missing_ok=True)
            self.restart(name)

    @rule(name=NAMES)
    def look(self, name: str) -> None:
        """Let an agent look once."""
        if droplet := self.droplets.get(name):
            droplet.agent.try_to_look()
            if droplet.agent.rolled_out:
                self.restart(name)

    @rule(name=NAMES)
    def restart(self, name: str) -> None:
        """End an agent; systemd starts it again, and it knows what is on the disk."""
        if droplet := self.droplets.get(name):
            droplet.agent = follow.Follower(machine=droplet.machine, config=CONFIG)

    @rule(fails=st.sampled_from(["", "check", "migrate", "candidate", "current"]))
    def release(self, fails: str) -> None:
        """Begin an update with a new release; the one before is not waited for any more."""
        self.number += 1
        tree = archive({"manage.py": str(self.number), "uv.lock": ""})
        body = json.dumps(ENVIRONMENT).encode()
        sha256, environment = sha(tree), sha(body)
        self.spaces.objects["releases", f"artifacts/{sha256}.tar"] = tree
        self.spaces.objects["releases", f"environments/{environment}.json"] = body
        self.wanted = Release(
            release=f"{sha256[:8]}-{environment[:8]}",
            artifact=f"artifacts/{sha256}.tar",
            sha256=sha256,
            environment=f"environments/{environment}.json",
        )
        if fails:
            self.fails[self.wanted.release] = fails
        self.start(self.wanted)

    def start(self, release: Release) -> None:
        """Do what an update does at its beginning."""
        document = self.bucket.get_json("releases", GOOD)
        good = None if document is None else Release(**document)
        reports = Reports(spaces=self.bucket, bucket="state", droplets=sorted(self.droplets))  # type: ignore[arg-type]
        document = self.bucket.get_json("releases", DESIRED)
        written = document and Desired.parse(document)
        self.turns = Turns(
            reports=reports,
            max_unavailable=self.most,
            deadline=1e9,
            desired=runner._start(written, Desired(release=release, attempt=1, good=good), reports),
            write=lambda desired: self.bucket.put_json("releases", DESIRED, desired.document()),
            written=written,
        )

    @precondition(lambda self: self.turns)
    @rule()
    def step(self) -> None:
        """Let the runner look once, and end the update when it is over."""
        turns = self.turns
        assert turns
        if not turns.step():
            return
        self.turns = None
        props = self.props() | {"droplet_ids": [*turns.reports.droplets]}
        if turns.failure is None:
            self.outs = runner._outputs(props, turns.desired)
            self.bucket.put_json("releases", GOOD, turns.desired.release.document())
            self.proven.add(turns.desired.release.release)
            return
        document = self.bucket.get_json("releases", GOOD)
        self.patch.setattr(runner, "_go_back", self.go_back)
        with pytest.raises(PartlyMade) as raised:
            runner._give_up(props, turns, document and Release(**document), turns.failure)
        self.outs = raised.value.outs

    def go_back(self, turns: Turns, good: Release) -> str:
        """Write what the runner writes; nobody waits here."""
        turns.put(
            Desired(
                release=good,
                attempt=turns.desired.attempt + 1,
                droplets=tuple(turns.reports.droplets),
                turns=tuple(turns.reports.droplets),
                complete=True,
                good=good,
                leaving=turns.desired.leaving,
            )
        )
        return ""

    @precondition(lambda self: self.turns)
    @rule()
    def kill_the_runner(self) -> None:
        """End the update by kill -9."""
        self.turns = None

    def behave(self, machine: FakeMachine, command: str) -> None:
        """Let a step of a release fail that is to."""
        building = sorted(machine.releases.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        for word in command.split():
            if building and self.fails.get(building[-1].name) == word and "manage.py" in command:
                raise AgentError(f"`{command}` ended with status 1")

    def sickness(self, release: str, which: str) -> Any:  # noqa: ANN401 - the agent's
        """Say what is wrong with a release that looks well until it is asked, or until visitors have it."""
        problem = rollout.Problem(text="/: answered 500", lasting=True)
        return problem if self.fails.get(release) == which else None

    @invariant()
    def visitors_get_what_works(self) -> None:
        """A release that fails is in front of nobody, whatever was cut short."""
        assert not [one.serves for one in self.droplets.values() if one.serves in self.fails]

    @invariant()
    def nobody_goes_before_the_first(self) -> None:
        """While an attempt goes on, whoever serves it was let, or is the first."""
        document = self.bucket.get_json("releases", DESIRED)
        if document is None:
            return
        desired = Desired.parse(document)
        if desired.complete or desired.release.release in self.proven:
            return
        serving = {name for name, one in self.droplets.items() if one.serves == desired.release.release}
        assert serving <= {*desired.turns}, (serving, desired.turns)
        first, others = desired.turns[:1], serving - {*desired.turns[:1]}
        if others and first[0] in self.droplets:
            state = self.bucket.get_json("state", f"nodes/{first[0]}.json")
            assert (state["phase"], state["attempt"]) == ("done", desired.attempt), state


PROPS = {
    "state_bucket": "state",
    "releases_bucket": "releases",
    "region": "nyc3",
    "droplet_ids": [],
    "max_unavailable": 1,
    "deadline": 1,
}


def sha(body: bytes) -> str:
    """Return the SHA-256 of an object."""
    return hashlib.sha256(body).hexdigest()


TestFleet = Fleet.TestCase
TestFleet.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
