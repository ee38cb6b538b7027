"""An app's errors go to the journal, whatever its LOGGING says: Django's default is silent with DEBUG off."""

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote

Environ = dict[str, Any]


class Told(Exception):  # noqa: N818 - to Gunicorn, which answers 500, it is any exception
    """What the journal has already; Gunicorn would show it again, with the query string."""


class Body:
    """A response that tells what goes wrong while it is sent."""

    def __init__(self, environ: Environ, body: Iterable[bytes]) -> None:
        self._environ, self._body = environ, body
        self.close: Callable[[], object] = getattr(body, "close", lambda: None)

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._body
        except Exception as error:  # noqa: BLE001 - whatever it is
            tell(self._environ, error)
            raise Told from None


def respond(app: Callable[..., Iterable[bytes]], environ: Environ, start_response: object) -> Iterable[bytes]:
    """Call the app, and tell what leaves it."""
    try:
        body = app(environ, start_response)
    except Exception as error:  # noqa: BLE001 - whatever it is
        tell(environ, error)
        raise Told from None
    # A file is left to Gunicorn, which lets the kernel send it.
    return body if isinstance(body, environ["wsgi.file_wrapper"]) else Body(environ, body)


def watch() -> None:
    """Hear of what Django turns into a page, so not of Http404 and the like. To be called when the app is imported."""
    from django.core.signals import got_request_exception  # noqa: PLC0415 - the app's

    got_request_exception.connect(_raised, weak=False)
    log = logging.getLogger("gunicorn.error")
    log.disabled = False  # LOGGING with disable_existing_loggers, its default, has silenced the server
    log.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], Told)))


def _raised(*, request: Any, **_: object) -> None:  # noqa: ANN401 - Django's
    if error := sys.exc_info()[1]:
        tell(request.META, error, shown=_is_logged(error) and _is_printed(request))


def tell(environ: Environ, error: BaseException, *, shown: bool = False) -> None:
    """Write one error, once: by the request's id, which Nginx's access log and the visitor have; with its traceback."""
    told = environ.setdefault("droplet.told", [])
    if any(error is one for one in told):
        return
    told.append(error)
    # No query string: it may hold secrets.
    path = quote(environ["PATH_INFO"], encoding="latin-1")
    lines = [f"error {environ.get('HTTP_X_REQUEST_ID', '-')} {environ['REQUEST_METHOD']} {path}: {error!r}"]
    if not shown:
        lines += "".join(traceback.format_exception(error)).splitlines()
    # Past sys.stderr, which is the app's; <3> is the journal's mark of an error.
    os.write(2, "".join(f"<3>{line}\n" for line in lines).encode(errors="backslashreplace"))


def _is_logged(error: BaseException) -> bool:
    """Whether Django hands it to logging: not what the page of a refusal raises, such as 404.html."""
    from django.core import exceptions  # noqa: PLC0415 - the app's
    from django.http import Http404  # noqa: PLC0415 - the app's

    bad = getattr(exceptions, "BadRequest", Http404)  # from Django 3.2 on
    refusals = (Http404, exceptions.PermissionDenied, exceptions.SuspiciousOperation, bad)
    before = error.__context__
    while before and not isinstance(before, refusals):
        before = before.__context__
    return before is None


def _is_printed(request: object) -> bool:
    """Whether the app's LOGGING prints the traceback, too."""
    record = logging.makeLogRecord(
        {"name": "django.request", "levelno": logging.ERROR, "request": request, "status_code": 500}
    )
    logger: logging.Logger | None = logging.getLogger(record.name)
    if logger and not logger.isEnabledFor(record.levelno):
        return False
    handlers: list[logging.Handler] = []
    while logger:
        handlers += logger.handlers
        logger = logger.parent if logger.propagate else None
    if not handlers and logging.lastResort:
        handlers = [logging.lastResort]
    return any(
        getattr(handler, "stream", None) in (sys.stdout, sys.stderr)
        and handler.level <= record.levelno
        and handler.filter(record)
        for handler in handlers
    )
