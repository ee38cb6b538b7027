"""Patterns as in .gitignore: what git itself makes of them is what counts."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from provider.uploads.ignore import Patterns, as_bytes, problem
from provider.uploads.project_files import project_files

# Nothing of this machine: no excludes of its own, no templates.
GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "HOME": os.devnull, "PATH": os.environ["PATH"]}

names = st.sampled_from(["a", "b", "ab", "a.py", "b.py", "dist", " x", "é", "!c", "#d", "a b", "a.b", "x "])
globs = st.sampled_from(
    [
        *(
            "*",
            "**",
            "?",
            "??",
            "a",
            "b",
            "a*",
            "*.py",
            "*b",
            "[ab]",
            "[!a]",
            "[^a]*",
            "a.?",
            "a**b",
            "dist",
            "é",
            "?b",
        ),
        *(r"\!c", r"\#d", r"a\ b", "a b", "x\\ ", r"\a", "[[:alpha:]]", "[[:digit:][:space:]]*", "[z-a]", "[a-b].py"),
    ]
)
lines = st.builds(
    lambda negated, root, parts, folder, end: f"{negated}{root}{'/'.join(parts)}{folder}{end}",
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(globs, min_size=1, max_size=3),
    st.sampled_from(["", "", "/"]),
    st.sampled_from(["", "", "", "  ", "\r", "\\ "]),
) | st.sampled_from(
    ["", "# a", "!", "/", "//", "[", "a[", "a\\", "*/", "!*/", "/*", "**/", "/**", "!/a/", "!!c", "!#d"]
)
ignore_files = st.lists(lines, max_size=5).map("\n".join)
trees = st.recursive(st.just(None), lambda inner: st.dictionaries(names, inner, max_size=4), max_leaves=14).filter(
    lambda tree: isinstance(tree, dict)
)


def write(folder: Path, tree: dict[str, object], ignored: list[str]) -> None:
    """Write a tree, whose folders have the next of the .gitignore files each."""
    folder.mkdir(exist_ok=True)
    if ignored:
        (folder / ".gitignore").write_text(ignored.pop(0))
    for name, inner in tree.items():
        if isinstance(inner, dict):
            write(folder / name, inner, ignored)
        else:
            (folder / name).touch()


def of_git(root: Path) -> set[str]:
    """The files that git would add."""
    subprocess.run(["git", "init", "--quiet", "--template=", root], env=GIT, check=True)
    command = ["git", "ls-files", "-z", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, env=GIT, check=True, capture_output=True).stdout
    return {os.fsdecode(name) for name in listed.split(b"\0") if name}


@settings(max_examples=100, deadline=None)
@given(tree=trees, ignored=st.lists(ignore_files, min_size=1, max_size=4))
@example(tree={"a": {"b": None, "a": None}, "b": None}, ignored=["*\n!a"])
@example(tree={"a": {"b": {"a": None}}, "b": {"a": None}}, ignored=["a/**/b\n!a/b/", "*.py\n!/a"])
@example(tree={"a": {"b": None}}, ignored=["\ufeffb\n"])
def test_what_goes_is_what_git_would_add(tree: dict[str, object], ignored: list[str]) -> None:
    """In every folder, whatever the lines of the .gitignore files are, and without git."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        write(root, tree, [*ignored])
        found = project_files(root)
        goes = {name for name in found.names if not (root / name).is_dir()}
        assert found.problems == []
        assert goes == of_git(root)


def test_a_link_to_a_list_is_none(tmp_path: Path) -> None:
    """Git does not follow it either; nor is a folder of that name one."""
    (tmp_path / "list").write_text("b\n")
    (tmp_path / "b").touch()
    (tmp_path / ".gitignore").symlink_to("list")
    (tmp_path / "c" / ".gitignore").mkdir(parents=True)
    (tmp_path / "c" / ".gitignore" / "b").touch()
    assert {".gitignore", "b", "c/.gitignore/b", "list"} <= {*project_files(tmp_path).names}
    assert of_git(tmp_path) == {".gitignore", "b", "c/.gitignore/b", "list"}


def test_what_the_machine_ignores_counts_for_nobody(tmp_path: Path) -> None:
    """Two people's releases of a tree are one release; .git/info/exclude is one person's, too."""
    (tmp_path / ".git" / "info").mkdir(parents=True)
    (tmp_path / ".git" / "info" / "exclude").write_text("a\n")
    (tmp_path / "a").touch()
    assert project_files(tmp_path).names == ["a"]


def test_the_lists_above_a_project_count_where_they_are_of_its_repository(tmp_path: Path) -> None:
    """As git has it; the project's own folder goes whatever they say, since a setting names it."""
    project = tmp_path / "sites" / "shop"
    (project / "logs").mkdir(parents=True)
    for name in ("manage.py", "a.tmp", "logs/today"):
        (project / name).touch()
    (tmp_path / ".gitignore").write_text("*.tmp\n/sites/shop/logs/\nshop/\n")
    assert project_files(project).names == ["a.tmp", "logs", "logs/today", "manage.py"]
    (tmp_path / ".git").mkdir()
    assert project_files(project).names == ["manage.py"]
    (project / ".gitignore").write_text("!a.tmp")
    assert project_files(project).names == [".gitignore", "a.tmp", "manage.py"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("dist/", None),
        ("*.py[cod]", None),
        (r"\#a", None),
        ("# a comment", "names nothing"),
        ("", "names nothing"),
        ("/", "names nothing"),
        ("!", "names nothing"),
        ("[a", "has a bracket or a backslash without its end"),
        ("a*\\", "has a bracket or a backslash without its end"),
    ],
)
def test_a_line_that_matches_nothing_is_said(line: str, says: str | None) -> None:
    """Where somebody has written it as a setting; git says nothing of it."""
    assert problem(line) == says


def test_the_last_line_that_matches_decides() -> None:
    """Whether it is a name, an ending, or anything else."""
    patterns = Patterns.of_setting(["*.log", "!keep.log", "k??p.log", "/ü.log"])

    def last(path: str) -> str | None:
        name = as_bytes(path.rpartition("/")[2])
        found = patterns.last(as_bytes(path), name, is_folder=False)
        return found and found.glob

    assert [last(path) for path in ("a/b.log", "keep.log", "k.log", "b.txt")] == ["*.log", "k??p.log", "*.log", None]
    assert last("ü.log") == as_bytes("ü.log")
