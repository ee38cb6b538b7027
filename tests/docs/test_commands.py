"""What the documentation tells people to type works: run here, run by another test, or marked as needing a cloud."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.model.store import Store
from sandbox.world import world as worlds
from sandbox.world.world import World
from tests.commands import CACHE, PATH, ROOT, run
from tests.docs.blocks import KINDS, OTHER_LANGUAGES, Block, blocks, pages

SHELL = [block for block in blocks() if block.language == "sh"]
# Where the commands of `sh tested` are run, by the same words.
TESTED = {
    "make up": "tests/teardown/test_teardown.py",
    "make down": "tests/docs/test_commands.py",  # test_make_down_and_preview
    "make preview": "sandbox/tests/test_bad_input.py",
    "make test": ".ci/run",
    "make check": "scripts/test",
    "make prove": "tests/docs/test_proofs.py",
    "make secrets-check": "tests/stack/test_secrets_check.py",
    "make help": "tests/docs/test_commands.py",
    "make setup": "sandbox/tests/test_bad_input.py",
    "scripts/setup": "sandbox/tests/test_bad_input.py",
    "sandbox up --depth api": "tests/worlds.py",
    "sandbox up": "tests/broken/test_broken_world.py",
    "sandbox down": "tests/worlds.py",
    "sandbox status": "sandbox/tests/test_world_cli.py",
    "sandbox logs": "sandbox/tests/test_world_cli.py",
    "sandbox path": "sandbox/tests/test_world_cli.py",
    "sandbox switch": "sandbox/tests/test_world_cli.py",
    "sandbox exec": "tests/worlds.py",
    "sandbox plugin": "tests/stack/test_plugin_choice.py",
    "sandbox env": "sandbox/tests/test_alone.py",
    'eval "$(sandbox env)"': "sandbox/tests/test_alone.py",
    "pip install ./sandbox": "sandbox/tests/test_alone.py",
    "curl --header": "sandbox/tests/test_alone.py",
    "sandbox browser": "sandbox/tests/test_bad_input.py",
    "scripts/stack local": "tests/pulumi_stack.py",
    ".venv/bin/pytest": "scripts/test",
    "UPDATE_GOLDEN=1 .venv/bin/pytest tests/golden": "tests/golden/test_user_data.py",
    "benchmarks/run": "Makefile",
    "uv run python manage.py": "tests/app/test_app.py",
    "export DJANGO_DEBUG=1": "tests/app/test_app.py",
}


def test_every_block_says_what_it_is() -> None:
    """A language, and for the shell who runs it; drawings are `text`."""
    odd = [str(block) for block in blocks() if block.language not in {"sh", *OTHER_LANGUAGES}]
    assert odd == []
    assert [str(block) for block in SHELL if block.kind not in KINDS] == []
    assert len([block for block in SHELL if block.kind == "api"]) >= 8


@pytest.mark.parametrize("block", [block for block in SHELL if block.kind == "tested"], ids=str)
def test_commands_that_others_run_are_known(block: Block) -> None:
    """Each begins with words that a test runs, and that test still has them."""
    for command in block.commands:
        known = [words for words in TESTED if command == words or command.startswith(f"{words} ")]
        assert known, command
        place = ROOT / TESTED[max(known, key=len)]
        program = max(known, key=len).removeprefix("export ").split()[0].split("=")[0].rpartition("/")[2]
        assert program in place.read_text(), f"{command}: {place} does not run {program}"


@pytest.mark.parametrize("block", [block for block in SHELL if block.kind == "cloud"], ids=str)
def test_commands_for_the_cloud_are_at_least_shell(block: Block) -> None:
    """Placeholders are words, so that nobody's shell takes them for redirections."""
    done = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """A copy of the tree, as a user has it after `scripts/setup`, whose settings may be changed."""
    folder = Path(tempfile.mkdtemp(prefix="checkout-"))
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def own_world() -> Iterator[World]:
    """A world of depth "api" for one reader."""
    home = Path(tempfile.mkdtemp(prefix="world-"))
    run("sandbox", "up", "--depth", "api", home=home)
    yield worlds.load(home)
    run("sandbox", "down", home=home)
    shutil.rmtree(home, ignore_errors=True)


# What asks a person is told yes.
NOBODY_ANSWERS = """
pulumi() {
    case "$*" in
    *--preview-only*) command pulumi "$@" ;;
    up\\ * | refresh\\ * | destroy\\ *) command pulumi "$@" --yes --skip-preview ;;
    *) command pulumi "$@" ;;
    esac
}
"""


def test_the_runbook_from_the_first_deploy_to_the_last_destroy(checkout: Path, own_world: World) -> None:
    """Its blocks one after the other, in one shell as a person has it; in the end nothing is left in the account."""
    page = ROOT / "docs" / "runbook.md"
    assert {block.page for block in SHELL if block.kind == "api"} == {page}
    script = NOBODY_ANSWERS + "\n".join(block.text for block in SHELL if block.kind == "api")
    done = subprocess.run(
        ["sandbox", "exec", "bash", "-xeuo", "pipefail", "-c", script],
        cwd=checkout,
        env=os.environ | {"PATH": PATH, "SANDBOX_HOME": str(own_world.home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    left = [item.kind for item in Store(own_world.database, read_only=True).all() if item.kind != "project"]
    assert left == []


def test_links_lead_somewhere() -> None:
    """Relative links, of every page."""
    links = [(page, target) for page in pages() for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())]
    local = [(page, target) for page, target in links if "://" not in target]
    assert len(local) > 20
    assert [f"{page.name}: {target}" for page, target in local if not (page.parent / target).exists()] == []


def test_make_help_names_every_target() -> None:
    """With what it does."""
    shown = run("make", "--no-print-directory", "help", home=CACHE).stdout
    targets = re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [line.split()[1] for line in shown.splitlines()] == targets
    assert all(len(line.split()) > 3 for line in shown.splitlines())


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "scripts").iterdir() if not path.suffix))
def test_scripts_explain_themselves_and_refuse_nonsense(script: str) -> None:
    """`--help` ends well and begins with "usage"; an unknown option does nothing but say so."""
    helped = run(f"scripts/{script}", "--help", home=CACHE, timeout=20)
    assert helped.stdout.startswith("usage: scripts/")
    refused = run(f"scripts/{script}", "--nonsense", home=CACHE, check=False, timeout=20)
    assert refused.returncode == 2
    assert "--nonsense" in refused.stderr or "usage:" in refused.stderr


def test_make_down_and_preview(tmp_path: Path) -> None:
    """`make down` without a world is fine."""
    done = run("make", "down", home=tmp_path / "none")
    assert "no world here, nothing to do" in done.stdout
