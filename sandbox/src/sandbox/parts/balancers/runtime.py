"""What a running HAProxy is asked over its sockets, and what it says of its members."""

import socket
from pathlib import Path

from sandbox.model.realiser import RealiserError
from sandbox.parts.balancers.configuration import CHECKED
from sandbox.world.waiting import until

_TIMEOUT = 10.0  # seconds
PATIENCE = 5.0  # seconds for a process that has just begun, or a master that executes itself anew after a change
_UP = {"2", "3"}  # srv_op_state: running, and running but soon to be stopped
_BACKEND, _MEMBER, _STATE = 1, 3, 5  # columns of "show servers state": HAProxy's management.txt


def ask(path: Path, command: str, *, patience: float = 0.0) -> str:
    """Give a command to a worker, or to the master, and return its answer; patience is for one that doesn't listen."""
    answers: list[str] = []

    def missing() -> str | None:
        try:
            answers.append(_exchange(path, command))
        except OSError as error:
            return str(error)
        return None

    until(missing, patience, lambda last: RealiserError(f"HAProxy does not answer `{command}` at {path}: {last}"))
    return answers[0]


def members(worker: Path, *, patience: float = 0.0) -> dict[str, bool]:
    """Return the members that the serving worker looks at, and whether each is healthy."""
    rows = _rows(ask(worker, f"show servers state {CHECKED}", patience=patience))
    return {row[_MEMBER]: row[_STATE] in _UP for row in rows}


def stop_sending(worker: Path, member: str) -> None:
    """Give a member no new connection any more; those that it has go on."""
    for row in _rows(ask(worker, "show servers state")):
        if row[_MEMBER] == member and row[_BACKEND] != CHECKED:
            ask(worker, f"set server {row[_BACKEND]}/{member} state drain")


def end_connections(master: Path, member: str) -> None:
    """End what is left of a member's connections, in all workers."""
    for line in ask(master, "show proc", patience=PATIENCE).splitlines():
        process, kind = [*line.split(), "", ""][:2]
        if kind != "worker":
            continue
        # One by one: of a worker that only ends its connections, HAProxy refuses to end those of a server at once.
        for session in ask(master, f"@!{process} show sess").splitlines():
            if f" srv={member} " in session:
                ask(master, f"@!{process} shutdown session {session.partition(':')[0]}")


def _exchange(path: Path, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_TIMEOUT)
        connection.connect(str(path))
        connection.sendall(f"{command}\n".encode())
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts).decode()


def _rows(text: str) -> list[list[str]]:
    """Return the rows of "show servers state", which begins with its version and the names of its columns."""
    return [line.split() for line in text.splitlines()[2:] if line]
