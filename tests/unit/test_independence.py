"""The program knows nothing of the sandbox, nor the sandbox of the program."""

import ast
import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PROGRAM = (
    "__main__.py",
    "config.py",
    "state_folder.py",
    "components",
    "protocol",
    "provider",
    "policy",
    "cloud-init",
    "app",
)


def files(*places: str) -> list[Path]:
    """Every file there, except what a developer's own run left."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *places]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and not name.endswith(".woff2")]


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


def test_no_file_of_the_program_names_the_sandbox() -> None:
    """No import, branch, address or comment: there is nothing to switch."""
    assert [str(path) for path in files(*PROGRAM) if "sandbox" in path.read_text().lower()] == []


def test_no_module_of_the_program_imports_the_sandbox() -> None:
    """What a cloud run executes or ships needs nothing of it."""
    names = imported(files(*PROGRAM))
    assert "components" in names
    assert "sandbox" not in names


def test_no_module_of_the_sandbox_imports_the_program() -> None:
    """It is DigitalOcean for every program."""
    names = imported(files("sandbox"))
    assert "starlette" in names
    assert names & {"agent", "app", "components", "config", "mysite", "polls", "protocol", "provider", "start"} == set()


def test_what_both_plugins_share_knows_neither() -> None:
    """Its place is below both of them."""
    names = imported(files("plugin_base"))
    assert "grpc" in names
    assert names & {"app", "components", "config", "digitalocean_provider", "provider", "sandbox"} == set()
    assert [str(path) for path in files("plugin_base") if "sandbox" in path.read_text().lower()] == []
