"""What the program does itself, from the runner: Pulumi dynamic providers, one noun a file.

A provider is pickled *by reference*: the state of every stack holds the dotted path of its class. Modules and classes
here are therefore never renamed or moved (docs/adr/0007-frozen-dynamic-class-paths.md;
tests/unit/test_dynamic_paths.py).

Providers have no state of their own when they are pickled, log nothing (they can't), wait with deadlines and by
`interruption.pause` (so that Ctrl-C ends the wait), and leave nothing behind when they fail (they can't keep a partly
made resource).
"""

import json
import sys
import traceback
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from pulumi.dynamic import CheckFailure, CheckResult
from pulumi.output import Unknown


class ActionError(Exception):
    """What a provider could not do: path, rule, value, then the fix; never a secret."""


def speak_plainly(host: Any) -> None:  # noqa: ANN401  # Pulumi's host of dynamic providers, a module
    """Let the host answer with what a provider refused, instead of with the way there.

    It answers each failure with `traceback.format_exc()` (`_abort_with_traceback` in pulumi/dynamic/__main__.py), in
    which the one line that the user needs comes last. What is none of our refusals is a bug: there the traceback is
    wanted. A module that is no host (the program, a test) is left alone.
    """
    if hasattr(host, "DynamicResourceProviderServicer"):
        host.traceback = SimpleNamespace(format_exc=_words)


def _words() -> str:
    """Say what failed: one of our refusals by itself, anything else with its traceback."""
    error = sys.exc_info()[1]
    return str(error) if isinstance(error, ActionError) else traceback.format_exc()


speak_plainly(sys.modules["__main__"])


def is_unknown(value: object) -> bool:
    """Tell whether a value, or anything in it, is only known after another resource was made (during preview)."""
    match value:
        case Unknown():
            return True
        case Mapping():
            return any(is_unknown(item) for item in value.values())
        case list() | tuple():
            return any(is_unknown(item) for item in value)
        case _:
            return False


def differing(olds: Mapping[str, Any], news: Mapping[str, Any], properties: Iterable[str]) -> list[str]:
    """Name the properties whose value is not the one of last time; an unknown value differs."""
    return [name for name in properties if olds.get(name) != news.get(name)]


def checked(inputs: dict[str, Any], problems: Iterable[str]) -> CheckResult:
    """Return the inputs with their problems.

    The problems name no property on purpose: for a named one the engine prints its value, secret or not.
    """
    return CheckResult(inputs, [CheckFailure("", problem) for problem in problems])


def text_problems(inputs: Mapping[str, Any], resource: str, *names: str) -> list[str]:
    """Report the named inputs that are neither a text nor unknown yet; values are not repeated, they may be secret."""
    problems = []
    for name in names:
        value = inputs.get(name)
        if not is_unknown(value) and (not isinstance(value, str) or not value):
            got = "an empty one" if value == "" else type(value).__name__
            problems.append(f"{resource}.{name}: must be a non-empty text, got {got}")
    return problems


def json_bytes(document: Any) -> bytes:  # noqa: ANN401  # any JSON
    """Return the one form in which a document is stored and hashed."""
    return (json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()
