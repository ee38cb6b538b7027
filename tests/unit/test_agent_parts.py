"""The release agent's parts by themselves."""

import hashlib
import io
import json
import operator
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.app.app_steps import WatchedArguments
from agent.errors import AgentError
from agent.rollout import unpack
from agent.static import content_type, manifest_names
from protocol.document import DocumentError
from protocol.environment import Environment
from tests.unit.droplet_world import ENVIRONMENT, archive


@pytest.mark.parametrize("env", [{"PORT": 80}, {"TEXT": "a\0b"}, None])
def test_an_environment_that_is_no_text_is_refused(env: object) -> None:
    """Such a value can't be handed to a program."""
    body = json.dumps(ENVIRONMENT | {"env": env}).encode()
    with pytest.raises(DocumentError, match=r"environments/[0-9a-f]+\.json: "):
        Environment.parse(body, f"environments/{hashlib.sha256(body).hexdigest()}.json")


@pytest.mark.parametrize(("name", "target"), [("../outside", ""), ("link", "../../etc"), ("link", "/etc")])
def test_an_archive_that_leaves_its_folder_is_refused(tmp_path: Path, name: str, target: str) -> None:
    """Neither a name nor a link leads out of the release."""
    (tmp_path / "app").mkdir()
    tree = archive({}, links={name: target}) if target else archive({name: "x"})
    with pytest.raises(AgentError, match="without paths that leave it"):
        unpack(io.BytesIO(tree), tmp_path / "app", lambda: None)


def test_an_absolute_name_lands_inside(tmp_path: Path) -> None:
    """The filter takes the slash away."""
    (tmp_path / "app").mkdir()
    unpack(io.BytesIO(archive({"/etc/passwd": "x"})), tmp_path / "app", lambda: None)
    assert (tmp_path / "app" / "etc" / "passwd").read_text() == "x"


def test_the_watchdog_hears_of_each_file(tmp_path: Path) -> None:
    """A large tree on a slow disk takes longer than it waits."""
    (tmp_path / "app").mkdir()
    heard: list[None] = []
    unpack(io.BytesIO(archive({"a": "", "b": "", "c": ""})), tmp_path / "app", lambda: heard.append(None))
    assert len(heard) == 3


def test_a_project_without_manifest_is_told_what_to_set(tmp_path: Path) -> None:
    """The error names the fix."""
    with pytest.raises(AgentError, match="ManifestStaticFilesStorage"):
        manifest_names(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.svg", "image/svg+xml"),
        ("a.woff2", "font/woff2"),
        ("a.png", "image/png"),
        ("a.css.gz", "application/octet-stream"),
        ("LICENSE", "application/octet-stream"),
    ],
)
def test_content_type(name: str, expected: str) -> None:
    """Browsers refuse style sheets and modules of another type."""
    assert expected == content_type(name)


LOOKS: dict[str, Callable[[list[str]], object]] = {
    "str": str, "f-string": lambda words: f"{words}", "join": " ".join, "list": list, "star": lambda words: [*words],
    "!=": lambda words: words != [], "<": lambda words: words < [], "+": lambda words: operator.add(words, []),
    "+ to another": lambda words: operator.add([], words), "*": lambda words: words * 1, "len": len,
    "slice": lambda words: words[1:], "assignment": lambda words: operator.setitem(words, 0, ""),
    "remove": lambda words: words.remove("a"), "append": lambda words: words.append("c"),
    "sorted": sorted, "reversed": reversed,
    "index": lambda words: words.index("a"), "pop": lambda words: words.pop(),
}  # fmt: skip


@pytest.mark.parametrize("look", LOOKS)
def test_however_the_import_reads_its_arguments_it_is_noticed(look: str) -> None:
    """Only the question whether a word is among them can be answered for other steps, too."""
    words = WatchedArguments(["a", "b"])
    assert "a" in words
    assert (words.words, words.read) == ({"a"}, False)
    LOOKS[look](words)
    assert words.read
