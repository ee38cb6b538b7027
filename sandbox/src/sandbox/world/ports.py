"""Loopback ports of a world's listeners: chosen once when free, then kept."""

import json
import socket

from sandbox.world.locks import exclusive
from sandbox.world.world import World


def known(world: World) -> dict[str, int]:
    """Return all ports by name."""
    path = world.run / "ports.json"
    ports: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    return ports


def reserve(world: World, name: str) -> int:
    """Return the port of this name, chosen among those that are free now if it has none."""
    with exclusive(world.run / "ports.lock"):
        ports = known(world)
        if name not in ports:
            ports[name] = _free(set(ports.values()))
            _write(world, ports)
        return ports[name]


def release(world: World, name: str) -> None:
    """Forget the port of this name."""
    with exclusive(world.run / "ports.lock"):
        ports = known(world)
        if ports.pop(name, None) is not None:
            _write(world, ports)


def _write(world: World, ports: dict[str, int]) -> None:
    part = world.run / "ports.json.part"
    part.write_text(json.dumps(ports, indent=2))
    part.rename(world.run / "ports.json")  # whole or not at all: the proxy reads it at any time


def _free(taken: set[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port
