"""What Gunicorn serves: the app, and before it two addresses that are answered here, whatever the app is like.

/healthz says that the process lives, its release and its Droplet, for any Host, over plain HTTP, without the database.
Nginx tells the load balancer the last answer for as long as its Cache-Control says, and hides that from everybody.
/readyz says that the app's database answers; Nginx keeps it from the public. An app's own view for them would stand
behind its ALLOWED_HOSTS and its redirect to https: docs/adr/0008.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import droplet_errors
from gunicorn.util import import_app

log = logging.getLogger("gunicorn.error")  # whose handler Gunicorn has set up, whatever the app's settings do

KEPT = {"/healthz": "max-age=1, stale-while-revalidate=30"}  # by Nginx, for the load balancer
PATIENCE = 3.0  # seconds after which a database that has not answered counts as absent

_asking = threading.Lock()
_release, _served_by = os.environ["RELEASE"], os.environ["SERVED_BY"]
# What Gunicorn reads after this import is not the app's to take or to delete, as Twisted does with LISTEN_FDS.
_systemd = {name: os.environ.pop(name) for name in ("LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET") if name in os.environ}
_app = import_app(os.environ["WSGI_APPLICATION"])
os.environ.update(_systemd)
droplet_errors.watch()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer the two addresses, and pass everything else on, with the visitor's address, which a socket has not."""
    environ["REMOTE_ADDR"] = environ.get("HTTP_X_REAL_IP", "")
    answer = {"/healthz": healthz, "/readyz": readyz}.get(environ["PATH_INFO"])
    if answer is None:
        found: Iterable[bytes] = droplet_errors.respond(_app, environ, start_response)
        return found
    status, document = answer()
    body = json.dumps(document).encode()
    kept = KEPT.get(environ["PATH_INFO"], "no-store")
    headers = [("Content-Type", "application/json"), ("Cache-Control", kept), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def healthz() -> tuple[str, dict[str, str]]:
    """200 while the process can answer at all."""
    return "200 OK", {"status": "ok", "release": _release, "served_by": _served_by}


def readyz() -> tuple[str, dict[str, str]]:
    """200 when the database answers, else 503; never later than PATIENCE. What went wrong is for the log only."""
    if database_answers():
        return "200 OK", {"status": "ok", "database": "ok"}
    return "503 Service Unavailable", {"status": "unavailable", "database": "unreachable"}


def database_answers() -> bool:
    """Whether a new connection answers SELECT 1 within PATIENCE.

    A pool whose backends are all busy accepts the connection and then lets the query wait for minutes; libpq has no
    bound for that. So a thread of its own asks. There is one at a time: while it hangs, the answer is no, and nothing
    piles up.
    """
    deadline = time.monotonic() + PATIENCE
    if not _asking.acquire(timeout=PATIENCE):
        log.error("readyz: an earlier question to the database has had no answer yet")
        return False
    answered = threading.Event()
    done = threading.Event()
    threading.Thread(target=_ask, args=(answered, done), name="readyz", daemon=True).start()
    if not done.wait(max(0.0, deadline - time.monotonic())):
        log.error("readyz: the database has not answered for %s s", PATIENCE)
    return answered.is_set()


def _ask(answered: threading.Event, done: threading.Event) -> None:
    """Run SELECT 1 on this thread's own connection and close it; say how it went by the two events."""
    from django.db import Error, connection  # noqa: PLC0415 - only now the app has set Django up

    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        answered.set()
    except Error as problem:
        log.error("readyz: %s", str(problem).strip())  # noqa: TRY400 - one line; the trace would only show this file
    finally:
        connection.close()
        _asking.release()
        done.set()
