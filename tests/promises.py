"""What the tests promise: their docstrings, of this tree or of a commit; what one has that another has not.

`python -m tests.promises` lists them, `python -m tests.promises COMMIT` those of a commit that this tree has no more.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


def git(*argv: str) -> str:
    """What git says of this repository."""
    return subprocess.run(["git", *argv], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def sources(commit: str | None) -> Iterator[tuple[str, str]]:
    """Name and text of each file of tests."""
    where = ["ls-tree", "-r", "--name-only", commit] if commit else ["ls-files", "--cached", "--others"]
    for name in git(*where, "--", "tests").splitlines():
        if Path(name).name.startswith("test_") and name.endswith(".py"):
            path = ROOT / name
            if commit:
                yield name, git("show", f"{commit}:{name}")
            elif path.exists():
                yield name, path.read_text()


def promises(commit: str | None = None) -> dict[tuple[str, str], str]:
    """File and docstring -> the test's name; the docstring is what is promised, so names may change."""
    found = {}
    for name, text in sources(commit):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[name, " ".join((ast.get_docstring(node) or "").split())] = node.name
    return found


def main() -> None:
    """Print them in the order of the files."""
    here = promises()
    listed = (
        here if len(sys.argv) == 1 else {key: test for key, test in promises(sys.argv[1]).items() if key not in here}
    )
    for (name, promise), test in listed.items():
        print(f"{name}::{test}: {promise}")  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
