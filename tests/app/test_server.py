"""What Gunicorn runs on a Droplet, in front of real projects: by systemd's socket, with their errors in the journal."""

import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.commands import ROOT
from tests.django_project import LIMIT, Project

SOURCES = ROOT / "cloud-init"
ID = "0123456789abcdef0123456789abcdef"
# As systemd starts a program: the socket is descriptor 3, and the variables say whose it is.
SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "gunicorn.socket"}
os.execv(sys.argv[2], sys.argv[2:])
"""


VISITOR = "203.0.113.7"


class Server:
    """Gunicorn of a project, as a Droplet starts it."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], notified: list[bytes]) -> None:
        self._folder = folder
        self.process = process
        self.notified = notified

    def get(self, path: str = "/", *, host: str = "shop.example") -> httpx.Response:
        """Ask as Nginx does."""
        transport = httpx.HTTPTransport(uds=str(self._folder / "given.sock"))
        headers = {"Host": host, "X-Forwarded-Proto": "https", "X-Request-Id": ID, "X-Real-IP": VISITOR}
        with httpx.Client(transport=transport, base_url=f"http://{host}", headers=headers, timeout=LIMIT) as client:
            return client.get(path)

    def journal(self) -> str:
        """What it has written."""
        return (self._folder / "journal").read_text()

    def errors(self) -> list[str]:
        """The lines by which an error is found, without their marks."""
        return re.findall(rf"(?m)^<3>(error {ID} .*)$", self.journal())


@contextmanager
def serving(project: Project) -> Iterator[Server]:
    """Start it with systemd's variables, wait until it says that it is ready, and end it as systemd does."""
    config = (SOURCES / "app-server/gunicorn.conf.py").read_text().replace("@WORKERS@", "1").replace("@THREADS@", "2")
    project.write("gunicorn.conf.py", config)
    variables = {
        "PATH": "/usr/bin:/bin",
        "RELEASE": "0a1b2c3d-4e5f6a7b",
        "SERVED_BY": "0123456789ab",
        "WSGI_APPLICATION": "site_wsgi:application",
        "PYTHONPATH": str(SOURCES / "agent/server"),  # for the hooks: the place in the settings is a Droplet's
    }
    own = ["--pythonpath", str(SOURCES / "agent/server"), "--bind", f"unix:{project.folder}/own.sock"]
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
        (project.folder / "journal").open("wb") as journal,
    ):
        for name in ("given.sock", "notify.sock"):
            (project.folder / name).unlink(missing_ok=True)
        listener.bind(str(project.folder / "given.sock"))
        listener.listen()
        systemd.bind(str(project.folder / "notify.sock"))
        systemd.settimeout(LIMIT)
        gunicorn = [project.python, project.python.with_name("gunicorn"), "--config", "gunicorn.conf.py", *own]
        process = subprocess.Popen(
            [project.python, "-c", SYSTEMD, str(listener.fileno()), *gunicorn, "droplet_health:application"],
            cwd=project.folder,
            env=project.environment | variables | {"NOTIFY_SOCKET": str(project.folder / "notify.sock")},
            stdin=subprocess.DEVNULL,
            stdout=journal,
            stderr=journal,
            pass_fds=[listener.fileno()],
        )
        try:
            yield Server(project.folder, process, [systemd.recv(1000)])
        finally:
            process.terminate()
            process.wait(LIMIT)


def test_an_app_sees_the_visitors_address(project: Project) -> None:
    """Where Django and others look for it: who counts attempts by it must not count everybody together."""
    project.add("site_urls.py", "urlpatterns = [path('', lambda request: HttpResponse(request.META['REMOTE_ADDR']))]\n")
    with serving(project) as server:
        assert server.get().text == VISITOR


# What an import may do to the server that imports it.
IMPORTS = {
    "nothing": "",
    "takes what systemd has handed over, as Twisted does": """
        import os
        for descriptor in range(3, 3 + int(os.environ.pop("LISTEN_FDS", 0))):
            os.close(descriptor)
        os.environ.pop("LISTEN_PID", None)
        os.environ.pop("LISTEN_FDNAMES", None)
        """,
    "says that it is ready": """
        import os, socket
        if address := os.environ.pop("NOTIFY_SOCKET", None):
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", address)
        """,
    "empties the environment": "import os; PATH = os.environ['PATH']; os.environ.clear()",
    "names another release, as error trackers want it": "import os; os.environ['RELEASE'] = 'shop@1.2.3'",
    "changes the folder": "import os; os.chdir('/')",
    "changes the mask of files": "import os; os.umask(0o777)",
    "changes what signals do": """
        import signal
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGQUIT, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        """,
    "reads the arguments": "import sys; assert sys.argv[1] != 'collectstatic'; PROGRAM = sys.argv[1:2] + sys.argv[-1:]",
    "changes the arguments": "import sys; sys.argv[:] = []",
    "sets a limit to all sockets": "import socket; socket.setdefaulttimeout(0.5)",
    "replaces the output": "import os, sys; sys.stdout = sys.stderr = open(os.devnull, 'w')",
    "turns logging off": "import logging; logging.disable(logging.CRITICAL)",
}


@pytest.mark.parametrize("name", IMPORTS)
def test_an_import_does_nothing_to_the_server(project: Project, name: str) -> None:
    """It gets its socket, says that it is ready, answers for its release, shows errors, and ends when it is asked."""
    project.add("site_settings.py", IMPORTS[name])
    project.add("site_urls.py", "urlpatterns.append(path('broken', lambda request: 1 / 0))\n")
    with serving(project) as server:
        assert server.notified[0].startswith(b"READY=1\nSTATUS=Gunicorn"), server.journal()
        assert server.get("/healthz").json() == {
            "status": "ok",
            "release": "0a1b2c3d-4e5f6a7b",
            "served_by": "0123456789ab",
        }
        assert server.get().text == "shop.examplehttps"
        assert server.get("/broken").status_code == 500
        assert server.errors() == [f"error {ID} GET /broken: ZeroDivisionError('division by zero')"]
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(LIMIT) == 0
    assert not (project.folder / "own.sock").exists()


LOGGINGS = {
    "Django's default": "",
    "of its own, to nowhere": """
        LOGGING = {
            "version": 1, "handlers": {"no": {"class": "logging.NullHandler"}}, "root": {"handlers": ["no"]},
        }
        """,
    "that silences others": "LOGGING = {'version': 1, 'disable_existing_loggers': True}",
    "to a file": """
        LOGGING = {
            "version": 1, "handlers": {"file": {"class": "logging.FileHandler", "filename": "log"}},
            "loggers": {"django": {"handlers": ["file"], "propagate": False}},
        }
        """,
}  # fmt: skip
PRINTED = {
    "none, which leaves it to Python": "LOGGING_CONFIG = None",
    "to the console": """
        LOGGING = {
            "version": 1, "disable_existing_loggers": False,
            "handlers": {"console": {"class": "logging.StreamHandler"}},
            "root": {"handlers": ["console"], "level": "WARNING"},
        }
        """,
    "to the output": """
        LOGGING = {
            "version": 1, "handlers": {"console": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
            "loggers": {"django.request": {"handlers": ["console"], "level": "ERROR"}},
        }
        """,
}
VIEWS = """
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404, StreamingHttpResponse

def fail(error):
    raise error

def cause(request):
    raise ValueError("the cause\\n<3>of two lines")

def stream(first):
    if first:
        yield first
    raise KeyError("while streaming")

async def later(request):
    raise OSError("from a coroutine")

urlpatterns += [
    path("broken", cause),
    path("streamed", lambda request: StreamingHttpResponse(stream("begun"))),
    path("not-streamed", lambda request: StreamingHttpResponse(stream(""))),
    path("later", later),
    path("missing", lambda request: fail(Http404())),
    path("denied", lambda request: fail(PermissionDenied())),
    path("bad", lambda request: fail(BadRequest())),
    path("suspicious", lambda request: fail(SuspiciousOperation())),
]
"""


@pytest.mark.parametrize("name", [*LOGGINGS, *PRINTED])
def test_an_error_reaches_the_journal_once_whatever_logging_says(project: Project, name: str) -> None:
    """With the request's id, method and path, and the traceback; never the query string. Refusals are no errors."""
    project.add("site_settings.py", {**LOGGINGS, **PRINTED}[name])
    project.add("site_urls.py", VIEWS)
    with serving(project) as server:
        for path in ("/missing", "/denied", "/bad", "/suspicious", "/nothing"):
            assert server.get(path).status_code in {400, 403, 404}
        assert server.get(host="other.example").status_code == 400
        assert server.errors() == []
        assert server.get("/broken?token=swordfish").status_code == 500
        assert server.get("/later").status_code == 500
        assert server.errors() == [
            f"error {ID} GET /broken: ValueError('the cause\\n<3>of two lines')",
            f"error {ID} GET /later: OSError('from a coroutine')",
        ]
        journal = server.journal()
    if name in PRINTED:
        assert journal.count("ValueError: the cause") == journal.count("in cause") == 1
        assert "<3>Traceback" not in journal
    else:
        assert journal.count("<3>ValueError: the cause\n<3><3>of two lines\n") == journal.count("in cause") == 1
    assert "swordfish" not in journal


def test_what_leaves_the_app_is_told_once(project: Project) -> None:
    """While it streams, from a callable of another kind, or where Django is to raise; and not by Gunicorn again."""
    project.add("site_urls.py", VIEWS)
    project.add(
        "site_wsgi.py",
        """
        django_application = application

        def application(environ, start_response):
            if environ["PATH_INFO"].startswith("/caf"):
                raise LookupError("before Django")
            return django_application(environ, start_response)
        """,
    )
    with serving(project) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            server.get("/streamed?token=swordfish")
        assert server.get("/not-streamed?token=swordfish").status_code == 500
        assert server.get("/caf\u00e9%0Aline?token=swordfish").status_code == 500
        assert server.errors() == [
            f"error {ID} GET /streamed: KeyError('while streaming')",
            f"error {ID} GET /not-streamed: KeyError('while streaming')",
            f"error {ID} GET /caf%C3%A9%0Aline: LookupError('before Django')",
        ]
        assert server.journal().count("Traceback") == 3
    project.add("site_settings.py", "DEBUG_PROPAGATE_EXCEPTIONS = True\n")
    with serving(project) as server:
        assert server.get("/broken?token=swordfish").status_code == 500
        assert len(server.errors()) == server.journal().count("Traceback") == 1
        assert "swordfish" not in server.journal()


def test_an_error_page_that_fails_hides_no_cause(project: Project) -> None:
    """Both are told."""
    project.add("site_urls.py", VIEWS + "\nhandler500 = lambda request: fail(TypeError('no template'))\n")
    with serving(project) as server:
        assert server.get("/broken").status_code == 500
        first, second, *more = server.errors()
    assert "ValueError('the cause" in first
    assert "TypeError('no template')" in second
    assert more == []


@pytest.mark.parametrize("path", ["/missing", "/denied", "/bad", "/suspicious"])
def test_the_page_of_a_refusal_that_fails_is_told_with_its_traceback(project: Project, path: str) -> None:
    """Django logs that answer without its error, so it is nowhere else; 404.html may name a file that is not there."""
    handlers = "handler400 = handler403 = handler404 = lambda request, exception: fail(TypeError('no template'))"
    project.add("site_settings.py", PRINTED["to the console"])
    project.add("site_urls.py", f"{VIEWS}\n{handlers}\n")
    with serving(project) as server:
        assert server.get(path).status_code == 500
        assert server.errors() == [f"error {ID} GET {path}: TypeError('no template')"]
        assert server.journal().count("<3>TypeError: no template\n") == 1


def test_gunicorn_is_heard_although_logging_silences_others(project: Project) -> None:
    """What it says of a worker that hangs or is killed is for whoever looks for the reason of an outage."""
    project.add("site_settings.py", LOGGINGS["that silences others"])
    project.add("site_urls.py", "import os\nurlpatterns.append(path('end', lambda request: os.kill(os.getpid(), 9)))\n")
    with serving(project) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            server.get("/end")
        end = time.monotonic() + LIMIT
        while "was sent SIGKILL" not in server.journal():
            assert time.monotonic() < end, server.journal()
            time.sleep(0.1)


def test_a_file_is_still_sent_by_the_kernel(project: Project) -> None:
    """And a response is closed when it has been sent, as Django expects it."""
    project.write("large", "x" * 300_000)
    project.add(
        "site_urls.py",
        """
        from django.core.signals import request_finished
        from django.http import FileResponse

        request_finished.connect(lambda **given: print("finished", flush=True), weak=False)
        urlpatterns.append(path("file", lambda request: FileResponse(open("large", "rb"))))
        """,
    )
    with serving(project) as server:
        assert len(server.get("/file").content) == 300_000
        assert server.get().status_code == 200
        end = time.monotonic() + LIMIT
        while server.journal().count("finished") < 2:
            assert time.monotonic() < end, server.journal()
            time.sleep(0.1)
        assert server.errors() == []
