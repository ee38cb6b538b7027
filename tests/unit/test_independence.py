"""The program knows nothing of the sandbox, nor the sandbox of the program."""

import ast
import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# What is not the program. The sandbox is none of its business, so all that may name it is written down here.
OTHERS = {
    "sandbox": "itself",
    "tests": "run on it",
    "conftest.py": "the tests",
    "benchmarks": "measure on it",
    "docs": "tell of it",
    "scripts": "the shell of whoever works on the project, some of it for a stack in the sandbox",
    "toolchain": "says which plugin it starts",
    ".github": "previews of forks are made in it",
    **dict.fromkeys(("README.md", "CONTRIBUTING.md", "CHANGELOG.md"), "tell of it"),
    "Makefile": "`make up`",
    "pyproject.toml": "one environment for everything",
    "uv.lock": "the same",
}
# Files of the program that tell people of it.
PAGES = {"operations/policy_docs.py"}


def files(*places: str) -> list[Path]:
    """Every file there, except what a developer's own run left."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *places]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and not name.endswith(".woff2")]


def rooms() -> list[str]:
    """Every folder and file at the top that the program is made of, whatever there will be."""
    top = {path.relative_to(ROOT).parts[0] for path in files()}
    return sorted(top - OTHERS.keys())


def imported(paths: Iterable[Path]) -> set[str]:
    """First parts of the modules that these files import, read from the syntax tree."""
    found = set()
    for path in paths:
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found.add(node.module.partition(".")[0])
    return found


def names_it(path: Path) -> bool:
    """Whether a file has the word in it."""
    return b"sandbox" in path.read_bytes().lower()


def test_no_file_of_the_program_names_the_sandbox() -> None:
    """No import, branch, address or comment: there is nothing to switch."""
    naming = {path.relative_to(ROOT).as_posix() for path in files(*rooms()) if names_it(path)}
    assert naming == PAGES


def test_what_may_name_the_sandbox_does() -> None:
    """Else it belongs to the program, and is looked at."""
    assert [place for place in OTHERS if not any(map(names_it, files(place)))] == []


def test_no_module_of_the_program_imports_the_sandbox() -> None:
    """What a cloud run executes or ships needs nothing of it."""
    names = imported(files(*rooms()))
    assert {"components", "config", "sizing"} <= names
    assert "sandbox" not in names


def test_no_module_of_the_sandbox_imports_the_program() -> None:
    """It is DigitalOcean for every program; the one room that both have is below them."""
    names = imported(files("sandbox/src", "sandbox/provider"))
    assert "starlette" in names
    assert names & {"agent", "mysite", "polls", "start", *rooms()} == {"plugin_base"}


def test_what_both_plugins_share_knows_neither() -> None:
    """Its place is below both of them."""
    names = imported(files("plugin_base"))
    assert "grpc" in names
    assert names & {"digitalocean_provider", "sandbox", *rooms()} == {"plugin_base"}
