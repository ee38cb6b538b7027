"""How everything here waits for a part of the world: it asks often, and gives up with what was said last."""

import time
from collections.abc import Callable

_PAUSE = 0.03  # seconds between two questions: most parts answer within a few of them


def until(missing: Callable[[], str | None], seconds: float, failure: Callable[[str], Exception]) -> None:
    """Ask `missing` until it returns None; after so many seconds raise the failure that its last text makes.

    `missing` says in a few words what is not there yet. Whatever it raises ends the waiting.
    """
    deadline = time.monotonic() + seconds
    while (last := missing()) is not None:
        if time.monotonic() > deadline:
            raise failure(last)
        time.sleep(_PAUSE)
