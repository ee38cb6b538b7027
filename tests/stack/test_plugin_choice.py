"""Tests run on the sandbox's own provider plugin, whatever the machine has installed."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from sandbox.world.world import World
from tests.commands import run
from tests.pulumi_stack import PulumiStack

PLUGIN = """\
#!/bin/sh
echo "$0" >>"$(dirname "$0")/started"
echo "this plugin refuses to start" >&2
exit 1
"""


@dataclass(frozen=True, slots=True)
class Refusing:
    """A plugin of the official one's name and version, installed where the engine looks, that only notes its starts."""

    folder: Path

    @property
    def starts(self) -> int:
        """How often the engine has started it."""
        started = self.folder / "started"
        return len(started.read_text().splitlines()) if started.exists() else 0


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Refusing]:
    """It is in a PULUMI_HOME of its own."""
    with tempfile.TemporaryDirectory(prefix="pulumi-") as home:
        folder = Path(home, "plugins", f"resource-digitalocean-v{version('pulumi-digitalocean')}")
        folder.mkdir(parents=True)
        executable = folder / "pulumi-resource-digitalocean"
        executable.write_text(PLUGIN)
        executable.chmod(0o755)
        folder.with_name(f"{folder.name}.lock").touch()  # as an installation leaves it
        monkeypatch.setenv("PULUMI_HOME", home)
        yield Refusing(folder)


def test_no_test_uses_the_official_plugin_unasked(api_world: World, refusing: Refusing) -> None:
    """With one that can't start in its place, a stack lives and dies in the tests' own way."""
    stack = PulumiStack(api_world)
    assert stack.up() != []
    stack.run("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    stack.run("destroy", "--yes", "--skip-preview")
    assert refusing.starts == 0


@pytest.mark.parametrize("choice", ["official", "auto", ""])
def test_the_official_plugin_is_used_where_it_is_asked_for(
    api_world: World, refusing: Refusing, monkeypatch: pytest.MonkeyPatch, choice: str
) -> None:
    """By its name, and where nothing is named: so the engine would have found it."""
    monkeypatch.setenv("SANDBOX_PLUGIN", choice)
    done = PulumiStack(api_world).run("preview", check=False)
    assert done.returncode != 0
    assert "this plugin refuses to start" in done.stdout + done.stderr
    assert refusing.starts > 0


def test_the_choice_is_said(refusing: Refusing, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, with its reason."""
    said = {}
    for choice in ("own", "official", "auto"):
        monkeypatch.setenv("SANDBOX_PLUGIN", choice)
        said[choice] = run("sandbox", "plugin", home=refusing.folder).stdout
    official = f"provider plugin: the official {version('pulumi-digitalocean')}, "
    assert said == {
        "own": "provider plugin: the sandbox's own, chosen by SANDBOX_PLUGIN\n",
        "official": f"{official}chosen by SANDBOX_PLUGIN\n",
        "auto": f"{official}since it is installed (SANDBOX_PLUGIN=own is faster)\n",
    }
