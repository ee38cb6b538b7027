"""What a release would install: the project's dependency file, read as uv reads it, without running anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tomllib import TOMLDecodeError, loads
from typing import Any

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName

FILES = ("uv.lock", "requirements.txt")  # the agent takes the first that is there
PATCH_RELEASES = 50  # more than a version of CPython ever had
# What markers are asked on a Droplet; packaging's own answers are this machine's.
DROPLET = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "sys_platform": "linux",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependencies:
    """Names are normalised; `elsewhere` has those that are named, but not installed, by where that is."""

    file: str
    names: frozenset[str] = frozenset()
    elsewhere: Mapping[str, frozenset[str]] = field(default_factory=dict)
    is_complete: bool = False  # nothing but `names` can be installed
    from_source: frozenset[str] = frozenset()  # of `names`, those that have no wheel for a Droplet
    repositories: frozenset[str] = frozenset()  # addresses of Git's that something is fetched from
    problems: tuple[str, ...] = ()  # `rule, value; fix`: uv refuses the file on the Droplet


@cache
def applies(marker: str, python: str) -> bool:
    """Whether a marker may hold on a Droplet with this Python; what can't be told may."""
    if "extra" in marker:  # conflicts between extras, which uv writes this way
        return True
    try:
        parsed = Marker(marker)
        return any(
            parsed.evaluate(
                DROPLET
                | {
                    "python_version": python,
                    "python_full_version": f"{python}.{patch}",
                    "implementation_version": f"{python}.{patch}",
                }
            )
            for patch in (0, PATCH_RELEASES)
        )
    except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName):
        return True


def toml(path: Path) -> dict[str, Any]:
    """Read a TOML file, with or without a byte-order mark, as uv does; raises ValueError and OSError."""
    return loads(path.read_text(encoding="utf-8-sig"))


def pyproject(folder: Path) -> dict[str, Any]:
    """Return the project's pyproject.toml; nothing when there is none, or none that can be read."""
    try:
        return toml(folder / "pyproject.toml")
    except (OSError, TOMLDecodeError, UnicodeDecodeError):
        return {}


def table(document: object, *keys: str) -> dict[str, Any]:
    """Return a table of a document of unknown shape; an empty one when it is not there."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def texts(value: object) -> list[str]:
    """Return the texts of what should be a list of them."""
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
