"""The workflows as they stand: read, and their steps run as a runner runs them."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.commands import PATH, ROOT

FOLDER = ROOT / ".github" / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yml"))
STACKS = ["dev", "staging", "prod"]  # in the order in which a commit gets to them


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a workflow."""

    workflow: str
    name: str
    body: Mapping[str, Any]

    def __str__(self) -> str:
        """Name it in a failure."""
        return f"{self.workflow}: {self.name}"

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Its steps; none when it calls another workflow."""
        return list(self.body.get("steps", []))

    def step(self, name: str) -> dict[str, Any]:
        """Find a step by its name."""
        return next(step for step in self.steps if step.get("name") == name)


def workflow(name: str) -> dict[Any, Any]:
    """Read a workflow; its key `on` is there as YAML 1.1 has it: True."""
    read: dict[Any, Any] = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
    return read


def jobs(*names: str) -> Iterator[Job]:
    """Every job of these workflows, or of all."""
    for name in names or NAMES:
        for key, body in workflow(name)["jobs"].items():
            yield Job(name, key, body)


def job(workflow_name: str, name: str) -> Job:
    """One job."""
    return next(job for job in jobs(workflow_name) if job.name == name)


def run_step(
    step: Mapping[str, Any], tree: Path, environment: Mapping[str, str | None], *inside: str
) -> subprocess.CompletedProcess[str]:
    """Run a step's script as GitHub's runner does, in a tree, behind the words of `inside` (such as `sandbox exec`).

    Every variable that the step sets needs a value here; None leaves it out, as an empty secret does.
    """
    wanted = set(step.get("env", {}))
    assert wanted <= set(environment), f"no value for {sorted(wanted - set(environment))}"
    variables = os.environ | {"PATH": PATH} | {name: value for name, value in environment.items() if value is not None}
    for name, value in environment.items():
        if value is None:
            variables.pop(name, None)
    return subprocess.run(
        [*inside, "bash", "--noprofile", "--norc", "-e", "-c", step["run"]],
        cwd=tree,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
