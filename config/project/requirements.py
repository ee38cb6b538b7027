"""requirements.txt: what `uv pip install --requirement` would install, as far as the files say it."""

import codecs
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from config.project.dependencies import Dependencies, applies, pyproject, table, texts

NAME = "requirements.txt"
_FILE = re.compile(r"(-r|--requirement|-c|--constraint)(?:\s*=\s*|\s+)(.+)")
_EDITABLE = re.compile(r"(?:-e|--editable)(?:\s*=\s*|\s+)(.+)")
_NAME = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[([^\]]*)\])?\s*(?=$|[@(<>=!~;,\s])")
_REPOSITORY = re.compile(r"git\+([^\s;#]+)")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
# What the build has of its own: cloud-init/agent/machine.py; PROJECT_ROOT is uv's.
_GIVEN = re.compile(r"HOME|LANG|PATH|PROJECT_ROOT|UV_\w+|PIP_INDEX_URL|[A-Z]+_(CERT_FILE|CERT_DIR|CA_BUNDLE|PROXY)")
_PINNED = re.compile(r"={2,3}|@|--hash")

# Packages that are known to bring neither Gunicorn nor psycopg: a list of these alone has what it names. Whatever is
# not here may bring anything, which makes of a refusal a warning; and so may an extra, but for these packages'.
_PLAIN = Path(__file__).with_name("plain_packages.txt")
_PLAIN_EXTRAS = frozenset(
    {"celery", "django", "django-allauth", "django-anymail", "django-storages", "gunicorn", "httpx", "psycopg", "pyjwt"}
    | {"redis", "sentry-sdk", "uvicorn"}
)


@dataclass(slots=True)
class _Found:
    """What was read so far."""

    folder: Path
    python: str
    names: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)  # of them, projects whose own list was read, too
    pinned: bool = True  # each line names one version, as in what `pip freeze` writes
    unseen: bool = False  # something brings names that can't be seen from here
    repositories: set[str] = field(default_factory=set)
    read: set[Path] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def read_requirements(folder: Path, python: str, name: str = NAME) -> Dependencies:
    """Read the project's requirements.txt, or another file of that kind, and what it includes."""
    found = _Found(folder, python)
    _read_file(found, folder / name, constraints=False)
    # What `pip freeze` and `pip-compile` write has Django's own dependencies, too, and so all that there is.
    is_frozen = found.pinned and {"asgiref", "sqlparse"} <= found.names
    return Dependencies(
        file=name,
        names=frozenset(found.names),
        is_complete=not found.unseen and (is_frozen or found.names <= _plain_packages() | found.own),
        repositories=frozenset(found.repositories),
        problems=tuple(found.problems),
    )


def decoded(content: bytes) -> str:
    """Decode a requirements file as uv does: UTF-16 by its mark, which PowerShell writes, else UTF-8."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return content.decode("utf-8-sig")


def _read_file(found: _Found, path: Path, *, constraints: bool) -> None:
    shown = Path(os.path.relpath(path, found.folder)).as_posix()
    if path.resolve() in found.read:
        return
    found.read.add(path.resolve())
    try:
        text = decoded(path.read_bytes())
    except OSError as error:
        found.problems.append(f"must include files that are there, got {shown} ({error.strerror}); correct the line")
        return
    except UnicodeDecodeError as error:
        found.problems.append(
            f"must be UTF-8, or UTF-16 with a byte-order mark, {shown} is not ({error.reason} at byte {error.start}); "
            "save it as UTF-8"
        )
        return
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        stripped = re.sub(r"(^|\s)#.*", "", line).strip()
        if stripped:
            _read_line(found, path, stripped, constraints=constraints)


def _read_line(found: _Found, path: Path, line: str, *, constraints: bool) -> None:
    variables = [name for name in _VARIABLE.findall(line) if not _GIVEN.fullmatch(name)]
    if variables and not line.startswith(("-r", "-c", "--requirement", "--constraint")):
        found.problems.append(
            f"must need nothing of the environment, takes ${{{variables[0]}}} from it, and the build of a release has "
            "none of app.env and app.secrets; put wheels of the packages into the project instead, and name them by "
            'their paths (docs/app.md, "The dependency file")'
        )
    if match := _FILE.match(line):
        _read_included(
            found, path, match[2].strip("\"'"), constraints=constraints or match[1] in {"-c", "--constraint"}
        )
    elif constraints:
        return
    elif match := _EDITABLE.match(line):
        found.repositories |= set(_REPOSITORY.findall(line))
        _read_place(found, match[1])
    elif not line.startswith("-"):
        _read_requirement(found, line)


def _read_included(found: _Found, path: Path, name: str, *, constraints: bool) -> None:
    if "://" in name or "${" in name:
        found.unseen = found.unseen or not constraints
        return
    included = path.parent / name
    if included.resolve().is_relative_to(found.folder.resolve()):
        _read_file(found, included, constraints=constraints)
        return
    found.unseen = True
    found.problems.append(
        f"must include files of app.path alone, which is all that a release has, got {name}; put a copy there"
    )


def _read_requirement(found: _Found, line: str) -> None:
    found.repositories |= set(_REPOSITORY.findall(line))
    match = _NAME.match(line)
    if match is None or match[0].strip().endswith((".whl", ".tar.gz", ".zip")):
        _read_place(found, line)
        return
    found.pinned = found.pinned and _PINNED.search(line) is not None
    text = line.partition(" --hash")[0]
    try:
        marker = Requirement(text).marker
    except InvalidRequirement:  # uv takes more than packaging does, and says what it doesn't
        marker = None
    if marker is None or applies(str(marker), found.python):
        found.names.add(canonicalize_name(match[1]))
        if match[2]:
            found.names |= _of_extras(found, canonicalize_name(match[1]), match[2])


def _of_extras(found: _Found, name: str, extras: str) -> set[str]:
    """Return what the extras bring, of that which matters here."""
    if name not in _PLAIN_EXTRAS:
        found.unseen = True
    wanted = {extra.strip() for extra in extras.split(",")}
    return {f"psycopg-{extra}" for extra in wanted & {"binary", "c", "pool"}} if name == "psycopg" else set()


def _plain_packages() -> set[str]:
    return set(_PLAIN.read_text(encoding="utf-8").split())


def _read_place(found: _Found, place: str) -> None:
    """Read what a path or an address brings: a project's own list, where it is written down."""
    found.pinned = False
    place = place.partition(";")[0].strip().strip("\"'")
    if match := re.search(r"#egg=([A-Za-z0-9._-]+)|([A-Za-z0-9_.]+)-[^/]*\.(?:whl|tar\.gz|zip)", place):
        found.names.add(canonicalize_name(match[1] or match[2]))
    path, _, extras = place.removeprefix("file:").replace("${PROJECT_ROOT}", ".").partition("[")
    project = {} if "://" in path else table(pyproject(found.folder / path), "project")
    # Without a list, or with a "dynamic" one, its build says what it brings.
    if not project or "dependencies" in texts(project.get("dynamic")):
        found.unseen = True
        return
    found.own.add(name := canonicalize_name(str(project.get("name"))))
    found.names.add(name)
    entries = texts(project.get("dependencies"))
    for extra in extras.rstrip("]").split(","):
        entries += texts(table(project, "optional-dependencies").get(extra.strip()))
    for entry in entries:
        _read_requirement(found, entry)
