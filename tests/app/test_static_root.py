"""Files that came to STATIC_ROOT with a release."""

import os
from pathlib import Path

from agent import static
from tests.django_project import Project


def test_an_old_static_file_of_the_archive_is_replaced(tmp_path: Path, python: Path) -> None:
    """What an earlier collectstatic left on somebody's machine; a file that it has no source for stays."""
    project = Project(tmp_path / "app", python)
    collected = project.folder / "collected"
    for name, text in {"site.css": "old", "built.js": "of a build"}.items():
        collected.mkdir(exist_ok=True)
        (collected / name).write_text(text)
    # As they are unpacked: the archive has no times.
    for path in project.folder.rglob("*"):
        os.utime(path, (0, 0), follow_symlinks=False)
    command = ("collectstatic", "--noinput", "--verbosity", "0")
    with project.steps() as app:
        app.manage(*command)
        assert (collected / "site.css").read_text() == "old"  # the control
        static.age(collected, tmp_path)
        app.manage(*command)
    assert (collected / "site.css").read_text() == "body {}\n"
    assert (collected / "built.js").read_text() == "of a build"
