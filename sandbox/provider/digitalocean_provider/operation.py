"""One create, read, update or delete in progress: API calls with retries, waiting, progress, cancellation."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from digitalocean_provider.clients import RETRIED_STATUSES, Clients, result
from digitalocean_provider.errors import ApiError, Cancelled, ProviderError, SpacesError, Unreachable
from plugin_base.wire import Properties

FIRST_POLL = 0.1  # seconds; the official plugin waits 10 to 20
SLOWEST_POLL = 1.0  # seconds
SLOWER = 1.5  # each poll, times the one before
GONE = 404

T = TypeVar("T")

# As the official plugin serialises users of a cluster and VPCs of a region: internal/mutexkv.
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


class Operation:
    """What a resource's functions work with.

    `timeout` is in seconds, from the program's CustomTimeouts, or 0; `report` shows a line in the engine's display.
    """

    def __init__(
        self,
        clients: Clients,
        cancelled: threading.Event,
        *,
        timeout: float = 0,
        report: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """Start one operation."""
        self._clients = clients
        self._cancelled = cancelled
        self._report = report
        self.timeout = timeout
        self.id = ""
        self.known: Properties = {}

    def keep(self, id_: str, properties: Properties | None = None) -> None:
        """Say that the resource exists from now on: whatever fails later, the engine keeps it."""
        self.id = id_
        self.known = properties or {}

    def pause(self, seconds: float) -> None:
        """Wait, unless the user interrupts."""
        if self._cancelled.wait(seconds):
            raise Cancelled("cancelled by the user")

    def call(
        self, method: str, *path: str | int, query: Properties | None = None, body: Properties | None = None
    ) -> Any:  # noqa: ANN401 -- JSON
        """Call the API and return the document; `path` is what comes after /v2, part by part.

        429, 5xx and connection errors are tried again as the official plugin does, 4 times after 1, 2, 4 and 8
        seconds or what Retry-After says; other refusals raise ApiError at once.
        """
        settings = self._clients.settings
        for attempt in range(settings.retries + 1):
            last = attempt == settings.retries
            wait = min(settings.retry_wait_min * 2**attempt, settings.retry_wait_max)
            try:
                reply = self._clients.send(method, *path, query=query, body=body)
            except Unreachable:
                if last:
                    raise
            else:
                if last or reply.status not in RETRIED_STATUSES:
                    return result(reply)
                if reply.retry_after is not None:
                    wait = reply.retry_after
                self._report(f"{reply.method} {reply.url}: {reply.status}, trying again in {wait:g} s")
            self.pause(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def find(self, method: str, *path: str | int, body: Properties | None = None) -> Any:  # noqa: ANN401 -- JSON
        """Call the API like `call`, but return None when it answers 404."""
        try:
            return self.call(method, *path, body=body)
        except ApiError as error:
            if error.status == GONE:
                return None
            raise

    def spaces(self, region: str, operation: str, **keywords: object) -> Any:  # noqa: ANN401 -- S3 answers of any shape
        """Call the Spaces of a region as `boto3.client("s3").<operation>`; botocore does the retries."""
        client = self._clients.s3(region)
        from botocore import exceptions  # noqa: PLC0415 -- only imported where Spaces are used

        try:
            return getattr(client, operation)(**keywords)
        except exceptions.ClientError as error:
            details = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            raise SpacesError(
                error.operation_name, details.get("Code", ""), status, details.get("Message", "")
            ) from error
        except exceptions.BotoCoreError as error:
            raise Unreachable(f"Spaces in {region}: {error}") from error

    def wait_for(self, what: str, probe: Callable[[], tuple[str, T | None]], *, timeout: float) -> T:
        """Poll `probe`, which returns a state to show and, when done, the result.

        The program's own timeout goes before `timeout` (seconds).
        """
        limit = self.timeout or timeout
        started = time.monotonic()
        interval = FIRST_POLL
        shown = ""
        while True:
            state, done = probe()
            if done is not None:
                return done
            elapsed = time.monotonic() - started
            if elapsed >= limit:
                raise ProviderError(f"timed out after {limit:g} s waiting for {what}, last seen: {state}")
            line = f"waiting for {what} ({elapsed:.0f} s): {state}"
            if line != shown:
                self._report(line)
                shown = line
            self.pause(interval)
            interval = min(interval * SLOWER, SLOWEST_POLL)

    @contextmanager
    def one_at_a_time(self, key: str) -> Iterator[None]:
        """Hold a lock that all operations of this process share."""
        with _locks[key]:
            yield


def go_time(timestamp: str | None) -> str | None:
    """Write an RFC 3339 time in UTC as Go's Time.String() does, which some of the official outputs are."""
    if not timestamp:
        return None
    return timestamp.removesuffix("Z").split("+")[0].replace("T", " ") + " +0000 UTC"
