"""Gunicorn's settings, the same for every release; the socket comes from gunicorn.socket."""

import sys

worker_class = "gthread"
workers = int("@WORKERS@")
threads = int("@THREADS@")
worker_connections = 2 * threads  # the default, 1000, lets one busy worker hoard connections that another could serve
preload_app = True  # one copy in memory, and a release that can't be imported fails while systemd still watches
bind = "unix:/run/gunicorn.sock"  # for who only reads this; a running Gunicorn inherits its socket
pythonpath = "/usr/local/lib/web/agents/@PACKAGE@/agent/server"  # droplet_health, and its hooks
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

sys.path.insert(0, pythonpath)
from droplet_workers import child_exit, pre_fork, when_ready, worker_exit  # noqa: E402, F401 - Gunicorn calls them
