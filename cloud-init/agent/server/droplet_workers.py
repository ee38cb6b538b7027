"""What Gunicorn calls when its workers come and go: gunicorn.conf.py names these functions."""

import gc
import mmap
import time
from logging import Logger
from typing import Protocol

from gunicorn import systemd


class Worker(Protocol):
    """What is ours of Gunicorn's Worker."""

    farewell: mmap.mmap


class Server(Protocol):
    """What is ours, or used, of Gunicorn's Arbiter."""

    crashes: list[str]
    log: Logger


def pre_fork(_server: object, worker: Worker) -> None:
    """Give a worker what it can tell its parent by that it has ended as it should."""
    worker.farewell = mmap.mmap(-1, 1)


def worker_exit(_server: object, worker: Worker) -> None:
    """Say so, in the worker."""
    worker.farewell[0] = 1


def child_exit(server: Server, worker: Worker) -> None:
    """Tell systemd, where the release agent looks, when the last workers ended that did not say so: they crashed."""
    if not worker.farewell[0]:
        server.crashes = [*getattr(server, "crashes", [])[-9:], f"{time.time():.0f}"]
        text = "workers ended before their time, in seconds since 1970: " + " ".join(server.crashes)
        systemd.sd_notify(f"STATUS={text}", server.log)


def when_ready(_server: object) -> None:
    """Leave what the app has loaded out of the workers' collections, which would copy the pages that they share."""
    gc.collect()
    gc.freeze()
