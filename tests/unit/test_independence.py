"""The program knows nothing of the sandbox."""

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PROGRAM = ("__main__.py", "config.py", "components", "dynamic", "cloud-init", "app")


def program_files() -> list[Path]:
    """Every file that a cloud run executes or ships."""
    # Tracked and new files, not what a developer's own run of the app left.
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *PROGRAM]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and not name.endswith(".woff2")]


def test_no_file_of_the_program_names_the_sandbox() -> None:
    """No import, branch, address or comment: there is nothing to switch."""
    assert [str(p) for p in program_files() if "sandbox" in p.read_text().lower()] == []


def test_no_module_of_the_program_imports_the_sandbox() -> None:
    """The same for imports, read from the syntax tree."""
    imported = set()
    for path in program_files():
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    imported.add(node.module.partition(".")[0])
    assert "components" in imported
    assert "sandbox" not in imported
