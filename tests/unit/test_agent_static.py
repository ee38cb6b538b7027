"""Where a release's static files may be, and how they get to visitors."""

import io
import json
import re
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import pytest

from agent import static
from agent.errors import AgentError
from tests.unit.droplet_world import CONFIG, FakeSpaces


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


@pytest.mark.parametrize(
    "name", ["../manage.py", "css/../../manage.py", "/etc/passwd", "./site.css", "a//b.css", "css/", "", None, 7]
)
def test_a_name_that_leads_out_of_static_root_is_refused(release: Path, name: object) -> None:
    """It would publish another file, or one under a key outside `static/`; nothing is uploaded."""
    (release / "static/staticfiles.json").write_text(json.dumps({"paths": {"a.css": "a.0123.css", "b.css": name}}))
    (release / "static/a.0123.css").touch()
    spaces = FakeSpaces()
    rule = f"STATIC_ROOT/staticfiles.json: must name files below STATIC_ROOT, names {json.dumps(name)}; "
    with pytest.raises(AgentError, match=re.escape(rule)):
        static.publish(release / "static", CONFIG, lambda: spaces)  # type: ignore[arg-type, return-value]
    assert spaces.objects == {}


def test_uploads_take_little_memory(tmp_path: Path) -> None:
    """However large the files are: several are sent at once, on a Droplet that serves visitors meanwhile."""
    names = {f"{number}.mp4": f"{number}.0123.mp4" for number in range(4)}
    (tmp_path / "staticfiles.json").write_text(json.dumps({"paths": names}))
    for name in names.values():
        with (tmp_path / name).open("wb") as file:
            file.truncate(16 * 2**20)
    sent: dict[str, int] = {}

    class Client(FakeSpaces):
        def put(self, _bucket: str, key: str, content: bytes | IO[bytes], _headers: Mapping[str, str]) -> None:
            file = io.BytesIO(content) if isinstance(content, bytes) else content
            sent[key] = sum(len(piece) for piece in iter(lambda: file.read(2**16), b""))

    tracemalloc.start()
    try:
        static.publish(tmp_path, CONFIG, Client)  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sent == {f"static/{name}": 16 * 2**20 for name in names.values()}
    assert peak < 8 * 2**20
