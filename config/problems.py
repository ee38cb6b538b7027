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
    return (
        f"{path}: {_rule(details)}, {_shown(path, details['input'])}; {_fix(details, str(location[-1]), description)}"
    )


def _fix(details: ErrorDetails, name: str, description: str) -> str:
    """Say what to write; where that can't be told, what the setting is."""
    context, value = details.get("ctx", {}), details["input"]
    if context.get("fix"):
        return str(context["fix"]).replace("NAME", name)
    if details["type"] == "one_of":
        allowed = context["allowed"].split(", ")
        parts = [one for one in allowed if str(value).startswith(f"{one}.")]  # 3.12 of 3.12.4
        return f"{f'did you mean {parts[0]}? ' if parts else did_you_mean(str(value), allowed)}{description}"
    if details["type"] == "tuple_type" and isinstance(value, str):
        return f"write [{value}]; {description}"
    return description


def _rule(details: ErrorDetails) -> str:
    """Say a rule in the words of a settings file: pydantic's are Python's."""
    context = details.get("ctx", {})
    rules = {
        "bool_parsing": "must be true or false",
        "bool_type": "must be true or false",
        "int_from_float": "must be a whole number",
        "int_parsing": "must be a whole number",
        "int_type": "must be a whole number",
        "dict_type": "must be a mapping, with its settings indented below it",
        "model_type": "must be a mapping, with its settings indented below it",
        "string_too_short": "must not be empty",
        "string_type": "must be text",
        "tuple_type": "must be a list, even of one",
        "too_long": f"must have at most {context.get('max_length')} items, has {context.get('actual_length')}",
        "greater_than_equal": f"must be {context.get('ge')} or more",
        "less_than_equal": f"must be {context.get('le')} or less",
        "literal_error": f"must be {context.get('expected')}".replace("'", ""),
    }
    if details["type"] == "string_type" and isinstance(details["input"], bool | int | float):
        return "must be text, so put quotes around it"  # YAML takes false and 5432 for something else
    return rules.get(details["type"], details["msg"].removeprefix("Input "))


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
    return f"got {json.dumps(value, default=str, ensure_ascii=False)}"
