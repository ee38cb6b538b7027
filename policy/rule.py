"""What a rule is: a pure function that says what is wrong, with a name, a reason and a way to fix it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from policy.resources import Resource, Stack

Problems = Iterator[str]  # each `path: rule, value`; a path starts below the resource
Findings = Iterator[tuple[Resource | None, str]]  # whose problem; None is the stack's own


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceRule:
    """What a resource can be told from by itself: checked before the engine makes or changes it."""

    name: str
    kinds: tuple[str, ...]
    why: str
    fix: str
    check: Callable[[Resource], Problems]


@dataclass(frozen=True, kw_only=True, slots=True)
class StackRule:
    """What only shows in the whole stack: checked at the end, in a preview before anything is done."""

    name: str
    kinds: tuple[str, ...]
    why: str
    fix: str
    check: Callable[[Stack], Findings]
    production: bool = False  # holds only where the stack says `production: true`


Rule = ResourceRule | StackRule


def message(rule: Rule, resource: Resource | None, problem: str) -> str:
    """One line: path, rule, value, fix."""
    return f"{resource.name}.{problem}; {rule.fix}" if resource else f"{problem}; {rule.fix}"
