"""Shell blocks of the documentation, and the convention that says who runs them.

A fenced block is marked behind its language: `sh api` is run by tests/docs/test_commands.py at depth "api"; `sh cloud`
needs an account, and is checked for its syntax; `sh tested` has commands that other tests run, by the same words.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.commands import ROOT

KINDS = {"api", "cloud", "tested"}
OTHER_LANGUAGES = {"hcl", "json", "python", "text", "yaml"}
_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s+#\s.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: Path
    language: str
    kind: str
    text: str

    def __str__(self) -> str:
        """Name it in a failure."""
        return f"{self.page.relative_to(ROOT)}: {self.text.splitlines()[0] if self.text else ''}"

    @property
    def commands(self) -> list[str]:
        """Lines without comments."""
        return [line.strip() for line in _COMMENT.sub("", self.text).splitlines() if line.strip()]


def pages() -> list[Path]:
    """Every page of the documentation."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [ROOT / name for name in sorted(set(listed.split())) if (ROOT / name).is_file()]


def blocks() -> Iterator[Block]:
    """Every fenced block of every page."""
    for page in pages():
        for info, text in _BLOCK.findall(page.read_text()):
            language, _, kind = info.strip().partition(" ")
            yield Block(page, language, kind, text)
