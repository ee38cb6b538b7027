"""What is wrong with a stack's settings, in words."""

import difflib
import json
from collections.abc import Sequence
from typing import Any

import pulumi
from pydantic_core import ErrorDetails

from config.section import Section
from config.stack import StackConfig

# Values below these paths are never shown, not even in the message that rejects them.
_HIDDEN = ("alerts", "alerts.slack", "app", "app.env", "app.secrets", "storage", "storage.keys")


class ConfigError(pulumi.RunError):
    """Everything that is wrong with a stack's settings, one problem per line; Pulumi prints it without a traceback."""

    def __init__(self, problems: Sequence[str]) -> None:
        # A name in the settings, or another library's message, may be of several lines.
        self.problems = tuple(" ".join(problem.split()) for problem in problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"the settings of this stack have {count}:\n{lines}")


def describe(details: ErrorDetails) -> str:
    """Turn one of pydantic's errors into `path: rule, value, fix`."""
    location = [part for part in details["loc"] if part != "[key]"]
    path = ".".join(str(part) for part in location)
    parent, description = _find(location)
    if details["type"] == "extra_forbidden":
        name = str(location[-1])
        return f"{path}: unknown setting; {did_you_mean(name, parent)}known here: {', '.join(parent)}"
    if details["type"] == "missing":
        return f"{path}: required, but not set; {description}"
    rule = details["msg"].removeprefix("Input ")
    if details["type"] in {"model_type", "dict_type"}:
        rule = "must be a mapping, with its settings indented below it"
    if details["type"] == "string_type" and isinstance(details["input"], bool | int | float):
        rule = "must be text, so put quotes around it"  # YAML takes false and 5432 for something else
    if details["type"] == "too_long":
        rule = f"must have at most {details['ctx']['max_length']} items, has {details['ctx']['actual_length']}"
    return f"{path}: {rule}, {_shown(path, details['input'])}; {description}"


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Name the known one that somebody may have meant, if there is one."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}? " if close else ""


def _find(location: Sequence[str | int]) -> tuple[list[str], str]:
    """Names beside a setting, and the description of the setting or of the nearest one around it."""
    model: type[Section] | None = StackConfig
    names: list[str] = []
    description = ""
    for part in location:
        if model is None:
            break
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        names = sorted(fields)
        if part not in fields:
            break
        field = fields[str(part)]
        description = field.description or description
        annotation: Any = field.annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next((option for option in options if isinstance(option, type(Section))), None)
    return names, description


def _shown(path: str, value: object) -> str:
    if path in _HIDDEN or any(path.startswith(f"{hidden}.") for hidden in _HIDDEN if "." in hidden):
        return "got a value that is not shown"
    if isinstance(value, dict | list):
        return f"got a {'mapping' if isinstance(value, dict) else 'list'}"
    return f"got {json.dumps(value, default=str)}"
