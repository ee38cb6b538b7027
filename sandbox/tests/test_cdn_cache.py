"""What a CDN keeps is forgotten by path, whatever query and Origin it was kept with."""

from pathlib import Path

import pytest

from sandbox.parts.front import cache

ENTRIES = {
    "a/1c/one": "mine /index.html ",
    "a/1c/two": "mine /index.html?v=2 https://polls.example",
    "b/2d/three": "mine /css/a%20b.css ",
    "b/2d/four": "mine /css/deep/c.css ",
    "c/3e/five": "other /index.html ",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files as nginx has them: binary, then the key in a line of its own, then the answer."""
    for name, key in ENTRIES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"\x05\x00\x00\xff" * 80 + f"\nKEY: {key}\nHTTP/1.1 200 OK\r\n\r\nbody".encode())
    return tmp_path


@pytest.mark.parametrize(
    ("files", "gone"),
    [
        (["index.html"], {"one", "two"}),
        (["/index.html"], {"one", "two"}),
        (["css/*"], {"three", "four"}),
        (["css/a b.css", "css/deep/*"], {"three", "four"}),
        (["*"], {"one", "two", "three", "four"}),
        (["css", "index.htm"], set()),
    ],
)
def test_entries_go_by_path(folder: Path, files: list[str], gone: set[str]) -> None:
    """Those of another endpoint stay."""
    cache.purge(folder, "mine", files)
    left = {path.name for path in folder.glob("*/*/*")}
    assert left == {Path(name).name for name in ENTRIES} - gone


def test_nothing_is_kept_yet(tmp_path: Path) -> None:
    """A CDN that nobody asked has no folder."""
    cache.purge(tmp_path / "cache", "mine", ["*"])
