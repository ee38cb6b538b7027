"""What goes into a release, by the real engine: what a preview says, what is refused, and what makes another one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from operations.preview import events, report
from sandbox.world.world import World
from tests.commands import ROOT
from tests.pulumi_stack import PulumiStack, Settings


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The sample app in a folder of somebody who works on it."""
    app = tmp_path / "shop"
    shutil.copytree(ROOT / "app", app, ignore=shutil.ignore_patterns(".venv", "__pycache__", "staticfiles"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", app / "env"], check=True)
    for name in (".envs/.production/.django", ".envrc", "logs/today", "web/dist/app.js", "media/1.png"):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text("x\n")
    (app / "latest").symlink_to("logs/today")
    (app / ".gitignore").write_text("logs/\nweb/dist/\nenv/\n")
    return app


@pytest.fixture(scope="module")
def stack(api_world: World) -> PulumiStack:
    """A stack that has nothing in it."""
    return PulumiStack(api_world)


def report_of(stack: PulumiStack, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """What `make preview` says, and the digest of the archive."""
    with monkeypatch.context() as patch:
        patch.setenv("PULUMI_ENABLE_STREAMING_JSON_PREVIEW", "true")
        done = stack.run("preview", "--json", settings=settings, check=False)
    preview = events.read(done.stdout.splitlines())
    digests = [str(change.new["sha256"]) for change in preview.of("Artifact")]
    return report.markdown(preview, with_log=False), "".join(digests)


def test_a_preview_says_what_goes_and_a_log_line_is_no_other_release(
    stack: PulumiStack, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the report and in the engine's own output; what a setting brings back is another release."""
    settings: Settings = {"app.path": str(app)}
    told, digest = report_of(stack, settings, monkeypatch)
    assert (
        "Files:\n```text\n34 files of the app, 0.3 MiB, go into a release\n"
        "left out: secrets: .envrc, .envs/; databases and uploads: media/; ignored by git: env/, logs/, "
        "web/dist/; links to what is left out: latest\n"
        "left out, but built, so the app may need it: web/dist/; name it in app.include if it does\n```\n\n"
    ) in told
    (app / "logs/today").write_text("another line\n")
    (app / ".envrc").write_text("another secret\n")
    assert report_of(stack, settings, monkeypatch)[1] == digest
    plain = stack.run("preview", settings=settings | {"app.include": ["web/dist/"]}).stdout
    assert "35 files of the app, 0.3 MiB, go into a release" in plain
    assert "so the app may need it" not in plain
    assert report_of(stack, settings | {"app.include": ["web/dist/"]}, monkeypatch)[1] != digest


def test_all_that_is_wrong_with_a_tree_is_one_error(stack: PulumiStack, app: Path) -> None:
    """A line for each, with what is wrong with the settings; what is left out is not looked at."""
    for name, target in {"a": "b", "b": "a", "etc": "/etc", "web/dist/out": "../../../../outside"}.items():
        (app / name).symlink_to(target)
    done = stack.run("preview", settings={"app.path": str(app), "web.size": "s-one"}, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in said
    assert "the settings of this stack have 4 problems:" in said
    for line in (
        "app.path: a link must lead to a file or a folder, a leads to b in a ring; remove it, ",
        "app.path: a link must lead to a file or a folder, b leads to a in a ring; remove it, ",
        "app.path: a link must stay inside the app, etc leads to /etc; copy what it leads to, or ",
    ):
        assert line in said
    assert "outside" not in said
