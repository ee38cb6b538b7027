"""Where a release's static files may be, and how they get to visitors."""

import io
import json
import os
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


def files_of(folder: Path) -> dict[str, float]:
    """The times of a folder's files."""
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def unpacked(release: Path) -> Path:
    """A release whose archive has brought static files: no times in it."""
    for name in ("app/mysite/site.css", "app/collected/site.css", "app/collected/js/built.js"):
        (release / name).parent.mkdir(exist_ok=True)
        (release / name).touch()
        os.utime(release / name, (0, 0))
    return release


@pytest.mark.parametrize("root", ["app/collected", "app/link", "app/mysite/../collected"])
def test_what_the_archive_brought_to_static_root_is_older_than_its_source(unpacked: Path, root: str) -> None:
    """By whole seconds, which is what collectstatic compares; nothing is deleted."""
    (unpacked / "app/link").symlink_to("collected")
    static.age(unpacked / root, unpacked)
    times = files_of(unpacked / "app")
    assert times.pop("mysite/site.css") == 0
    assert times.pop("manage.py") > 0
    assert {name: time < 0 for name, time in times.items()} == {
        "collected/site.css": True,
        "collected/js/built.js": True,
    }


def test_a_folder_elsewhere_is_not_even_looked_for(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user of a release may not: the error would be Python's, without a word of STATIC_ROOT."""

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refuse)
    static.age(Path("/home/shop/static"), unpacked)
    with pytest.raises(PermissionError):
        static.age(unpacked / "app/collected", unpacked)


def test_times_elsewhere_stay(unpacked: Path, tmp_path: Path) -> None:
    """Of another folder, of what a link leads to, of one that is not there; and of a project without STATIC_ROOT."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.css").touch()
    (unpacked / "app/collected/a.css").symlink_to(other / "a.css")
    before = files_of(tmp_path) | {"app/collected/a.css": (other / "a.css").stat().st_mtime}
    for root in (Path("None"), Path("app/collected"), other, unpacked / "app/missing", unpacked / "static"):
        static.age(root, unpacked)
    assert files_of(tmp_path) == before
    static.age(unpacked / "app/collected", unpacked)
    assert files_of(other) == {"a.css": before["other/a.css"]}
