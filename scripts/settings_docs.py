"""Prints docs/settings.md: every setting of a stack, from the models that check it."""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, too

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from config import NAMESPACE, StackConfig

HEAD = f"""\
# Settings

Made by `make settings-docs` from [config.py](../config.py), which checks all of them before anything is planned. They
live in `Pulumi.<stack>.yaml`, below `config:`, each section under `{NAMESPACE}:<section>`; a path such as `web.size` is
`size` in `{NAMESPACE}:web`, and `pulumi config set --path web.size s-2vcpu-4gb` sets it. Rules between settings (a pool
that fits the plan, say) are checked, too; all problems are reported together. What a change does:
[runbook.md](runbook.md), "Change".

| Setting | Default | Meaning |
|---|---|---|
"""


def page() -> str:
    """Return the page in Markdown."""
    rows = [f"| `{path}` | {default} | {meaning} |" for path, default, meaning in settings(StackConfig)]
    return HEAD + "\n".join(rows) + "\n"


def settings(model: type[BaseModel], prefix: str = "", *, optional: bool = False) -> Iterator[tuple[str, str, str]]:
    """Path, default and meaning of every setting of a model and the sections below it.

    A section that may be missing as a whole has settings that are required only beside each other.
    """
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        if section := section_of(field):
            may_be_missing = optional or (not field.is_required() and field.default is None)
            yield from settings(section, f"{path}.", optional=may_be_missing)
        else:
            yield path, "none" if optional else default_of(field), field.description or ""


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a section."""
    annotation = field.annotation
    options = [annotation, *getattr(annotation, "__args__", ())]
    return next((option for option in options if isinstance(option, type) and issubclass(option, BaseModel)), None)


def default_of(field: FieldInfo) -> str:
    """Say what a setting is when it is left out."""
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | dict):
        return "empty" if not value else f"`{value}`"
    return f"`{value}`"


if __name__ == "__main__":
    sys.stdout.write(page())
