"""Gunicorn's settings, the same for every release; the socket comes from gunicorn.socket."""

worker_class = "gthread"
workers = int("@WORKERS@")
threads = int("@THREADS@")
worker_connections = 2 * threads  # the default, 1000, lets one busy worker hoard connections that another could serve
preload_app = True  # one copy in memory, and a release that can't be imported fails while systemd still watches
bind = "unix:/run/gunicorn.sock"  # for who only reads this; a running Gunicorn inherits its socket
pythonpath = "/usr/local/lib/web/agents/@PACKAGE@/agent/server"  # droplet_health
timeout = 30
# What a worker that stops may take for its last requests; TimeoutStopSec of gunicorn.service is longer.
graceful_timeout = 30
# Against what leaks. A new worker computes for a tenth of a second before it is as fast as the old one: docs/adr/0022.
max_requests = 5000
max_requests_jitter = 500
worker_tmp_dir = "/dev/shm"  # noqa: S108 - memory, because fchmod on a busy disk can block a worker's heartbeat
control_socket_disable = True  # it would be made in the home directory, which this user doesn't have
accesslog = None  # Nginx has it
errorlog = "-"


def pre_fork(_server: object, worker: object) -> None:
    """Give a worker what it can tell its parent by that it has ended as it should."""
    import mmap  # noqa: PLC0415 - each name of this file is a setting

    worker.farewell = mmap.mmap(-1, 1)  # type: ignore[attr-defined]


def worker_exit(_server: object, worker: object) -> None:
    """Say so, in the worker."""
    worker.farewell[0] = 1  # type: ignore[attr-defined]


def child_exit(server: object, worker: object) -> None:
    """Tell systemd, where the release agent looks, when the last workers ended that did not say so: they crashed."""
    import time  # noqa: PLC0415

    from gunicorn import systemd  # noqa: PLC0415

    if not worker.farewell[0]:  # type: ignore[attr-defined]
        server.crashes = [*getattr(server, "crashes", [])[-9:], f"{time.time():.0f}"]  # type: ignore[attr-defined]
        text = "workers ended before their time, in seconds since 1970: " + " ".join(server.crashes)  # type: ignore[attr-defined]
        systemd.sd_notify(f"STATUS={text}", server.log)  # type: ignore[attr-defined]


def when_ready(_server: object) -> None:
    """Leave what the app has loaded out of the workers' collections, which would copy the pages that they share."""
    import gc  # noqa: PLC0415 - each name of this file is a setting

    gc.collect()
    gc.freeze()
