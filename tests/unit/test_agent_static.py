"""Where a release's static files may be, and how they get to visitors."""

import re
from pathlib import Path

import pytest

from agent import static
from agent.errors import AgentError


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The folder of a release, before its static files are collected."""
    for name in ("app/mysite", "app/collected", "venv", "static"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "app/manage.py").touch()
    return tmp_path


def test_a_folder_of_the_projects_own_is_linked_to(release: Path) -> None:
    """Also when the attempt is made again."""
    for _ in range(2):
        static.serve(release / "app/collected", release)
    assert (release / "static").readlink() == release / "app/collected"


@pytest.mark.parametrize("root", ["", "app", "app/..", "app/link", "app/copy"])
def test_the_source_is_not_published(release: Path, root: str) -> None:
    """Nginx would show visitors whatever is in STATIC_ROOT: the project, and the settings beside it."""
    (release / "app/link").symlink_to(release / "app")
    (release / "app/copy").mkdir()
    (release / "app/copy/manage.py").touch()
    rule = (
        "STATIC_ROOT: must be a folder for static files alone, got .*, which has the project's source, too; set it to"
    )
    with pytest.raises(AgentError, match=rule):
        static.serve(release / root, release)
    assert not (release / "static").is_symlink()


def test_a_folder_that_is_needed_for_a_link_must_be_empty(release: Path) -> None:
    """The error says which, what is in it, and what to do."""
    (release / "static/site.css").touch()
    root = release / "app/collected"
    rule = f"{release}/static: must be empty, because STATIC_ROOT is {root}, has site.css; set STATIC_ROOT to "
    with pytest.raises(AgentError, match=re.escape(rule)):
        static.serve(root, release)
    assert (release / "static/site.css").exists()
