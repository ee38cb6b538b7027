"""Ends what code of the app has started, whatever that did to get away."""

import contextlib
import os
import signal
import time
from pathlib import Path

GONE_WITHIN = 5  # seconds, after which what is killed must not be there any more


def processes() -> dict[int, tuple[int, int, str]]:
    """Return pid -> parent, session and state, of all processes."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # gone meanwhile
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            found[int(stat.parent.name)] = (int(fields[1]), int(fields[3]), fields[0])
    return found


def members(leader: int) -> set[int]:
    """Return who runs in a leader's session or descends from it, without the leader.

    The leader is a child that nobody has waited for, so that its number can't be another's by now. It is what orphans
    below it are given to (`app_steps.py`), so who left the session is still found as long as the leader lives.
    """
    table = processes()
    found, generation = set(), {leader}
    while generation:
        found |= generation
        generation = {pid for pid, (parent, _, _) in table.items() if parent in generation} - found
    found |= {pid for pid, (_, session, _) in table.items() if session == leader}
    return {pid for pid in found - {leader} if pid in table and table[pid][2] not in "ZX"}


def end_members(leader: int) -> None:
    """Kill all of a leader's session but the leader; return when they are gone."""
    end = time.monotonic() + GONE_WITHIN
    while there := members(leader):
        for pid in there:
            if time.monotonic() > end:
                return  # so many that even to look takes longer than the watchdog waits
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(pid)
                try:
                    # The number may have become another's since; it can't any more, now that it is open.
                    if pid in members(leader):
                        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                finally:
                    os.close(descriptor)
        if time.monotonic() > end:
            break  # in the middle of a system call that does not end: it goes as soon as that does
        time.sleep(0.01)
