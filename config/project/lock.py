"""uv.lock: what `uv sync --frozen --no-dev` would install."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from config.project.dependencies import Dependencies, applies, pyproject, table

# Where each file of a package is, nine tenths of the text: tomllib would take 0.3 s for those of 300 packages.
_ARTEFACTS = re.compile(r"^(?:sdist = |    \{ url = ).*\n", re.MULTILINE)

Package = dict[str, Any]


def read_lock(folder: Path, python: str) -> Dependencies:
    """Read the project's uv.lock."""
    try:
        text = (folder / "uv.lock").read_text(encoding="utf-8-sig")
        document = tomllib.loads(_ARTEFACTS.sub("", text))
        return _dependencies(document, text, pyproject(folder), python)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problem = f"must be valid, got {error}; run `uv lock` there"
    except (AttributeError, KeyError, TypeError):
        problem = "must be valid, got one of another form; run `uv lock` there"
    return Dependencies(file="uv.lock", problems=(problem,))


def _dependencies(document: dict[str, Any], text: str, project: dict[str, Any], python: str) -> Dependencies:
    packages: dict[str, list[Package]] = defaultdict(list)
    for package in document.get("package", []):
        packages[package["name"]].append(package)
    roots = _roots(document, packages)
    required = [entry for root in roots for entry in root.get("dependencies", [])]
    elsewhere: dict[str, frozenset[str]] = {}
    for kind, name, entries in _optional(document, roots):
        if kind == "dependency group" and _by_default(project, name):
            required += entries
        else:
            found = _closure(packages, entries, python)
            elsewhere[f'the {kind} "{name}"'] = found | elsewhere.get(f'the {kind} "{name}"', frozenset())
    names = _closure(packages, required, python)
    sources = [table(package, "source") for name in names for package in packages.get(name, [])]
    return Dependencies(
        file="uv.lock",
        names=names,
        elsewhere=elsewhere,
        repositories=frozenset(source["git"].partition("?")[0] for source in sources if "git" in source),
        # A lock without a root is one that nobody knows how to read.
        is_complete=bool(roots),
        from_source=names - _with_wheels(text) - {root["name"] for root in roots},
    )


def _with_wheels(text: str) -> set[str]:
    """Return the names of packages that have a wheel for a Droplet, by the names of the files in a lock."""
    # Not by an expression: these are most of the text.
    files = (part[part.rfind("/") + 1 :] for part in text.split('.whl"')[:-1])
    wheels = (file for file in files if file.endswith("-any") or ("linux" in file and file.endswith("x86_64")))
    return {wheel.partition("-")[0].replace("_", "-").lower() for wheel in wheels}


def _roots(document: dict[str, Any], packages: Mapping[str, list[Package]]) -> list[Package]:
    """Return the project; of a workspace without one, all its members."""
    every = [package for versions in packages.values() for package in versions]
    here = [package for package in every if "." in table(package, "source").values()]
    members = table(document, "manifest").get("members", [])
    return here or [package for package in every if package["name"] in members]


def _optional(document: dict[str, Any], roots: Iterable[Package]) -> Iterable[tuple[str, str, list[Package]]]:
    for root in roots:
        for name, entries in table(root, "optional-dependencies").items():
            yield "extra", name, entries
        for name, entries in table(root, "dev-dependencies").items():
            yield "dependency group", name, entries
    for name, entries in table(document, "manifest", "dependency-groups").items():
        yield "dependency group", name, entries


def _by_default(project: dict[str, Any], group: str) -> bool:
    """Whether a group is installed without being asked for; `dev` never is, by --no-dev."""
    default = table(project, "tool", "uv").get("default-groups", [])
    return group != "dev" and (default == "all" or group in default)


def _closure(packages: Mapping[str, list[Package]], entries: Iterable[Package], python: str) -> frozenset[str]:
    """Return the names of what these bring, themselves included."""
    waiting = list(entries)
    seen: set[tuple[str, str]] = set()
    while waiting:
        entry = waiting.pop()
        if not applies(entry.get("marker", "python_version > '0'"), python):
            continue
        for extra in ("", *_extras(entry)):
            if (entry["name"], extra) in seen:
                continue
            seen.add((entry["name"], extra))
            for package in packages.get(entry["name"], []):
                optional = table(package, "optional-dependencies")
                waiting += optional.get(extra, []) if extra else package.get("dependencies", [])
    return frozenset(name for name, _ in seen)


def _extras(entry: Package) -> list[str]:
    return [*(entry.get("extra") or entry.get("extras") or [])]
