import re
import shutil
from pathlib import Path

import pulumi
import pytest

from config import state_folder
from config.state_folder import require_room
from config.state_folder import state_folder as folder_of


def test_a_state_in_a_folder_needs_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message, before anything is made: which disk, how much, what to do."""
    backend = {"PULUMI_BACKEND_URL": f"file://{tmp_path}"}
    require_room(backend)
    monkeypatch.setattr(state_folder, "ROOM", shutil.disk_usage(tmp_path).total + (1 << 20))
    with pytest.raises(
        pulumi.RunError, match=rf"state: must have \d+ MiB free on the disk of {tmp_path}, has [\d.]+; "
    ):
        require_room(backend)


@pytest.mark.parametrize("backend", ["https://api.pulumi.com", "s3://state?endpoint=nyc3.digitaloceanspaces.com"])
def test_other_backends_need_none_here(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their disk is not this machine's."""
    monkeypatch.setattr(state_folder, "ROOM", 1 << 62)
    require_room({"PULUMI_BACKEND_URL": backend})


def test_the_folder_is_the_one_that_pulumi_is_logged_in_to(tmp_path: Path) -> None:
    """By the environment, or by `pulumi login`."""
    home = {"PULUMI_HOME": str(tmp_path)}
    assert folder_of(home) is None
    (tmp_path / "credentials.json").write_text('{"current": "file://~"}')
    assert folder_of(home) == Path.home()
    assert folder_of(home | {"PULUMI_BACKEND_URL": "file:///srv/state"}) == Path("/srv/state")


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b'{"cur', r": must be JSON, is not \(Unterminated string .*\)"),
        (b"\xff", r": must be JSON, is not \('utf-8' codec .*\)"),
        (b"[]", r": must be an object, got \[\]"),
        (b'{"current": null}', ": current: must be a URL, got null"),
    ],
)
def test_a_login_that_can_not_be_read_is_one_error(tmp_path: Path, content: bytes, rule: str) -> None:
    """With the file, and what to do; the environment's backend needs no login."""
    file = tmp_path / "credentials.json"
    file.write_bytes(content)
    home = {"PULUMI_HOME": str(tmp_path)}
    fix = "; move it away, then `pulumi login` again"
    with pytest.raises(pulumi.RunError, match=f"^{re.escape(str(file))}{rule}{fix}$"):
        require_room(home)
    require_room(home | {"PULUMI_BACKEND_URL": f"file://{tmp_path}"})
