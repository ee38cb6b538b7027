"""The setting that helps, for the first line of an error: by what programs say when they fail."""

import re

from protocol.debian import lacking

# The migrator may not create any; PostgreSQL's own hint, a right on the database, is nothing that a project can have.
EXTENSION = re.compile(r'permission denied to create extension "([^"\n]+)"')
# What uv says of packages, and of a project, that are for another Python; it may break its lines.
OTHER_PYTHON = re.compile(
    r"\brequires\s+Python\s+[<>=!~]|incompatible with the project's Python requirement"
    r"|\bwheels\b[^\n]* with the following Python "
)
# What databases say of tables and columns that only this release's migrations make: PostgreSQL, SQLite, MySQL.
NOT_MIGRATED = re.compile(
    r"\bUndefined(Table|Column)\b|\bno such (table|column): "
    r"""|\((1146, ["']Table|1054, ["']Unknown column) """
)
# What is fine as `release` runs a program, and not as Gunicorn does.
WRITES = re.compile(r"\[Errno (13|30)\]")
CALLS = re.compile(r"\bstatus=31/SYS\b")
EXECUTES = re.compile(
    r"write\+execute memory|cannot enable executable stack|failed to map segment|LLVM ERROR: Unable to allocate"
    r"|^MemoryError$",
    re.MULTILINE,
)


def remedy(output: str) -> str:
    """Return what to do about a program's failure, "" where nobody knows."""
    if extension := EXTENSION.search(output):
        return f"add {extension[1]} to database.extensions (docs/app.md)"
    if packages := lacking(output):
        return f"add {packages} to web.packages"
    if OTHER_PYTHON.search(output):
        return "set app.python to a version that all packages take"
    return ""


def explained(error: str) -> str:
    """Add to the first line of a program's error what to do, once."""
    what, _, output = error.partition("\n")
    found = remedy(output)
    return f"{what}; {found}\n{output}" if found and what.startswith("`") and found not in what else error


def forbidden(output: str) -> str:
    """Say what a program did that Gunicorn's confinement forbids, "" where that is not why it failed."""
    if CALLS.search(output):
        return "it made a system call that an app may not make (SystemCallFilter= of gunicorn.service)"
    if WRITES.search(output):
        return "an app may write to /tmp alone: let it log to the console, the journal keeps that"
    if EXECUTES.search(output):
        return "an app may not execute memory that it writes, as just-in-time compilers and C callbacks do: docs/app.md"
    return ""
