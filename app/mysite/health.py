"""Health for machines: /healthz says that the process lives and its release, /readyz that it reaches its database."""

import logging
import os
import threading
import time
from collections.abc import Callable

from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse

log = logging.getLogger(__name__)

# Seconds after which a database that has not answered counts as absent.
PATIENCE = 3.0

_asking = threading.Lock()


class HealthMiddleware:
    """Stands first in the list, so that no check of the Host, no redirect and no session comes before it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.answers = {"/healthz": healthz, "/readyz": readyz}

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the two addresses, pass everything else on."""
        answer = self.answers.get(request.path_info)
        if answer is None:
            return self.get_response(request)
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        response = answer()
        response.headers["Cache-Control"] = "no-store"
        return response


def healthz() -> JsonResponse:
    """200 while the process can answer at all; asks nothing of the database."""
    return JsonResponse({"status": "ok", "release": os.environ.get("RELEASE", "development")})


def readyz() -> JsonResponse:
    """200 when the database answers, else 503; never later than PATIENCE. What went wrong is for the log only."""
    if database_answers():
        return JsonResponse({"status": "ok", "database": "ok"})
    return JsonResponse({"status": "unavailable", "database": "unreachable"}, status=503)


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
