"""DigitalOcean's limit of API calls, for a world with the switch `rate-limit`: each call counts for an hour.

https://docs.digitalocean.com/reference/api/digitalocean/#section/Introduction/Rate-Limit
"""

import math
from collections import deque

from sandbox.api import errors

HOUR = 3600
HOURLY = 5000
MINUTE = 60
BURST = 250


class RateLimit:
    """The calls of one token; `now` is in seconds since the epoch."""

    def __init__(self) -> None:
        self._calls: deque[float] = deque()

    def admit(self, now: float) -> errors.ApiError | None:
        """Count a call, or return the refusal of one too many, which doesn't count."""
        while self._calls and self._calls[0] <= now - HOUR:
            self._calls.popleft()
        if len(self._calls) >= HOURLY:
            return errors.too_many_requests()
        if wait := self._wait(now):
            return errors.too_many_requests(retry_after=wait)
        self._calls.append(now)
        return None

    def headers(self, now: float) -> dict[str, str]:
        """Return what each answer says of the limit."""
        return {
            "ratelimit-limit": str(HOURLY),
            "ratelimit-remaining": str(0 if self._wait(now) else HOURLY - len(self._calls)),
            "ratelimit-reset": str(int(self._calls[0] + HOUR)),
        }

    def _wait(self, now: float) -> int:
        """Return the seconds until this minute has room for another call."""
        if len(self._calls) < BURST:
            return 0
        return max(0, math.ceil(self._calls[-BURST] + MINUTE - now))
