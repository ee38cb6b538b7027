"""Write the table of settings into README.md, from the models that check them."""

import re
from collections.abc import Iterator

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from config import ROOT
from config.stack import StackConfig

README = ROOT / "README.md"
BEGIN, END = "<!-- settings: made by `make settings-docs` -->", "<!-- end of settings -->"
HEAD = "| Setting | Default | Meaning |\n|---|---|---|\n"


def with_table(readme: str) -> str:
    """Return the README with the table as it is now; raises ValueError when the place for it is gone."""
    rows = (f"| `{path}` | {default} | {meaning} |\n" for path, default, meaning in settings(StackConfig))
    table = f"{BEGIN}\n{HEAD}{''.join(rows)}{END}"
    text, found = re.subn(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: table, readme, flags=re.DOTALL)
    if found != 1:
        raise ValueError(f"{README.name}: must have one place for the table, between {BEGIN} and {END}, has {found}")
    return text


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
        return f"`[{', '.join(value)}]`" if value else "empty"
    return f"`{value}`"


@click.command()
def docs() -> None:
    """Write the table of settings into README.md, from the models that check them."""
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
