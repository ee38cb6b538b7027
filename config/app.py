"""The section `app`."""

import re
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints

from config import ROOT
from config.section import Section
from config.values import Unique, one_of, pattern, wrong
from protocol.environment import ALLOWANCES
from provider.uploads import ignore
from provider.uploads.project_files import ProjectFiles, project_files

# CPython's versions with security support (PEP 664 to 790); the Droplet's own is Debian 13's.
PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
DROPLET_PYTHON = "3.13"  # Debian 13's
MODULE = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
WSGI = rf"{MODULE}:[A-Za-z_]\w*"
# How Pulumi writes what YAML takes for a date.
_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4} \S+")


def _variable_name(value: str) -> str:
    # Pulumi's name for YAML's null, which NULL and ~ are without quotes.
    return "" if value == "<nil>" else re.sub(r"[^A-Za-z0-9_]+", "_", value.strip())


def _module_name(value: str) -> str:
    return value.strip().removesuffix(".py").replace("/", ".").lstrip(".")


def _callable_name(value: str) -> str:
    """Return Gunicorn's form of a module, a file, or what Django has in WSGI_APPLICATION."""
    module, _, name = value.strip().partition(":")
    module = _module_name(module)
    if not name and module.endswith(".application"):
        module = module.removesuffix(".application")
    return f"{module}:{name or 'application'}"


def _text(value: object) -> object:
    """Take booleans and whole numbers as their text; refuse what YAML has made something else of.

    Pulumi hands values over as JSON, where 1e3 is 1000, 3.10 is 3.1, and a date has a time.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) or (isinstance(value, str) and _DATE.fullmatch(value)) or isinstance(value, date):
        kind = "a number" if isinstance(value, float) else "a date"
        raise wrong("quoted", "must be in quotes, since YAML writes {kind} its own way", 'write NAME: "…"', kind=kind)
    if value is None:
        raise wrong("empty", "must be text", 'write NAME: "" for an empty one, or leave it out')
    if isinstance(value, list | dict):
        raise wrong("one_text", "must be one text", 'write NAME: "…" as the app is to read it')
    return value


AsText = BeforeValidator(_text)
VariableName = Annotated[str, pattern(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable", _variable_name)]


def _rising(value: str) -> str:
    first, _, last = value.partition("-")
    if last and first > last:  # three digits each
        raise wrong("rising", "must begin with its lower end", f"write {last}-{first}")
    return value


Status = Annotated[
    str,
    pattern("[1-5][0-9]{2}(-[1-5][0-9]{2})?", "a code or a range, such as 401 or 200-399"),
    AfterValidator(_rising),
]


class HealthConfig(Section):
    """The page that a release is judged by."""

    path: Annotated[str, pattern(r"/[!-~]*", "a path such as /shop/")] = Field(
        default="/", description="page that has to be there before a release is switched on, and after it"
    )
    status: tuple[Status, ...] = Field(
        default=("200-399", "401"), min_length=1, description="codes and ranges that it may answer with"
    )


def _ignore_pattern(line: str) -> str:
    if problem := ignore.problem(line):
        raise wrong("ignore", "must be a pattern as in .gitignore, but it {problem}", problem=problem)
    return line


IgnorePattern = Annotated[str, AfterValidator(_ignore_pattern)]


class AppConfig(Section):
    """The Django project."""

    path: Annotated[str, StringConstraints(min_length=1)] = Field(default="app", description="folder of manage.py")
    wsgi: Annotated[str, pattern(WSGI, 'such as "mysite.wsgi:application"', _callable_name)] = Field(
        default="mysite.wsgi:application", description="module and callable that Gunicorn serves"
    )
    settings: Annotated[str, pattern(MODULE, "a module's dotted name", _module_name)] = Field(
        default="mysite.settings", description="DJANGO_SETTINGS_MODULE"
    )
    python: Annotated[str, one_of(*PYTHONS)] | None = Field(
        default=None,
        description=f"a version such as 3.12, which uv then downloads; by default the Droplet's own, {DROPLET_PYTHON}",
    )
    env: dict[VariableName, Annotated[str, AsText]] = Field(
        default_factory=dict, description="more environment variables; ${NAME} stands for one of the contract's"
    )
    secrets: dict[VariableName, Annotated[SecretStr, AsText]] = Field(
        default_factory=dict, description="the same, for secrets: pulumi config set --secret --path app.secrets.NAME"
    )
    exclude: Annotated[tuple[IgnorePattern, ...], Unique] = Field(
        default=(), description="what does not go into a release, beside what git ignores: patterns as in .gitignore"
    )
    include: Annotated[tuple[IgnorePattern, ...], Unique] = Field(
        default=(), description="what goes although it would be left out, such as dist/ (docs/app.md): the same"
    )
    superuser: bool = Field(
        default=True,
        description="false makes no user admin; true does with the first release, its password is an output",
    )
    health: HealthConfig = Field(default_factory=HealthConfig, description="path and status")
    allow: Annotated[tuple[Annotated[str, one_of(*ALLOWANCES)], ...], Unique] = Field(
        default=(), description="what a release may be all the same (docs/app.md): " + ", ".join(ALLOWANCES)
    )
    release: (
        Annotated[str, pattern(r"[0-9a-f]{8}-[0-9a-f]{8}", "the id of a release, such as 0a1b2c3d-4e5f6a7b")] | None
    ) = Field(default=None, description="an earlier release to go back to; leave it out to release the code at path")

    @property
    def folder(self) -> Path:
        """The project's folder; a relative path starts where Pulumi.yaml is."""
        return ROOT / self.path

    @cached_property
    def files(self) -> ProjectFiles:
        """What goes into a release, as it is when it is asked for first."""
        return project_files(self.folder, self.exclude, self.include)
