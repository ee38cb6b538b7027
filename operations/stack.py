"""A stack, by Pulumi's command line: why not by pulumi.automation is docs/adr/0016."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce, wraps
from pathlib import Path

import click

# Those that know --config-file; commands on the state alone are run where the stack's own settings are.
WITH_SETTINGS = frozenset({"config", "preview", "refresh", "up"})


@contextmanager
def ending_after_it() -> Iterator[None]:
    """Leave Ctrl-C to Pulumi, which the terminal tells, too, and end when it has unlocked the stack.

    Python would kill it after a quarter of a second. By a handler that does nothing: what is ignored stays ignored in a
    program that is started, a handler does not.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def pulumi(*argv: str, given: str | None = None, shown: bool = False) -> str:
    """Run Pulumi with this on its standard input; return what it prints, or show it as it comes.

    What it complains of is shown. A failure ends the program with Pulumi's own exit status.
    """
    output = None if shown else subprocess.PIPE
    with ending_after_it():
        done = subprocess.run(["pulumi", *argv], input=given, stdout=output, text=True, check=False)
    if done.returncode:
        raise click.exceptions.Exit(done.returncode)
    return done.stdout or ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """A stack, the folder of its Pulumi.yaml, and its settings when they are elsewhere."""

    name: str
    project: Path = Path()
    config_file: Path | None = None

    @property
    def settings(self) -> Path:
        """The stack's settings file."""
        return self.config_file or self.project / f"Pulumi.{self.name}.yaml"

    def arguments(self, command: str, *argv: str) -> list[str]:
        """Return what follows `pulumi` for a command on this stack."""
        words = command.split()
        if self.config_file and words[0] in WITH_SETTINGS:
            where = ["--config-file", str(self.config_file)]
        else:
            where = ["--cwd", str(self.project)]
        return [*words, "--stack", self.name, *where, *argv]

    def run(self, command: str, *argv: str, given: str | None = None, shown: bool = False) -> str:
        """Run a command as `pulumi` does."""
        return pulumi(*self.arguments(command, *argv), given=given, shown=shown)

    def silently(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command that asks nothing and shows nothing; what it printed is in the result."""
        line = ["pulumi", *self.arguments(command, "--non-interactive")]
        with ending_after_it():
            return subprocess.run(line, env=os.environ | environment, capture_output=True, text=True, check=False)


OPTIONS = (
    click.option("--stack", "name", required=True, help="The stack's name."),
    click.option(
        "--project",
        type=click.Path(path_type=Path),
        default=Path(),
        help="Folder of its Pulumi.yaml: here.",
    ),
    click.option("--config-file", type=click.Path(path_type=Path), help="Its settings, when they are elsewhere."),
)


def of_stack(command: Callable[..., None]) -> Callable[..., None]:
    """Let options of a command name the stack that it gets as its first argument."""

    @wraps(command)
    def with_stack(*, name: str, project: Path, config_file: Path | None, **others: object) -> None:
        command(Stack(name=name, project=project, config_file=config_file), **others)

    return reduce(lambda function, option: option(function), reversed(OPTIONS), with_stack)
