"""A stack of the program in a world: run Pulumi on it, and read what the engine did, step by step."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.world.world import World
from tests.api_client import connect
from tests.commands import ROOT, environment, run

Settings = Mapping[str, object]


class Secret(str):
    """A setting that is set with --secret."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the engine did, or found out, about a resource."""

    op: str  # the engine's own words: create, update, replace, delete, create-replacement, delete-replaced …
    kind: str  # type of the resource, without its package
    name: str  # in the program, without the stack's name
    changed: tuple[str, ...]  # the inputs that made the difference

    @property
    def what(self) -> str:
        """Op and name, as tests write them down."""
        return f"{self.op} {self.name}"


@dataclass(frozen=True, slots=True)
class PulumiStack:
    """One of the program's stacks, with settings that a test changes for one command at a time."""

    world: World
    name: str = "local"
    prefix: str = "polls-local"  # of every resource's name: the setting `name`

    def run(
        self, command: str, *argv: str, settings: Settings | None = None, check: bool = True, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run a Pulumi command by scripts/stack; `settings` are paths and values, for this command only."""
        options = ["--config-file", str(self._changed(settings))] if settings else []
        return run(
            *("scripts/stack", self.name, command, *argv, *options), home=self.world.home, check=check, timeout=timeout
        )

    def start(self, command: str, *argv: str, settings: Settings | None = None) -> subprocess.Popen[str]:
        """Begin a Pulumi command in a session of its own, for a test that kills it."""
        options = ["--config-file", str(self._changed(settings))] if settings else []
        return subprocess.Popen(
            ["scripts/stack", self.name, command, *argv, *options],
            cwd=ROOT,
            env=environment(self.world.home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _changed(self, settings: Settings) -> Path:
        """Write the stack's settings with changes, beside the copy that scripts/stack makes."""
        made = self.world.pulumi / "project" / f"Pulumi.{self.name}.yaml"
        if not made.exists():
            self.run("stack")
        # The salt of its secrets is there.
        document = yaml.safe_load((ROOT / made.name).read_text()) | yaml.safe_load(made.read_text())
        for path, value in settings.items():
            section, *rest = path.split(".")
            place, key = document["config"], f"django-do:{section}"
            for part in rest:
                place, key = place.setdefault(key, {}), part
            if not isinstance(value, Secret):
                place[key] = value
        changed = self.world.pulumi / f"Pulumi.{self.name}.changed.yaml"
        changed.write_text(yaml.safe_dump(document))
        gone = tuple(f"{path}." for path, value in settings.items() if value is None)
        for path, value in settings.items():
            if isinstance(value, Secret) and not path.startswith(gone):
                # After two dashes: a certificate begins with some.
                self.run("config", "set", "--secret", "--path", "--config-file", str(changed), path, "--", value)
        return changed

    def up(self, *argv: str, settings: Settings | None = None) -> list[Step]:
        """Deploy without a preview; return what was done, in this order."""
        return self.steps("up", *argv, settings=settings)

    def steps(self, command: str, *argv: str, settings: Settings | None = None) -> list[Step]:
        """Run `up`, `refresh` or `destroy`; return what became of each resource that did not stay the same."""
        done = self.run(command, "--yes", "--skip-preview", "--json", *argv, settings=settings, check=False)
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode:
            pytest.fail(f"{command}: exit status {done.returncode}\n{errors(events)}\n{done.stderr}", pytrace=False)
        return [step for event in events if (step := self._step(event)) is not None]

    def settled(self, settings: Settings | None = None) -> None:
        """Fail unless the next `up` finds nothing to do."""
        self.run("up", "--yes", "--skip-preview", "--expect-no-changes", settings=settings)

    def forget(self) -> None:
        """Leave nothing, neither in the account nor in the state: quicker than `destroy` where that is no test."""
        with connect(self.world) as api:
            api.delete_everything()
        folder = self.world.pulumi / "state/.pulumi"
        for file in folder.glob(f"stacks/*/{self.name}.json"):
            state = json.loads(file.read_text())
            state["checkpoint"]["latest"].pop("resources", None)
            state["checkpoint"]["latest"].pop("pending_operations", None)
            file.write_text(json.dumps(state))
        for lock in folder.glob(f"locks/**/{self.name}/*.json"):  # of an engine that was killed
            lock.unlink()

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets in plain."""
        outputs: dict[str, Any] = json.loads(self.run("stack", "output", "--json", "--show-secrets").stdout)
        return outputs

    def resources(self) -> dict[str, dict[str, Any]]:
        """The state's resources by their names, without the stack's name; secrets in plain."""
        state = json.loads(self.run("stack", "export", "--show-secrets").stdout)
        return {self._name(found["urn"]): found for found in state["deployment"].get("resources", [])}

    def _name(self, urn: str) -> str:
        return urn.rpartition("::")[2].removeprefix(f"{self.prefix}-")

    def _step(self, event: dict[str, Any]) -> Step | None:
        found = event.get("resOutputsEvent")
        if found is None:
            return None
        metadata = found["metadata"]
        kind = metadata["type"].rpartition(":")[2]
        # The outputs of the stack itself are not a resource.
        if metadata["op"] in {"same", "refresh", "read"} or kind == "Stack":
            return None
        return Step(metadata["op"], kind, self._name(metadata["urn"]), tuple(sorted(metadata.get("diffs") or ())))


def errors(events: list[dict[str, Any]]) -> str:
    """What the engine complained about."""
    found = (event.get("diagnosticEvent", {}) for event in events)
    return "".join(event["message"] for event in found if event.get("severity") == "error")
