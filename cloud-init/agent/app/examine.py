"""Imports the app as Gunicorn does, confined as Gunicorn is, and says where its settings differ from what was given.

    python examine.py '{"domain": …, "database": …, "wsgi": …, "gunicorn_config": …}'

What the settings should be is known from the document of the release; what they became, only the project itself can
say. The answer is a document on the output; what the import prints goes to the error output. The app's Python may be
any from 3.11 on.
"""

import importlib
import inspect
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

INSTEAD = "Leave them out (OPTIONS, PGOPTIONS); the role can keep them for itself: ALTER ROLE CURRENT_USER SET …"
DATABASE_SECONDS = 20  # for a connection through the pool and an answer


class Finding(NamedTuple):
    """What is wrong, and the name by which `app.allow` accepts it ("": nothing does; "note": it is said only)."""

    text: str
    accepted_by: str = ""


def imported(config: str, wsgi: str) -> Any:  # noqa: ANN401 - a callable, if all is well
    """Read Gunicorn's settings and import the app."""
    sys.argv = [str(Path(sys.executable).with_name("gunicorn")), "--config", config, "droplet_health:application"]
    importlib.import_module("gunicorn.app.wsgiapp").WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]", prog="gunicorn")
    return importlib.import_module("gunicorn.util").import_app(wsgi)


def gateway(app: Callable[..., object], wsgi: str) -> Iterator[Finding]:
    """Whether the callable is what Gunicorn can serve."""
    called = app if inspect.isroutine(app) else inspect.getattr_static(type(app), "__call__", None)
    try:
        inspect.signature(app).bind({}, None)
        taken = True
    except TypeError:
        taken = False
    except ValueError:  # a built-in function does not say what it takes
        taken = True
    if inspect.iscoroutinefunction(called) or not taken:
        yield Finding(
            f"app.wsgi: must name a WSGI callable, {wsgi} is an ASGI one or takes other arguments; name the project's "
            "WSGI module (this deployment serves no ASGI)"
        )


def debugging(settings: Any) -> Iterator[Finding]:  # noqa: ANN401 - Django's settings have no type here
    """Whether errors show the settings to visitors."""
    if settings.DEBUG:
        yield Finding(
            f"DEBUG: must be False, is {settings.DEBUG!r}; every error would show visitors the source and the "
            "settings. Let the settings read it from the environment, or give it the variable that they read (app.env)",
            "debug",
        )


def signing(settings: Any, given: frozenset[str]) -> Iterator[Finding]:  # noqa: ANN401
    """Whether sessions outlive a release, and nobody else can sign."""
    if settings.SECRET_KEY not in given:
        yield Finding(
            "SECRET_KEY: must be one that was given, is written in the settings or made anew at each start; let the "
            "settings read SECRET_KEY, or map the name that they read, such as app.env: DJANGO_SECRET_KEY: "
            "${SECRET_KEY}",
            "other-secret-key",
        )


def request(domain: str) -> Any:  # noqa: ANN401
    """Return a visitor's request as Nginx and Gunicorn hand it over."""
    environ: dict[str, Any] = {}
    importlib.import_module("wsgiref.util").setup_testing_defaults(environ)
    environ |= {"HTTP_HOST": domain, "HTTP_X_FORWARDED_PROTO": "https", "wsgi.url_scheme": "https"}
    return importlib.import_module("django.core.handlers.wsgi").WSGIRequest(environ)


def visitors(settings: Any, domain: str) -> Iterator[Finding]:  # noqa: ANN401
    """Whether the site answers under its name, and knows that its visitors use HTTPS."""
    visit = request(domain)
    refused = importlib.import_module("django.core.exceptions").DisallowedHost
    try:
        visit.get_host()
    except refused:
        yield Finding(
            f"ALLOWED_HOSTS: must accept {domain}, is {settings.ALLOWED_HOSTS!r}, so every page would be a 400; let "
            "the settings read ALLOWED_HOSTS, or map the name that they read, such as app.env: DJANGO_ALLOWED_HOSTS: "
            "${ALLOWED_HOSTS}"
        )
    if not visit.is_secure():
        yield Finding(
            f"SECURE_PROXY_SSL_HEADER: must see HTTPS as HTTPS, does not with {settings.SECURE_PROXY_SSL_HEADER!r}; "
            'leave it out, or set it to ("HTTP_X_FORWARDED_PROTO", "https")',
            "insecure-requests",
        )


def cookies(settings: Any, domain: str) -> Iterator[Finding]:  # noqa: ANN401
    """Whether a cookie could go over plain HTTP, or is for another name, from which no browser takes it here."""
    sessions = importlib.import_module("django.contrib.sessions.middleware").SessionMiddleware
    csrf = importlib.import_module("django.middleware.csrf").CsrfViewMiddleware
    middleware = list(map(importlib.import_module("django.utils.module_loading").import_string, settings.MIDDLEWARE))

    def has(kind: type) -> bool:
        return any(isinstance(one, type) and issubclass(one, kind) for one in middleware)

    for cookie, there, loss in (
        ("SESSION_COOKIE", has(sessions), "nobody could log in"),
        ("CSRF_COOKIE", has(csrf) and not settings.CSRF_USE_SESSIONS, "each form would be a 403"),
    ):
        secure, name = (getattr(settings, f"{cookie}_{what}") for what in ("SECURE", "DOMAIN"))
        if there and not secure:
            yield Finding(
                f"{cookie}_SECURE: must be True, is {secure!r}; a browser would send the cookie over plain HTTP, too",
                "insecure-cookies",
            )
        if there and name and not f".{domain}".endswith("." + str(name).lower().removeprefix(".")):
            yield Finding(
                f"{cookie}_DOMAIN: must be {domain} or a name above it, is {name!r}, from which a browser takes no "
                f"cookie here: {loss}; leave it out, or let the settings read it from the environment (app.env)"
            )


def uploads() -> Iterator[Finding]:
    """Whether the files that the models keep can be written; what a storage of the project's raises ends nothing."""
    on_disk = importlib.import_module("django.core.files.storage").FileSystemStorage
    field_of_files = importlib.import_module("django.db.models").FileField
    fields: dict[str, list[str]] = {}  # by the folder
    for model in importlib.import_module("django.apps").apps.get_models():
        for field in model._meta.local_fields:  # noqa: SLF001 - documented
            if isinstance(field, field_of_files) and (folder := folder_of(field.storage, on_disk)):
                fields.setdefault(folder, []).append(str(field))
    for folder, names in fields.items():
        if not os.access(folder, os.W_OK | os.X_OK):
            yield Finding(
                f"MEDIA_ROOT: must be where the app may write and files stay, is {folder}; an upload (of "
                f"{', '.join(names)}) will be a 500. Let the settings keep uploads in the Space: "
                'STORAGES["default"], see "Uploads" in docs/app.md',
                "note",
            )


def folder_of(storage: Any, on_disk: Any) -> str:  # noqa: ANN401
    """Return where a storage keeps its files, "" if that is no folder, or it can't say."""
    try:
        return str(storage.location) if isinstance(storage, on_disk) else ""
    except Exception:  # noqa: BLE001 - the default storage is made now; whatever it lacks, an upload will say
        return ""


def database(expected: str) -> Iterator[Finding]:
    """Whether the database is the given one, and the pool takes the connection as the app opens it."""
    asked: Future[list[Finding]] = Future()

    def ask() -> None:
        try:
            asked.set_result(list(connected(expected)))
        except Exception as error:  # noqa: BLE001 - raised again where the result is read
            asked.set_exception(error)

    # Django's connections belong to a thread, and libpq has no bound for a pool whose backends are all busy.
    threading.Thread(target=ask, daemon=True).start()
    try:
        yield from asked.result(DATABASE_SECONDS)
    except TimeoutError:
        yield Finding(f'DATABASES["default"]: must answer within {DATABASE_SECONDS} s, has not')


def connected(expected: str) -> Iterator[Finding]:
    """Connect as the app does; say what the database is, or why there is no connection."""
    connection = importlib.import_module("django.db").connection
    error = importlib.import_module("django.db.utils").Error
    written = connection.settings_dict
    if connection.vendor == "postgresql":
        actual = address(written.get("USER"), written.get("HOST"), written.get("PORT"), written.get("NAME"))
        options = ""
        try:
            connection.ensure_connection()
            info = connection.connection.info
            actual = address(info.user, info.host, info.port, info.dbname)
            options = info.options
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except error as problem:
            if actual == expected:
                yield Finding(f'DATABASES["default"]: {refusal(str(problem).strip())}')
                return
        finally:
            connection.close()
    else:
        actual = f"{connection.vendor} ({written.get('NAME')})"
    if actual != expected:
        yield Finding(
            f'DATABASES["default"]: must be the given database, {expected}, is {actual}; let the settings read '
            "DATABASE_URL, or map the names that they read, such as app.env: DB_HOST: ${DATABASE_HOST}",
            "other-database",
        )
    elif options:
        yield Finding(
            f'DATABASES["default"]: must open connections without start-up options, does with {options!r}; what a '
            f"transaction pool makes of them is not known (most are refused). {INSTEAD}",
            "startup-options",
        )
    elif not written.get("DISABLE_SERVER_SIDE_CURSORS"):
        yield Finding(
            'DATABASES["default"]: should have DISABLE_SERVER_SIDE_CURSORS: True behind a transaction pool; without '
            "it QuerySet.iterator() fails",
            "note",
        )


def others(expected: str) -> Iterator[Finding]:
    """Say what of the other databases will not be as people are used to; they may be what is meant."""
    for alias, written in importlib.import_module("django.db").connections.databases.items():
        engine, name = (str(written.get(key) or "") for key in ("ENGINE", "NAME"))
        where = address(written.get("USER"), written.get("HOST"), written.get("PORT"), name)
        is_none = engine in {"", "django.db.backends.dummy"} or name == ":memory:" or "mode=memory" in name
        if alias == "default" or is_none or where == expected:
            continue
        what = (
            f"is a file ({name}), which an app can't write here, and which the next release does not have; keep its "
            "tables in the given database"
            if "sqlite" in engine or "spatialite" in engine
            else f"is another database, {where}, which a release does not migrate, and which has to let the Droplets in"
        )
        yield Finding(f'DATABASES["{alias}"]: {what}', "note")


def address(user: object, host: object, port: object, name: object) -> str:
    """Write a database's address as the document of the release does."""
    return f"{user}@{host}:{port}/{name}"


def refusal(problem: str) -> str:
    """Say why there is no connection, and what to change where that is known."""
    if "unsupported startup parameter" not in problem:
        return f"must connect through the pool, does not: {problem}"
    return f"must open connections that a transaction pool takes, it says: {problem}. {INSTEAD}"


def differences(expected: dict[str, str], given: frozenset[str]) -> Iterator[Finding]:
    """Yield what the settings say otherwise; this needs nothing of the project but them."""
    settings = importlib.import_module("django.conf").settings
    yield from debugging(settings)
    yield from signing(settings, given)
    yield from visitors(settings, expected["domain"])
    yield from database(expected["database"])
    yield from others(expected["database"])


def examine(expected: dict[str, str], given: frozenset[str]) -> dict[str, object]:
    """Return what is wrong with the settings, and the traceback of an import that fails."""
    found: list[Finding] = []
    problem = ""
    try:
        app = imported(expected["gunicorn_config"], expected["wsgi"])
        importlib.import_module("django").setup()  # the callable may do it at the first request only
    except SystemExit as end:
        problem = f"importing the app ended the program, with status {end.code!r}"
    except Exception as error:  # noqa: BLE001 - told, whatever it is
        problem = shown(error)
    else:
        found += gateway(app, expected["wsgi"])
        found += cookies(importlib.import_module("django.conf").settings, expected["domain"])
        found += uploads()
    if not problem or ("django.conf" in sys.modules and sys.modules["django.conf"].settings.configured):
        found += differences(expected, given)
    return {"found": found, "problem": problem}


def shown(error: Exception) -> str:
    """Return an exception as Python prints it, without this file's own lines: they say nothing about the app."""
    trace = traceback.TracebackException.from_exception(error)
    trace.stack = traceback.StackSummary.from_list(line for line in trace.stack if line.filename != __file__)
    return "".join(trace.format())


def main() -> None:
    """Keep the output for the answer, examine, and end without waiting for what the import has started."""
    output = os.dup(1)
    os.dup2(2, 1)
    given = frozenset(os.environ.values())
    expected = json.loads(sys.argv[1])
    sys.path[0] = str(Path.cwd())  # as for Gunicorn: the project's folder, and not this one
    answer = json.dumps(examine(expected, given)).encode()
    with os.fdopen(output, "wb") as file:
        file.write(answer)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
