"""The section `app`."""

from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, StringConstraints
from pydantic_core import PydanticCustomError

from config import ROOT
from config.section import Section
from config.values import Unique, one_of, pattern
from provider import ignore
from provider.project_files import ProjectFiles, project_files

# CPython's versions with security support (PEP 664 to 790); the Droplet's own is Debian 13's.
PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
DROPLET_PYTHON = "3.13"  # Debian 13's
VariableName = Annotated[str, pattern(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable")]


def _ignore_pattern(line: str) -> str:
    if problem := ignore.problem(line):
        raise PydanticCustomError(
            "ignore", "must be a pattern as in .gitignore, but it {problem}", {"problem": problem}
        )
    return line


IgnorePattern = Annotated[str, AfterValidator(_ignore_pattern)]


class AppConfig(Section):
    """The Django project."""

    path: Annotated[str, StringConstraints(min_length=1)] = Field(default="app", description="folder of manage.py")
    wsgi: Annotated[str, pattern(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", 'such as "mysite.wsgi:application"')] = Field(
        default="mysite.wsgi:application", description="module and callable that Gunicorn serves"
    )
    settings: Annotated[str, pattern(r"[A-Za-z_][\w.]*", "a module's dotted name")] = Field(
        default="mysite.settings", description="DJANGO_SETTINGS_MODULE"
    )
    python: Annotated[str, one_of(*PYTHONS)] | None = Field(
        default=None,
        description=f"a version such as 3.12, which uv then downloads; by default the Droplet's own, {DROPLET_PYTHON}",
    )
    env: dict[VariableName, str] = Field(
        default_factory=dict, description="more environment variables; ${NAME} stands for one of the contract's"
    )
    secrets: dict[VariableName, SecretStr] = Field(
        default_factory=dict, description="the same, for secrets: pulumi config set --secret --path app.secrets.NAME"
    )
    exclude: Annotated[tuple[IgnorePattern, ...], Unique] = Field(
        default=(), description="what does not go into a release, beside what git ignores: patterns as in .gitignore"
    )
    include: Annotated[tuple[IgnorePattern, ...], Unique] = Field(
        default=(), description="what goes although it would be left out, such as dist/ (docs/app.md): the same"
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
