"""What the providers of the single resources have in common: results, checks, progress, waiting.

They work on plain dictionaries, keep nothing between two requests, wait with deadlines and by `pause` (so that Ctrl-C
ends the wait), and say by `report` what they wait for.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import sleep
from typing import Any, ClassVar

from plugin_base.wire import has_unknown


class ActionError(Exception):
    """What a provider could not do: path, rule, value, then the fix; never a secret."""


class Interrupted(ActionError):  # noqa: N818  # nothing is wrong
    """The update was interrupted (Ctrl-C): what was to be done is not done, and the next update has to do it."""


class PartlyMade(ActionError):  # noqa: N818  # says what there is, beside what went wrong
    """What went wrong after something was made, which the engine has to keep: its id and outputs."""

    def __init__(self, problem: str, id_: str, outs: dict[str, Any]) -> None:
        super().__init__(problem)
        self.id = id_
        self.outs = outs


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Inputs, and what is wrong with them."""

    inputs: dict[str, Any]
    failures: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffResult:
    """Whether something changes, and which properties ask for a new resource."""

    changes: bool
    replaces: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CreateResult:
    """A new resource."""

    id: str
    outs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """A changed resource."""

    outs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReadResult:
    """A resource as it is, without an id when it is gone."""

    id: str | None
    outs: dict[str, Any]


class ResourceProvider:
    """One kind of resource; `secrets` are the outputs that are secret whatever the inputs are.

    Deleting does nothing in all but two of them (a member's, a balancer's end), and fails only when it is interrupted:
    destroying depends on neither keys nor network. Releases go with their Space, rights go with their cluster.
    """

    secrets: tuple[str, ...] = ()

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Accept all inputs."""
        return CheckResult(news, [])

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Compare the outputs of last time with the inputs of now."""
        raise NotImplementedError

    def create(self, _props: dict[str, Any]) -> CreateResult:
        """Make it."""
        raise NotImplementedError

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Change it."""
        raise NotImplementedError

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Take it to be as it was."""
        return ReadResult(id_, props)

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Leave everything as it is."""


class FixedProvider(ResourceProvider):
    """A resource whose inputs are texts, and in whose place another one comes when one of them changes."""

    resource: ClassVar[str]  # how errors call it
    inputs: ClassVar[tuple[str, ...]]

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse what is no text."""
        return checked(news, text_problems(news, self.resource, *self.inputs))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Find another one in its place."""
        replaces = differing(olds, news, self.inputs)
        return DiffResult(changes=bool(replaces), replaces=replaces)


@dataclass(frozen=True, slots=True)
class Operation:
    """A request in progress: what interrupts its waits, who hears how far it is, and who of what went less well."""

    cancelled: threading.Event
    report: Callable[[str], None]
    warn: Callable[[str], None]


# Each request has a thread, and so a context, of its own.
_operation: ContextVar[Operation | None] = ContextVar("operation", default=None)


@contextmanager
def running(operation: Operation) -> Iterator[None]:
    """Let what this thread does meanwhile report to, and be interrupted by, this operation."""
    token = _operation.set(operation)
    try:
        yield
    finally:
        _operation.reset(token)


def pause(seconds: float) -> None:
    """Sleep; raises Interrupted when the update is."""
    operation = _operation.get()
    if operation is None:
        sleep(seconds)
    elif operation.cancelled.wait(seconds):
        raise Interrupted("interrupted while waiting; run `pulumi up` again, it goes on from there")


def report(text: str) -> None:
    """Show how far it is, in the engine's display."""
    operation = _operation.get()
    if operation is not None:
        operation.report(text)


def warn(text: str) -> None:
    """Show what a person should know though all went well; it stays on the screen."""
    operation = _operation.get()
    if operation is not None:
        operation.warn(text)


def is_unknown(value: object) -> bool:
    """Tell whether a value, or anything in it, is only known after another resource was made (during preview)."""
    return has_unknown(value)


def differing(olds: Mapping[str, Any], news: Mapping[str, Any], properties: Iterable[str]) -> list[str]:
    """Name the properties whose value is not the one of last time; an unknown value differs."""
    return [name for name in properties if olds.get(name) != news.get(name)]


def checked(inputs: dict[str, Any], problems: Iterable[str]) -> CheckResult:
    """Return the inputs with their problems.

    The problems name no property on purpose: for a named one the engine prints its value, secret or not.
    """
    return CheckResult(inputs, list(problems))


def text_problems(inputs: Mapping[str, Any], resource: str, *names: str) -> list[str]:
    """Report the named inputs that are neither a text nor unknown yet; values are not repeated, they may be secret."""
    problems = []
    for name in names:
        value = inputs.get(name)
        if not is_unknown(value) and (not isinstance(value, str) or not value):
            got = "an empty one" if value == "" else type(value).__name__
            problems.append(f"{resource}.{name}: must be a non-empty text, got {got}")
    return problems
