"""One process in the app's Python: asked for one step after the other, and ended with all that it started."""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agent.app.sessions import end_members

PROGRAM = Path(__file__).with_name("app_steps.py")
PULSE = 5  # seconds between two calls of `tick`
GRACE = 2  # seconds in which what a step left running may still print
ENDING = 5  # seconds for the end of a process that has nothing to do any more
KEPT = 256 * 1024  # bytes of a program's output
LARGEST_MESSAGE = 65536  # bytes; more is nothing that app_steps.py says


class Popen(Protocol):
    """Starts a program as the user `release`, in a session and a clean environment of its own: Machine.popen."""

    def __call__(
        self,
        command: list[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        **options: Any,  # noqa: ANN401 - subprocess.Popen's
    ) -> subprocess.Popen[bytes]:
        """Return the running program."""


class Tail:
    """The end of an output, however long that is."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._cut = False

    def add(self, data: bytes) -> None:
        """Take some more."""
        self._kept += data
        if len(self._kept) > 2 * KEPT:
            del self._kept[:-KEPT]
            self._cut = True

    def text(self) -> str:
        """Return whole lines: a part of one may hold a part of a secret, which nobody would recognise."""
        if not self._cut:
            return self._kept.decode(errors="replace")
        _, newline, lines = self._kept.partition(b"\n")
        return lines.decode(errors="replace") if newline else f"(one line of more than {KEPT} bytes)"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a request ended. Without a reply the process has ended: by itself with `status`, or because it was `late`."""

    reply: dict[str, Any] | None
    status: int
    late: bool
    output: str
    answer: bytes


class AppProcess:
    """A process of app_steps.py."""

    def __init__(
        self, popen: Popen, python: Path, directory: Path, environment: Mapping[str, str], tick: Callable[[], None]
    ) -> None:
        self._tick = tick
        self._ticked = time.monotonic()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as here, contextlib.ExitStack() as failed:
            here.enter_context(theirs)
            failed.enter_context(self._control)
            # What it prints itself: at its start, and while it imports the app.
            first, output = os.pipe()
            here.callback(os.close, output)
            failed.callback(os.close, first)
            self._process = popen(
                [str(python), str(PROGRAM), str(theirs.fileno())],
                directory=directory,
                environment=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
            )
            self._outputs = [first]
            self._ended = os.pidfd_open(self._process.pid)
            failed.pop_all()

    def ask(self, request: Mapping[str, object], seconds: float) -> Outcome:
        """Ask for a step, or for the import; return how it ended, at the latest after so many seconds."""
        answer, answered = os.pipe()
        sent = [answered]
        passed: list[int] = []
        if request["step"] != "import":
            output, printed = os.pipe()
            self._outputs.append(output)
            sent.append(printed)
            passed = [printed, answered]
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended, which is seen below
                socket.send_fds(self._control, [json.dumps(request).encode()], passed)
        finally:
            for descriptor in sent:
                os.close(descriptor)
        try:
            return self._collect(answer, time.monotonic() + seconds)
        finally:
            os.close(answer)
            self._close_outputs()

    def end(self, within: float = ENDING) -> None:
        """Let it end in its own way, for some seconds; then end what is left of its session."""
        self._status(within)
        self._close_outputs()

    def _status(self, within: float) -> int:
        """End it; return its status. What it has printed can still be read."""
        if self._process.returncode is None:
            self._control.close()
            with selectors.DefaultSelector() as selector:
                selector.register(self._ended, selectors.EVENT_READ)
                self._select(selector, time.monotonic() + within)
            # It adopts the orphans, so it goes last; stopped, it starts nothing new.
            signal.pidfd_send_signal(self._ended, signal.SIGSTOP)
            end_members(self._process.pid)
            signal.pidfd_send_signal(self._ended, signal.SIGKILL)
            self._process.wait()
            os.close(self._ended)
        return self._process.returncode

    def _close_outputs(self) -> None:
        for descriptor in self._outputs:
            os.close(descriptor)
        self._outputs.clear()

    def _collect(self, answer: int, end: float) -> Outcome:
        """Read until there is a reply, or the process has ended; then what is still to be read."""
        printed, answered = Tail(), Tail()
        messages: list[bytes] = []
        with selectors.DefaultSelector() as selector:
            for source in self._outputs:
                selector.register(source, selectors.EVENT_READ, printed.add)
            selector.register(answer, selectors.EVENT_READ, answered.add)
            selector.register(self._ended, selectors.EVENT_READ)
            selector.register(self._control, selectors.EVENT_READ, messages.append)
            while not messages and self._ended in selector.get_map() and time.monotonic() < end:
                self._read(selector, end)
            late = not messages and self._ended in selector.get_map()
            for source in {self._ended, self._control.fileno()} & selector.get_map().keys():
                selector.unregister(source)
            reply = _parsed(messages)
            status = 0
            if reply is None:
                status = self._status(within=0)
            else:
                grace = time.monotonic() + GRACE
                while selector.get_map() and time.monotonic() < grace:
                    self._read(selector, grace)
                end_members(self._process.pid)
            rest = time.monotonic() + GRACE
            while selector.get_map() and time.monotonic() < rest and self._read(selector, 0):
                pass
        return Outcome(reply=reply, status=status, late=late, output=printed.text(), answer=answered.text().encode())

    def _read(self, selector: selectors.BaseSelector, end: float) -> bool:
        """Take what comes until `end`; False if nothing did."""
        ready = self._select(selector, end)
        for key in ready:
            if key.fd == self._ended:
                selector.unregister(key.fd)
                continue
            try:
                data = os.read(key.fd, LARGEST_MESSAGE)
            except ConnectionResetError:  # it ended before it read the request
                data = b""
            if data:
                key.data(data)
            else:
                selector.unregister(key.fileobj)
        return bool(ready)

    def _select(self, selector: selectors.BaseSelector, end: float) -> list[selectors.SelectorKey]:
        """Wait until there is something to read, or until `end`, with signs of life meanwhile."""
        while True:
            left = end - time.monotonic()
            ready = selector.select(max(0, min(left, PULSE)))
            if time.monotonic() - self._ticked >= PULSE:
                self._tick()
                self._ticked = time.monotonic()
            if ready or left <= 0:
                return [key for key, _ in ready]


def _parsed(messages: list[bytes]) -> dict[str, Any] | None:
    """Return a reply. Code of the app could have written it: what is none counts as the process's end."""
    try:
        reply = json.loads(b"".join(messages))
    except (ValueError, RecursionError):
        return None
    return reply if isinstance(reply, dict) and isinstance(reply.get("status"), int) else None
