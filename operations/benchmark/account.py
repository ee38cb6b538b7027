"""The account in which a run makes what it needs: DigitalOcean's API, with waiting; nothing interrupts a creation."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from operations.errors import OperationError
from provider import api

SECONDS = 60.0  # for one answer
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between two looks
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

T = TypeVar("T")


class BenchmarkError(OperationError):
    """The run can't be made, or was not finished; the text says why, and what to do."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold signals back: of what is made the answer has to come, or else it would be left."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def until(what: str, seconds: float, look: Callable[[], T | None]) -> T:
    """Look until there is something; an API that does not answer meanwhile is asked again."""
    deadline = time.monotonic() + seconds
    last, pause = "it is not there yet", FIRST_PAUSE
    while True:
        try:
            if (found := look()) is not None:
                return found
        except api.UnreadableError as error:
            last = str(error)
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{what}: must be there within {seconds:.0f} s: {last}; run this again")
        time.sleep(pause)
        pause = min(1.5 * pause, LONGEST_PAUSE)


class Account:
    """What is asked of the account, and changed in it. Paths are below /v2."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        token = api.token(environment)
        if not token:
            raise BenchmarkError("DIGITALOCEAN_TOKEN: must be set, got nothing; export a token that may write")
        self._api = api.Api(token, api.endpoint(environment), SECONDS)

    def one(self, path: str, root: str) -> api.Body:
        """Return a document that has to be there."""
        document = self._api.get(path)
        if document is None:
            raise BenchmarkError(f"/v2/{path}: must be there, got 404; was it deleted meanwhile? Run this again")
        found: api.Body = document[root]
        return found

    def all(self, path: str, root: str) -> list[api.Body]:
        """Return the whole of a listing."""
        return list(api.every(self._api.get, path, root))

    def make(self, path: str, body: api.Body) -> api.Body:
        """Make something; a signal waits until it is known."""
        with uninterrupted():
            return self._api.post(path, body)

    def change(self, path: str, body: api.Body) -> None:
        """Change something."""
        self._api.put(path, body)

    def delete(self, path: str) -> None:
        """Delete what may be gone already."""
        self._api.delete(path)
