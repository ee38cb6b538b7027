"""Every refusal of the program is one error: Pulumi prints a RunError, and the traceback of anything else."""

import ast
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest

from config import state_folder
from provider import resources
from provider.uploads.project_files import MAX_BYTES
from sizing.plans import USER_DATA_LIMIT
from tests.components.recording import ROOT, run_program

Settings = dict[str, Any]


@pytest.fixture
def app(project: Path) -> Iterator[Path]:
    """The project of the settings, as it was before in the end."""
    before = {*project.iterdir()}
    yield project
    for file in {*project.iterdir()} - before:
        file.unlink()


def wrong_setting(settings: Settings, _app: Path) -> None:
    """A plan that is none."""
    settings["web"] = {"size": "s-one"}


def leads_outside(_settings: Settings, app: Path) -> None:
    """A link in the app to what is not in it."""
    (app / "passwords").symlink_to("/etc/passwd")


def fifo(_settings: Settings, app: Path) -> None:
    """What is not a file."""
    os.mkfifo(app / "socket")


def large(_settings: Settings, app: Path) -> None:
    """More than a release may have."""
    with (app / "backup.tar").open("wb") as file:
        file.truncate(MAX_BYTES + 1)


def no_variable(settings: Settings, _app: Path) -> None:
    """A value that no process can have, which is known when the environment's document is made."""
    settings["app"] |= {"env": {"TOKEN": "a\0b"}}


def much_user_data(settings: Settings, _app: Path) -> None:
    """More than DigitalOcean takes, which is known when user data is rendered."""
    settings["web"] |= {"packages": [f"package-{number:05}" for number in range(USER_DATA_LIMIT // 14)]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (wrong_setting, "web.size: must be a Droplet size"),
        (leads_outside, "app.path: a link must stay inside the app"),
        (fifo, "app.path: must hold files, folders and links only"),
        (large, "app.path: must be at most 256 MiB"),
        (no_variable, "environment.env.TOKEN: must not hold a NUL character"),
        (much_user_data, "user_data: must be at most"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_refusal_is_a_run_error(
    settings: Settings, app: Path, change: Callable[[Settings, Path], None], message: str
) -> None:
    """Wherever it is found out: in the settings, in a constructor, or when a value becomes known."""
    changed = {key: dict(value) if isinstance(value, dict) else value for key, value in settings.items()}
    change(changed, app)
    with pytest.raises(pulumi.RunError) as caught:
        run_program(changed)
    assert message in str(caught.value)


def test_a_file_that_can_not_be_read_is_a_run_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name; root can read all of them, so that the answer of the system is made up here."""

    def digest(_members: object) -> str:
        raise PermissionError(13, "Permission denied", "app/secret.key")

    monkeypatch.setattr(resources, "digest", digest)
    with pytest.raises(pulumi.RunError, match=r"app\.path: must be readable, app/secret\.key is not \(Permission"):
        run_program(settings)


def test_a_full_disk_is_a_run_error(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the settings are read."""
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}")
    monkeypatch.setattr(state_folder, "ROOM", 1 << 62)
    with pytest.raises(pulumi.RunError, match="state: must have"):
        run_program(settings)


def test_what_may_go_wrong_is_a_warning(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not certain refuses nothing; what may be meant otherwise is no warning."""
    for file in ("manage.py", "shop/__init__.py", "shop/settings.py", "shop/wsgi.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "requirements.txt").write_text("django\nour-platform\npsycopg[binary]\n")
    (tmp_path / ".python-version").write_text("3.12\n")
    said: list[tuple[str, str]] = []
    for severity in ("warn", "info"):
        monkeypatch.setattr(pulumi.log, severity, lambda text, severity=severity: said.append((severity, text)))
    app = {"path": str(tmp_path), "settings": "shop.settings", "wsgi": "shop.wsgi:application"}
    assert "artifact" in run_program(settings | {"app": app})
    assert [(severity, text.partition(":")[0]) for severity, text in said] == [
        ("warn", "app.path"),
        ("info", "app.python"),
    ]


def test_a_project_with_a_src_layout_is_taken(settings: Settings, tmp_path: Path) -> None:
    """Where its modules are can't be seen from outside: nothing refuses them that is not a package beside manage.py."""
    for file in ("manage.py", "src/shop/settings.py", "src/shop/wsgi.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "requirements.txt").write_text("-e .\ndjango\ngunicorn\npsycopg[binary]\n")
    app = {"path": str(tmp_path), "settings": "shop.settings", "wsgi": "shop.wsgi:application"}
    assert "artifact" in run_program(settings | {"app": app})


# What the program's own process may raise beside a RunError, and who makes something else of it.
CAUGHT = {
    "wrong": "pydantic, which collects the problems of all settings",
    "UnknownPlanError": "config/database.py and config/web.py, whose settings the plans are",
}


def test_whatever_the_program_raises_is_a_run_error() -> None:
    """Read from its syntax tree: classes that are neither derived from RunError nor caught have no place there."""
    folders = ("components", "config", "contract", "sizing")
    trees = {path: ast.parse(path.read_text()) for folder in folders for path in (ROOT / folder).rglob("*.py")}
    trees[ROOT / "provider/resources.py"] = ast.parse((ROOT / "provider/resources.py").read_text())
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    errors = {node.name for node in classes if "pulumi.RunError" in map(ast.unparse, node.bases)}
    raised = {
        (path.relative_to(ROOT).as_posix(), ast.unparse(node.exc.func if isinstance(node.exc, ast.Call) else node.exc))
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and node.exc is not None
    }
    assert len(raised) > 10
    allowed = {"pulumi.RunError", *errors, *CAUGHT}
    assert {(path, name) for path, name in raised if name not in allowed} == set()
    assert {name for _, name in raised} & CAUGHT.keys() == CAUGHT.keys()
