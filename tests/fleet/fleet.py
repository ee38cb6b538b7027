"""The site of several Droplets, as the tests of this folder change it."""

import shutil
from collections.abc import Callable
from pathlib import Path

from sandbox.machines import machine
from sandbox.machines.machine import Machine
from sandbox.world.world import World
from tests.commands import ROOT
from tests.pulumi_stack import PulumiStack, Settings


class Fleet:
    """The stack "local", whose settings are changed one after the other."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.stack = PulumiStack(world)
        self.settings: dict[str, object] = {}
        self.folder = folder
        self.projects = 0

    def up(self, settings: Settings) -> None:
        """Change settings and deploy."""
        self.settings |= settings
        self.stack.up(settings=self.settings)

    def refused(self, settings: Settings) -> str:
        """Deploy settings that can't work; return what was said. The next update does not have them."""
        done = self.stack.run("up", "--yes", "--skip-preview", settings={**self.settings, **settings}, check=False)
        assert done.returncode != 0, done.stdout
        return " ".join((done.stdout + done.stderr).split())

    def project(self, change: Callable[[Path], object]) -> str:
        """Return a copy of the app with a change."""
        self.projects += 1
        copy = self.folder / f"app-{self.projects}"
        ignored = shutil.ignore_patterns(".venv", "__pycache__", "*.sqlite3")
        shutil.copytree(ROOT / "app", copy, ignore=ignored)
        change(copy)
        return str(copy)

    def machines(self) -> list[Machine]:
        """The machines of the Droplets that the stack has."""
        return [machine.load_machine(self.world, f"d{one}") for one in self.stack.outputs()["droplet_ids"]]

    def serving(self) -> set[str]:
        """The releases that its Droplets serve."""
        return {Path(one.run(["readlink", "/srv/app/current"]).stdout.strip()).name for one in self.machines()}
