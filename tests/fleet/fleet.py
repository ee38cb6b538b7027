"""The site of several Droplets, as the tests of this folder change it."""

import contextlib
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from sandbox.machines import machine
from sandbox.machines.machine import Machine
from sandbox.model.store import Store
from sandbox.parts.balancers import balancers
from sandbox.world.world import World
from tests.commands import ROOT
from tests.pulumi_stack import PulumiStack, Settings

BALANCED: Settings = {"web.loadBalancer": True, "dnsPatience": 0}  # nobody is asking yet, so nobody has an old record


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

    def serving(self, *machines: Machine) -> set[str]:
        """The releases that these Droplets serve, or all that the stack has."""
        found = [one.run(["readlink", "/srv/app/current"]).stdout.strip() for one in machines or self.machines()]
        return {Path(one).name for one in found}


@contextlib.contextmanager
def members(world: World) -> Iterator[Counter[str]]:
    """Ask once a second, while the block runs, how healthy the balancer finds each member."""
    [balancer] = Store(world.database, read_only=True).list("load_balancer")
    found, ended = Counter[str](), threading.Event()

    def look() -> None:
        while not ended.wait(1):
            found.update(balancers.health(world, balancer.id).values())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        ended.set()
        looking.join()
