"""Which release serves: a link, and Gunicorn behind its socket."""

from pathlib import Path

from agent.errors import AgentError
from agent.machine import Machine


def link(name: Path, folder: Path) -> None:
    """Point a link at a folder in one step."""
    new = name.with_name(f"{name.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(folder)
    new.replace(name)


def serve(machine: Machine, release: str) -> None:
    """Point `current` at a release in one step, and restart Gunicorn behind its socket."""
    link(machine.current, machine.releases / release)
    # An earlier failure must not stop this start.
    machine.systemctl("reset-failed", "gunicorn.socket", "gunicorn.service")
    machine.systemctl("start", "gunicorn.socket")
    try:
        machine.systemctl("restart", "gunicorn.service")
    except AgentError as error:
        raise AgentError(f"{error}\n{machine.journal()}") from error


def serving(machine: Machine) -> str:
    """Return the release that is switched on, "" if none is."""
    return machine.current.readlink().name if machine.current.is_symlink() else ""
