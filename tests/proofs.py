"""The rows of the long tables, those marked "prove": `make prove` runs the ones without a result and writes it down.

A plugin of pytest, which runs only such rows: `python -m pytest -p tests.proofs PATH…`. A result belongs to a row's
definition (the test's source and its parameters), and counts no more when that is another one.
"""

import hashlib
import inspect
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "proofs.md"
HEAD = """\
# Rows of the long tables that were proved
Written by `make prove`, row by row. `make test` leaves them out; it runs a row that has no result here, or one of
another definition (the test's source and its parameters).

| Row | Definition | Commit | Date | Seconds |
| --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True, slots=True)
class Proof:
    """A row that has passed."""

    row: str  # pytest's id of it
    definition: str
    commit: str
    date: str
    seconds: str

    def line(self) -> str:
        """In Markdown."""
        return f"| {self.row} | {self.definition} | {self.commit} | {self.date} | {self.seconds} |\n"


def read(text: str) -> dict[str, Proof]:
    """The results by their rows."""
    lines = [line for line in text.splitlines() if line.startswith(("| tests/", "| sandbox/tests/"))]
    proofs = [Proof(*line.removeprefix("| ").removesuffix(" |").split(" | ")) for line in lines]
    return {proof.row: proof for proof in proofs}


def results() -> dict[str, Proof]:
    """What is written down."""
    return read(RESULTS.read_text()) if RESULTS.exists() else {}


def write(proofs: dict[str, Proof]) -> None:
    """The whole page, in one order."""
    RESULTS.write_text(HEAD + "".join(proofs[row].line() for row in sorted(proofs)))


def definition(function: object, parameters: object) -> str:
    """What a row is, as a short hash."""
    return hashlib.sha256(f"{source(function)}\n{words(parameters)}".encode()).hexdigest()[:12]


def source(function: object) -> str:
    """The text of a function."""
    assert callable(function)
    return inspect.getsource(function)


def words(value: object) -> str:
    """A parameter, the same in every process: functions by their text, not by their place in memory."""
    if is_dataclass(value) and not isinstance(value, type):
        return words({field.name: getattr(value, field.name) for field in fields(value)})
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {words(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(words, value)) + "]"
    return source(value).strip() if callable(value) else repr(value)


def of(item: pytest.Item) -> str:
    """The definition of a test that pytest has collected."""
    assert isinstance(item, pytest.Function)
    return definition(item.function, item.callspec.params if hasattr(item, "callspec") else {})


def unproved(items: list[pytest.Item]) -> list[pytest.Item]:
    """Rows without a result."""
    known = results()
    return [item for item in items if item.nodeid not in known or known[item.nodeid].definition != of(item)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the rows that have no result."""
    rows = [item for item in items if item.get_closest_marker("prove")]
    kept = unproved(rows)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Write a row down as soon as it has passed, so that the next run goes on after it."""
    started = time.monotonic()
    failed = item.session.testsfailed
    returned = yield
    if item.session.testsfailed == failed:
        proof = Proof(item.nodeid, of(item), *state(), f"{time.monotonic() - started:.0f}")
        write(results() | {proof.row: proof})
    return returned


def pytest_sessionstart(session: pytest.Session) -> None:
    """Nothing is proved of a tree that nobody can look up."""
    changed = git("status", "--porcelain", "--", ".", f":!{RESULTS.relative_to(ROOT)}", ":!docs/changes.md")
    if changed and not session.config.option.collectonly:
        raise pytest.UsageError(f"the tree must be committed, so that the results name a commit; it has\n{changed}")


def state() -> tuple[str, str]:
    """The commit, and the day."""
    return git("rev-parse", "--short=12", "HEAD"), time.strftime("%Y-%m-%d", time.gmtime())


def git(*argv: str) -> str:
    """What git says of this tree."""
    return subprocess.run(["git", *argv], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
