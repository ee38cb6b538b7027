"""Visit the deployed site from the internet."""

import time
from collections.abc import Callable

from tests.worlds import Deployment


def wait_for(look: Callable[[], str], wanted: str, seconds: float = 30) -> None:
    """Poll until `look` answers what is wanted; on failure say what it answered last."""
    deadline = time.monotonic() + seconds
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline, f"after {seconds} s: {seen!r}, wanted {wanted!r}"
        time.sleep(0.1)


def status(deployed: Deployment) -> str:
    """HTTP status of the first page."""
    argv = ["curl", "--silent", "--max-time", "20", "--output", "/dev/null", "--write-out", "%{http_code}"]
    return deployed.exec(*argv, deployed.url, check=False).stdout
