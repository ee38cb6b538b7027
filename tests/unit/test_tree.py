"""The tree stays readable: what is long says why it is."""

import ast
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LONGEST_FUNCTION = 60  # lines
LONGEST_FILE = 400  # lines
LARGEST_FOLDER = 15  # files
DIAGRAM = 80  # lines

# What is longer, and why it is not taken apart.
LONG_FUNCTIONS = {
    "components/database.py: Database.__init__": "the order in which a cluster gets closed is read in one place",
    "components/object_storage.py: ObjectStorage.__init__": "four Spaces, their keys and the CDN: a list, no logic",
    "sandbox/src/sandbox/parts/spaces/ceph.py: configuration": "one configuration file, as text",
    "sandbox/src/sandbox/parts/front/configuration.py: _main": "one configuration file, as text",
    "sandbox/src/sandbox/model/topology_of.py: topology": "one value from one pass over the store",
}
LONG_FILES = {
    "app/polls/tests.py": "Django looks for an app's tests in one module",
    "sandbox/src/sandbox/network/namespaces.py": "one network: its parts are named, and used, together",
    "tests/stack/drift.py": "one table of changes",
    "sandbox/tests/test_bad_input.py": "one table of wrong inputs",
    "tests/unit/test_certificate.py": "what a Droplet does about its certificate: one world, one list",
    "tests/unit/test_follow_failures.py": "what a Droplet says of each failure: one world, one list",
    "tests/unit/test_rollout.py": "what the runner does about one document: one world, one list",
}
# What has more in it, and why it has no folders inside.
LARGE_FOLDERS = {
    "benchmarks/results": "a page for each question, and the data of some",
    "config": "a file for each section of the settings, and for what several of them are checked by",
    "docs": "a page for each question",
    "components": "a file for each component, and what several of them work with",
    "docs/adr": "a page for each decision",
    "sandbox/provider/digitalocean_provider/resources": "a file for each resource of DigitalOcean's",
    "sandbox/src/sandbox/api/products": "a file for each product of DigitalOcean",
    "tests": "folders beside what they work with",
    "tests/components": "a file for each component, and the whole",
    "sandbox/tests": "a file for each product and part, and what they are asked with",
    "tests/stack": "a file for each thing that happens to a stack",
    "tests/unit": "a file for each module",
    "tests/unit/wrong_settings": "a table, one row a file",
}


def files(pattern: str = "*.py") -> list[Path]:
    """Every file of the project that matches, tracked or new."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", pattern]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in sorted(set(listed.split("\0"))) if name and (path := ROOT / name).is_file()]


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Qualified name and number of lines of every function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1
            yield from functions(node, f"{prefix}{node.name}.")
        else:
            yield from functions(node, f"{prefix}{node.name}." if isinstance(node, ast.ClassDef) else prefix)


def test_long_functions_have_a_reason() -> None:
    """A new one is taken apart or explained, and an explanation goes when it is not needed any more."""
    long = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in files()
        for name, lines in functions(ast.parse(path.read_text()))
        if lines > LONGEST_FUNCTION
    }
    assert long == LONG_FUNCTIONS.keys()


def test_long_files_have_a_reason() -> None:
    """The same for files."""
    long = {str(path.relative_to(ROOT)) for path in files() if len(path.read_text().splitlines()) > LONGEST_FILE}
    assert long == LONG_FILES.keys()


def test_large_folders_have_a_reason() -> None:
    """The same for folders: each is read at a glance."""
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in files("."))
    assert {folder for folder, count in counts.items() if count > LARGEST_FOLDER} == LARGE_FOLDERS.keys()


def test_the_program_is_a_diagram() -> None:
    """On one page, and with nothing to decide or to define: what is made, of what, and what is told of it."""
    text = (ROOT / "__main__.py").read_text()
    logic = ast.FunctionDef | ast.ClassDef | ast.If | ast.While | ast.Try | ast.With | ast.Lambda
    assert len(text.splitlines()) <= DIAGRAM
    assert [ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, logic)] == []


def test_scripts_are_shell() -> None:
    """A program with more to it has a room, types and tests."""
    first = {path.name: path.read_text().partition("\n")[0] for path in files("scripts")}
    assert len(first) >= 8
    assert set(first.values()) == {"#!/usr/bin/env bash"}
