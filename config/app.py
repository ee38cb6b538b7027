"""The section `app`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints

from config import ROOT
from config.section import Section
from config.values import Unique, one_of, pattern
from protocol.environment import ALLOWANCES

# CPython's versions with security support (PEP 664 to 790); the Droplet's own is Debian 13's.
PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
DROPLET_PYTHON = "3.13"  # Debian 13's
VariableName = Annotated[str, pattern(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable")]


class HealthConfig(Section):
    """The page that a release is judged by."""

    path: Annotated[str, pattern(r"/[!-~]*", "a path such as /shop/")] = Field(
        default="/", description="page that has to be there before a release is switched on, and after it"
    )
    status: tuple[
        Annotated[str, pattern("[1-5][0-9]{2}(-[1-5][0-9]{2})?", "a code or a range, such as 401 or 200-399")], ...
    ] = Field(default=("200-399", "401"), min_length=1, description="codes and ranges that it may answer with")


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
