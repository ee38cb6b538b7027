"""How many machines fit: systemd in each of them needs inotify instances, of which the kernel gives a user few."""

from pathlib import Path

from sandbox.world.world import World, WorldError

LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
EACH = 6  # root's in one machine, counted in a running one: five of systemd, one of agetty
_WANTED = 1024  # more than the world has addresses for


class NoRoomError(WorldError):
    """One machine more would not boot."""


def make_room(world: World, limit: Path = LIMIT) -> bool:
    """Raise the limit where this machine lets us, and remember what it was; return whether it is high enough."""
    now = int(limit.read_text())
    if now >= _WANTED:
        return True
    try:
        limit.write_text(str(_WANTED))
    except OSError:  # read-only, in a container
        return False
    _kept(world).write_text(str(now))
    return True


def put_back(world: World, limit: Path = LIMIT) -> None:
    """Give this machine its own limit again, if it was raised."""
    if _kept(world).exists():
        limit.write_text(_kept(world).read_text())
        _kept(world).unlink()


def ceiling(limit: Path = LIMIT) -> int:
    """Return how many machines there can be, if nothing else of root's needs an instance."""
    return int(limit.read_text()) // EACH


def check(machines: int, limit: Path = LIMIT) -> None:
    """Raise NoRoomError if there can't be one more than so many machines."""
    if machines >= ceiling(limit):
        raise NoRoomError(
            f"{machines} machines run, and one more would not boot: this machine's fs.inotify.max_user_instances is "
            f"{limit.read_text().strip()}, a machine needs {EACH}; raise it on the host "
            f"(sysctl fs.inotify.max_user_instances={_WANTED}), or delete a Droplet or a cluster"
        )


def _kept(world: World) -> Path:
    return world.run / "max_user_instances"
