"""Rules about the project: each yields its problems as `path: rule, value; fix`."""

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from tomllib import TOMLDecodeError

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from config import ROOT
from config.app import DROPLET_PYTHON, PYTHONS
from config.project.dependencies import FILES, PATCH_RELEASES, Dependencies, pyproject, table, toml
from config.project.lock import read_lock
from config.project.needs import hints, missing, needed_packages
from config.project.requirements import read_requirements
from config.stack import StackConfig

# What other tools leave behind, and the command that makes of it what a release is built from.
_MADE_BY = (
    ("poetry.lock", "`poetry export -o requirements.txt` (its plugin: `poetry self add poetry-plugin-export`)"),
    ("Pipfile.lock", "`pipenv requirements > requirements.txt`"),
    ("pdm.lock", "`pdm export --prod -o requirements.txt`"),
    ("Pipfile", "`pipenv lock && pipenv requirements > requirements.txt`"),
    ("requirements.in", "`uv pip compile requirements.in -o requirements.txt`"),
)
# What requirements are for, if not for production.
_ELSE = frozenset({"ci", "dev", "develop", "development", "doc", "docs", "lint", "local", "test", "testing", "tests"})
_SETUP = ("setup.cfg", "setup.py")


def project_rules(config: StackConfig) -> Iterator[str]:
    """Check that there is a project, and that a release of it can be built."""
    if config.app.release is not None:
        return  # an earlier release is what it was, whatever is in the folder now
    folder = config.app.folder
    if not (folder / "manage.py").is_file():
        yield _no_project(config.app.path, folder)
        return
    dependencies = read(folder, config.app.python or DROPLET_PYTHON)
    if dependencies is None:
        yield _no_dependencies(config.app.path, folder)
        return
    for problem in dependencies.problems:
        yield f"app.path: its {dependencies.file} {problem}"
    if not dependencies.problems and dependencies.is_complete:
        yield from (f"app.path: {problem}" for problem in missing(dependencies, folder, config.app.allow))
        yield from needed_packages(config, dependencies)


def python_rules(config: StackConfig) -> Iterator[str]:
    """Compare the release's Python with what the project says of itself."""
    folder = config.app.folder
    if config.app.release is not None or not (folder / "manage.py").is_file():
        return
    version = config.app.python or DROPLET_PYTHON
    got = f'got "{version}"' if config.app.python else f"got none, which is the Droplet's own {version}"
    for file, whose, read_required in (
        ("pyproject.toml", "the project's", _of_project),
        ("uv.lock", "uv.lock's", _of_lock),
    ):
        try:
            required = read_required(folder)
            accepted = SpecifierSet(required) if required is not None else None
        except FileNotFoundError:
            continue
        except (OSError, TOMLDecodeError, UnicodeDecodeError, InvalidSpecifier, AttributeError, TypeError) as error:
            yield f"app.path: its {file} must be valid, got {error}; correct it"
            return
        if accepted is not None and not _fits(accepted, version):
            fitting = [known for known in PYTHONS if _fits(accepted, known)]
            fix = f'set app.python: "{_nearest(fitting)}"' if fitting else f"change it to one of {', '.join(PYTHONS)}"
            yield f"app.python: must fit {whose} requires-python ({required}), {got}; {fix}"
            return


def project_notes(config: StackConfig) -> Iterator[str]:
    """Yield what may go wrong in a release, and can't be known from here."""
    folder = config.app.folder
    if config.app.release is not None:
        return
    dependencies = read(folder, config.app.python or DROPLET_PYTHON)
    if dependencies is None:
        return
    if not dependencies.is_complete:
        for problem in missing(dependencies, folder, config.app.allow):
            yield f"app.path: {problem}, unless another package there brings it"
    yield from hints(config, dependencies)


def project_hints(config: StackConfig) -> Iterator[str]:
    """Yield what may be meant otherwise: the Python of a release is not the one that the project is developed on."""
    try:
        wanted = (config.app.folder / ".python-version").read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return
    version = ".".join(wanted[0].split(".")[:2]) if wanted else ""
    if config.app.python is None and version in PYTHONS and version != DROPLET_PYTHON:
        yield (
            f"app.python: the project's .python-version says {version}, a release runs on the Droplet's own "
            f'{DROPLET_PYTHON}; app.python: "{version}" takes the other'
        )


def read(folder: Path, python: str) -> Dependencies | None:
    """Read the file that the agent will take; None when there is none."""
    if (folder / FILES[0]).is_file():
        return _read_lock(folder, python, *(_stamp(folder / name) for name in (FILES[0], "pyproject.toml")))
    return read_requirements(folder, python) if (folder / FILES[1]).is_file() else None


@lru_cache(maxsize=1)  # a long one takes 30 ms, and is asked for twice
def _read_lock(folder: Path, python: str, *_stamps: tuple[int, int]) -> Dependencies:
    return read_lock(folder, python)


def _stamp(path: Path) -> tuple[int, int]:
    return (status.st_mtime_ns, status.st_size) if path.is_file() and (status := path.stat()) else (0, 0)


def _of_project(folder: Path) -> str | None:
    """Read requires-python of pyproject.toml; raises what a file of another form raises."""
    required: str | None = toml(folder / "pyproject.toml").get("project", {}).get("requires-python")
    return required


def _of_lock(folder: Path) -> str | None:
    """Read requires-python of uv.lock, which is above its packages; whether those are valid is said elsewhere."""
    head = (folder / "uv.lock").read_text(encoding="utf-8-sig", errors="replace").partition("[[package]]")[0]
    match = re.search(r'^requires-python = "(.*)"$', head, re.MULTILINE)
    return match and match[1]


def _fits(accepted: SpecifierSet, version: str) -> bool:
    # Which patch release there will be is not known here: one that fits is enough.
    return any(accepted.contains(f"{version}.{patch}") for patch in range(PATCH_RELEASES))


def _nearest(versions: list[str]) -> str:
    """Return the one that is least far from the Droplet's own; of two, the newer."""
    own = PYTHONS.index(DROPLET_PYTHON)
    return min(reversed(versions), key=lambda version: abs(PYTHONS.index(version) - own))


def _no_project(path: str, folder: Path) -> str:
    """Say where the project is, if it is near."""
    if not folder.is_dir():
        return f'app.path: must be a folder, got "{path}", which is none; a relative path starts where Pulumi.yaml is'
    begin = f'app.path: must be the folder of a Django project, got "{path}", which has no manage.py; '
    below = sorted(file.parent for depth in ("*", "*/*") for file in folder.glob(f"{depth}/manage.py"))
    above = [parent for parent in (folder.resolve().parents[:2]) if (parent / "manage.py").is_file()]
    if not below and not above:
        return f"{begin}a relative path starts where Pulumi.yaml is"
    places = [Path(path) / place.relative_to(folder) for place in below[:3]]
    places = places or [_relative(path, folder, above[0])]
    fix = "set " + ", or ".join(f"app.path: {place.as_posix()}" for place in places)
    near = below[0] if below else above[0]
    had = next((file for file in FILES if (folder / file).is_file()), None)
    if had is None or any((near / file).is_file() for file in FILES):
        return begin + fix
    return f"{begin}{fix}; {_brought(had, folder, near, path)}"


def _brought(file: str, source: Path, target: Path, shown: str) -> str:
    """Say how a dependency file of a folder comes beside manage.py in another one."""
    inside = Path(os.path.relpath(target, source)).as_posix()
    why = "a release has what is below app.path alone"
    if file == "uv.lock":
        export = f"`uv export --frozen --no-dev --no-emit-workspace -o {inside}/requirements.txt`"
        return f"{why}: make it a requirements.txt by {export} in {shown}; in a workspace with --package and its name"
    return f"{why}: copy {file} of {shown} to {inside}"


def _relative(path: str, folder: Path, parent: Path) -> Path:
    """Name a folder above as the setting would."""
    return parent if Path(path).is_absolute() else Path(os.path.normpath(Path(path, os.path.relpath(parent, folder))))


def _no_dependencies(path: str, folder: Path) -> str:
    """Say what makes a dependency file of what is there."""
    begin = f'app.path: must hold uv.lock or requirements.txt, got "{path}"; '
    for file, command in _MADE_BY:
        if (folder / file).is_file():
            return f"{begin}{file} is not read: run {command} there"
    others = sorted({*folder.glob("requirements/*.txt"), *folder.glob("requirements*.txt")}, key=_for_production)
    if others and not _for_production(others[0])[1]:
        name = others[0].relative_to(folder).as_posix()
        return f'{begin}make a requirements.txt there with the line "-r {name}"'
    for parent in folder.resolve().parents[:2]:
        if found := _above(parent, is_member=_has_project(folder)):
            return begin + _brought(found, parent, folder, _relative(path, folder, parent).as_posix())
    if not _has_project(folder):
        setup = next((file for file in _SETUP if (folder / file).is_file()), None)
        if setup:
            return f"{begin}run `uv pip compile {setup} -o requirements.txt` there"
        return (
            f"{begin}name its dependencies in a requirements.txt, or in a pyproject.toml (`uv init --bare`, "
            "`uv add gunicorn 'psycopg[binary]'`) and run `uv lock` there"
        )
    return f"{begin}run `uv lock` there"


def _above(parent: Path, *, is_member: bool) -> str:
    """Return the dependency file of a folder above, if it may be the project's; nothing if there is none.

    A project with a pyproject.toml of its own has a lock above in a workspace alone, and the lock of this program is
    nobody else's.
    """
    if (parent / FILES[0]).is_file() and parent != ROOT:
        return FILES[0] if not is_member or table(pyproject(parent), "tool", "uv", "workspace") else ""
    return FILES[1] if (parent / FILES[1]).is_file() and not is_member else ""


def _has_project(folder: Path) -> bool:
    """Whether pyproject.toml is of a project, and not of tools alone."""
    return bool(table(pyproject(folder), "project"))


def _for_production(path: Path) -> tuple[bool, bool, str]:
    words = re.split(r"[^a-z]+", path.stem.lower())
    return not any(word.startswith(("prod", "deploy", "live")) for word in words), bool(_ELSE & {*words}), path.name
