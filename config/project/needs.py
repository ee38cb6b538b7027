"""What a release needs of its dependencies: Gunicorn, psycopg, and the Debian packages that some of them load."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from config.project.dependencies import Dependencies, pyproject, table, texts
from config.project.requirements import read_requirements
from config.stack import StackConfig
from protocol.debian import COMPILED

_DATABASE = ("psycopg", "psycopg2", "psycopg2-binary", "psycopg2cffi")
# Debian packages that bring libpq beside their own.
_LIBPQ = ("libpq", "postgresql-client", "gdal", "libgdal", "postgis", "python3-psycopg", "pgloader")
_INSTEAD = {"psycopg2": "psycopg2-binary instead", "psycopg-c": "psycopg[binary] instead"}


def missing(dependencies: Dependencies, folder: Path, allow: Sequence[str]) -> Iterator[str]:
    """Yield `rule, value; fix` for Gunicorn and psycopg, unless they are there, or the app has another database."""
    wanted = {"gunicorn": ("gunicorn",)} | ({} if "other-database" in allow else {"psycopg": _DATABASE})
    absent = [name for name, kinds in wanted.items() if not dependencies.names.intersection(kinds)]
    by_place: dict[str, list[str]] = {}
    for name in absent:
        by_place.setdefault(_place(dependencies, folder, name), []).append(name)
    for place, names in by_place.items():
        got = f"got {'them' if len(names) > 1 else 'it'} in {place} alone" if place else "got none"
        rule = f"its {dependencies.file} must have {' and '.join(names)} among what a release installs, {got}; "
        yield rule + _fix(dependencies, folder, names, place)


def _place(dependencies: Dependencies, folder: Path, name: str) -> str:
    """Return where a package is named without being installed; nothing if nowhere."""
    kinds = _DATABASE if name == "psycopg" else (name,)
    elsewhere = dependencies.elsewhere if dependencies.file == "uv.lock" else _other_files(folder)
    places = [place for place, names in elsewhere.items() if names.intersection(kinds)]
    # What is for production says more than what is for development.
    return min(places, key=lambda place: ("dev" in place or "test" in place, place), default="")


def _other_files(folder: Path) -> dict[str, frozenset[str]]:
    """Read requirements files that nothing includes."""
    files = sorted(
        {*folder.glob("requirements/*.txt"), *folder.glob("requirements*.txt")} - {folder / "requirements.txt"}
    )
    names = [file.relative_to(folder).as_posix() for file in files]
    return {name: read_requirements(folder, "3", name).names for name in names}


def _fix(dependencies: Dependencies, folder: Path, names: list[str], place: str) -> str:
    wanted = ["psycopg[binary]" if name == "psycopg" else name for name in names]
    if dependencies.file != "uv.lock":
        lines = " and ".join(f'"{name}"' for name in wanted)
        if place:
            return f'add the line "-r {place}" to requirements.txt'
        return f"add {'the lines' if len(wanted) > 1 else 'the line'} {lines} to requirements.txt"
    project = pyproject(folder)
    declared = " ".join(texts(table(project, "project").get("dependencies")))
    if not place and all(name in declared for name in names):
        return "pyproject.toml has it by now: run `uv lock` there"
    add = f"run `uv add {' '.join(repr(name) if '[' in name else name for name in wanted)}` there"
    if not place:
        return add
    fix = f"only [project.dependencies] of pyproject.toml are installed: {add}"
    kind, _, group = place.rstrip('"').partition(' "')
    if kind == "the dependency group" and group != "dev":
        default = texts(table(project, "tool", "uv").get("default-groups")) or ["dev"]
        groups = ", ".join(f'"{name}"' for name in (*default, group))
        fix += f", or put default-groups = [{groups}] below [tool.uv] in pyproject.toml"
    return fix


def needed_packages(config: StackConfig, dependencies: Dependencies) -> Iterator[str]:
    """Refuse a psycopg that would find no libpq, which is certain where nothing could have brought it."""
    if _lacks_libpq(dependencies) and not config.web.packages and not config.web.image.isdecimal():
        yield (
            "web.packages: must have libpq5 for a psycopg without its extra binary, got none; "
            "add libpq5, or let the project depend on psycopg[binary]"
        )


def hints(config: StackConfig, dependencies: Dependencies) -> Iterator[str]:
    """Yield what a release may lack of Debian's packages."""
    packages, is_plain = config.web.packages, not config.web.image.isdecimal()
    certain = dependencies.is_complete and not packages and is_plain  # refused, then
    if is_plain and not certain and _lacks_libpq(dependencies) and not _has(packages, *_LIBPQ):
        yield "web.packages: psycopg without its extra binary loads libpq; libpq5 brings it, if nothing else does"
    if is_plain:
        yield from _of_git(packages, dependencies.repositories)
    for name in sorted(dependencies.names & COMPILED.keys()):
        if dependencies.file == "uv.lock" and name not in dependencies.from_source:
            continue
        lacking = [package for package in COMPILED[name] if package not in packages]
        if is_plain and lacking:
            instead = f", or take {_INSTEAD[name]}" if name in _INSTEAD else ""
            yield (
                f"web.packages: {name} is compiled where it is installed, which may need {', '.join(lacking)}; "
                f"add them if the build fails{instead}"
            )


def _of_git(packages: tuple[str, ...], repositories: frozenset[str]) -> Iterator[str]:
    """Yield what a Droplet lacks to fetch from these: Git is not installed, and there is no key of anybody's."""
    by_ssh = sorted(_without_password(place) for place in repositories if place.startswith(("ssh:", "git@")))
    if repositories and "git" not in packages:
        place = min(_without_password(place) for place in repositories)
        yield f"web.packages: {place} is fetched with Git, which a Droplet does not have; add git"
    for place in by_ssh:
        yield (
            f"app.path: {place} is fetched by SSH, for which a Droplet has no key; put a wheel of it into the project "
            "instead, and name that by its path"
        )


def _without_password(address: str) -> str:
    return re.sub(r"//[^/@]*@", "//", address)


def _lacks_libpq(dependencies: Dependencies) -> bool:
    """Whether Django will find psycopg, and that no libpq; what psycopg2 was linked with is its own affair."""
    brought = {"psycopg-binary", "psycopg-c", "psycopg2-binary", "psycopg2", "psycopg2cffi"}
    return "psycopg" in dependencies.names and not dependencies.names & brought


def _has(packages: tuple[str, ...], *beginnings: str) -> bool:
    return any(package.startswith(beginnings) for package in packages)
