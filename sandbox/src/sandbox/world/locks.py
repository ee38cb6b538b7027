"""One lock for threads and processes alike: the API, `sandbox up` and the helpers change the same files."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of this file, waiting for it; the file's folder must exist."""
    # An open file description of our own each time, so that flock excludes threads of one process too.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
