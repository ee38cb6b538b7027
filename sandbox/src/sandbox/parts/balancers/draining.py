"""Members that were taken away: they get nothing new, and after a minute what is left of their connections ends."""

import json
import threading
import time
from pathlib import Path

from sandbox.parts.balancers import runtime

SECONDS = 60.0


def read(file: Path) -> dict[str, float]:
    """Return the members that may still have connections, and until when (seconds of the epoch)."""
    found: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    return found


class Draining:
    """The members of one balancer that drain, in a file, so that a restart of the API goes on with them."""

    def __init__(self, file: Path, master: Path) -> None:
        self._file = file
        self._master = master
        self._timers: dict[str, threading.Timer] = {}
        self._lock = threading.Lock()

    def change(self, gone: set[str], present: set[str]) -> None:
        """Begin with those that are gone, and forget those that are members again."""
        with self._lock:
            kept = {member: then for member, then in read(self._file).items() if member not in present}
            self._write(kept | dict.fromkeys(gone, time.time() + SECONDS))
            for member in self._timers.keys() & present:
                self._timers.pop(member).cancel()
            for member, then in read(self._file).items():
                if member not in self._timers:
                    timer = threading.Timer(max(0.0, then - time.time()), self._end, (member,))
                    timer.daemon = True  # else the API could not end before
                    self._timers[member] = timer
                    timer.start()

    def stop(self) -> None:
        """Forget all: the balancer is gone."""
        with self._lock:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    def _end(self, member: str) -> None:
        with self._lock:
            if self._timers.pop(member, None) is None:
                return  # it is a member again, or the balancer is gone
            self._write({other: then for other, then in read(self._file).items() if other != member})
        runtime.end_connections(self._master, member)

    def _write(self, draining: dict[str, float]) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(draining))
        part.rename(self._file)
