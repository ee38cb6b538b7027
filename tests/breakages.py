"""Break the product on purpose, one thing at a time, and see that the test of it fails.

`python -m tests.breakages [WORDS…]` makes those of tests/breakages.toml whose line in docs/breakages.md is missing or
another one, or those with these words; the page has what was found. It changes files of this tree and puts them back,
so the tree must be committed.
"""

import os
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.commands import PATH, ROOT

TABLE = ROOT / "tests" / "breakages.toml"
PAGE = ROOT / "docs" / "breakages.md"
TESTS_FAILED = 1  # exit status of pytest
HEAD = """\
# Deliberate breakages
Each of [these](../tests/breakages.toml) was made in the product, alone, and the test beside it failed. Made by
`python -m tests.breakages`.

| Breakage | File | Test | Caught | Commit | Date |
| --- | --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True, kw_only=True)
class Breakage:
    """A text of a file, what stands in its place, and the test that must see it."""

    what: str
    file: str
    old: str
    new: str
    test: str
    first: bool = False  # of several places; else there must be one
    full: bool = False  # a test of the depth "full", which needs root and the machine for itself

    @property
    def path(self) -> Path:
        """The file; one of the Droplet's by its name alone, with `golden:` in front."""
        if self.file.startswith("golden:"):
            [found] = (ROOT / "cloud-init").rglob(self.file.removeprefix("golden:"))
            return found
        return ROOT / self.file

    def broken(self, text: str) -> str:
        """The file's text with the breakage in it."""
        places = text.count(self.old)
        if places != 1 and not (self.first and places):
            sys.exit(f"{self.what}: {self.file} must have the text once, has it {places} times: {self.old}")
        return text.replace(self.old, self.new, 1)

    def caught(self) -> bool:
        """Break it, run the test, put it back; False when the test passes all the same."""
        before, status = self.path.read_bytes(), self.path.stat()
        self.path.write_text(self.broken(before.decode()))
        try:
            return pytest(self.test, "full" if self.full else "not full and not prove") == TESTS_FAILED
        finally:
            self.path.write_bytes(before)
            os.utime(self.path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def line(self, *, caught: bool) -> str:
        """What was found, in Markdown."""
        commit, day = git("rev-parse", "--short=12", "HEAD"), time.strftime("%Y-%m-%d", time.gmtime())
        said = "yes" if caught else "**no**"
        return f"| {self.what} | `{self.file}` | `{self.test}` | {said} | {commit} | {day} |"


def pytest(test: str, which: str) -> int:
    """Run a test; compiled files of the broken text are not kept."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", which, test]
    environment = os.environ | {"PATH": PATH, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=False).returncode


def git(*argv: str) -> str:
    """What git says of this tree."""
    return subprocess.run(["git", *argv], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def breakages() -> list[Breakage]:
    """The table."""
    return [Breakage(**found) for found in tomllib.loads(TABLE.read_text())["breakage"]]


def lines() -> dict[str, str]:
    """What the page has, by breakage."""
    rows = PAGE.read_text().removeprefix(HEAD).splitlines() if PAGE.exists() else []
    return {row.removeprefix("| ").partition(" | ")[0]: row for row in rows}


def chosen(breakage: Breakage, line: str, words: list[str]) -> bool:
    """Whether it has to be tried: it is named, or it is new."""
    if words:
        return any(word in f"{breakage.what} {breakage.test}" for word in words)
    return not breakage.full and f"| `{breakage.file}` | `{breakage.test}` | yes |" not in line


def main() -> None:
    """Try them, and write the page after each; exit status 1 when one was not caught."""
    if changed := git("status", "--porcelain", "--", ".", f":!{PAGE.relative_to(ROOT)}"):
        sys.exit(f"the tree must be committed, since files are changed and put back; it has\n{changed}")
    known = lines()
    for breakage in breakages():
        if not chosen(breakage, known.get(breakage.what, ""), sys.argv[1:]):
            continue
        known[breakage.what] = breakage.line(caught=breakage.caught())
        print(known[breakage.what], flush=True)  # noqa: T201 - what it is for
        rows = [known[found.what] for found in breakages() if found.what in known]
        PAGE.write_text(HEAD + "".join(f"{row}\n" for row in rows))
    sys.exit(any(" | **no** | " in row for row in known.values()))


if __name__ == "__main__":
    main()
