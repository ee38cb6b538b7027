"""What `sandbox env` prints: the environment of `sandbox exec` for a shell that stays outside."""

import shlex
from collections.abc import Mapping

from sandbox.client import environment
from sandbox.world.world import World

# The folder of Pulumi's plugins: a shell's is its own, also where this runs in a container.
_OWN = "PULUMI_HOME"


def changes(world: World, base: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables that a client needs otherwise than they are: a value, or None for one that must go."""
    wanted = environment.clients(world, base) | environment.proxies(world)
    wanted = {name: value for name, value in wanted.items() if name != _OWN}
    changed: dict[str, str | None] = {name: value for name, value in wanted.items() if base.get(name) != value}
    return changed | {name: None for name in base if name not in wanted and name != _OWN}


def lines(changed: Mapping[str, str | None]) -> list[str]:
    """Write them for a POSIX shell's eval."""
    return [
        f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"
        for name, value in sorted(changed.items())
    ]
