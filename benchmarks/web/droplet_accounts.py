"""Beside the app on the Droplet: what requests spend processor time on, told to the journal now and then.

A thread's own time, the kernel's work for it included: what waits, or holds no lock of Python's, is counted rightly.
"""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
from django.core.handlers.wsgi import WSGIHandler
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.models import QuerySet
from django.template.base import Template

EVERY = 20  # requests

_spent: Counter[str] = Counter()
_inside = threading.local()


def account(owner: type, method: str, name: str) -> None:
    """Count what a method spends, without what others that are counted spend within it."""
    timed: Callable[..., Any] = getattr(owner, method)

    def wrapper(*arguments: object, **named: object) -> object:
        calls: list[float] = _inside.__dict__.setdefault("calls", [])
        calls.append(0.0)  # what is spent further inside
        began = time.thread_time()
        try:
            return timed(*arguments, **named)
        finally:
            took = time.thread_time() - began
            _spent[name] += took - calls.pop()
            if calls:
                calls[-1] += took

    setattr(owner, method, wrapper)


def tell(*_: object, **__: object) -> None:
    """Write down what this process has spent so far."""
    _spent["requests"] += 1
    if _spent["requests"] % EVERY == 0:
        line = json.dumps({"pid": os.getpid(), **_spent})
        os.write(2, f"accounts {line}\n".encode())


def install() -> None:
    """Begin to count; to be called before the first request."""
    account(WSGIHandler, "__call__", "Django: middleware, views, forms")
    account(Template, "render", "Django: templates")
    account(QuerySet, "_fetch_all", "Django: queries")
    account(QuerySet, "update", "Django: queries")
    account(DatabaseWrapper, "close_if_health_check_failed", "Django: health check")
    account(psycopg.Cursor, "execute", "psycopg: statements")
    account(DatabaseWrapper, "connect", "connecting: TLS and SCRAM")
    from django.core.signals import request_finished  # noqa: PLC0415 - of the app

    request_finished.connect(tell)
