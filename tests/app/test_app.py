"""The sample app in its own locked environment: its suite, its settings, and what needs real processes."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import psycopg
import pytest

from tests.postgres_server import postgres_server

ROOT = Path(__file__).parent.parent.parent
APP = ROOT / "app"

# What the release step sets. Nothing behind these addresses is asked here.
PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "mysite.settings",
    "SECRET_KEY": "long-and-random-enough-for-the-deployment-check-0123456789",
    "ALLOWED_HOSTS": "polls.example",
    "CSRF_TRUSTED_ORIGINS": "https://polls.example",
    "DATABASE_URL": "postgres://app:secret@127.0.0.1:25061/polls?sslmode=require",
    "STATIC_URL": "https://assets.nyc3.cdn.digitaloceanspaces.com/static/",
    "AWS_S3_CUSTOM_DOMAIN": "assets.nyc3.cdn.digitaloceanspaces.com",
    "AWS_STORAGE_BUCKET_NAME": "media",
    "AWS_S3_ENDPOINT_URL": "https://nyc3.digitaloceanspaces.com",
    "AWS_S3_REGION_NAME": "nyc3",
    "AWS_ACCESS_KEY_ID": "DO00TEST",
    "AWS_SECRET_ACCESS_KEY": "test",
    "RELEASE": "0123abcd-4567ef01",
    "SERVED_BY": "0123456789ab",
}

SUPERUSER = {"DJANGO_SUPERUSER_USERNAME": "admin", "DJANGO_SUPERUSER_EMAIL": "admin@polls.example"}


class Command:
    """Runs the app's Python with no variable but those given; warnings are errors there too."""

    def __init__(self, python: Path) -> None:
        self.python = python

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """All that a command of the app sees."""
        return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONWARNINGS": "error", **given}

    def __call__(self, *argv: str, given: Mapping[str, str], status: int = 0) -> str:
        """Run `python argv…` in the app's folder; answer what it printed."""
        done = subprocess.run(
            [self.python, *argv],
            cwd=APP,
            env=self.environment(given),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == status, f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}"
        return done.stdout

    def manage(self, *argv: str, given: Mapping[str, str], status: int = 0) -> str:
        """Run a command of manage.py."""
        return self("manage.py", *argv, given=given, status=status)


@pytest.fixture(scope="module")
def app() -> Command:
    """Build the environment that the lock file describes, with what the app's own tests need."""
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.run(["uv", "sync", "--project", APP, "--frozen", "--quiet"], env=environment, check=True, timeout=300)
    return Command(APP / ".venv" / "bin" / "python")


@contextmanager
def process(argv: list[str | Path], *, log: Path, env: Mapping[str, str]) -> Iterator[None]:
    """Run a program until the end of the block, then ask it to stop."""
    with log.open("wb") as output:
        child = subprocess.Popen(argv, cwd=APP, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            yield
        finally:
            child.terminate()  # as systemd does
            child.wait(60)


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """Start a PostgreSQL, asked over its UNIX socket."""
    with postgres_server() as running:
        yield f"postgres://postgres@{quote(str(running.directory), safe='')}:{running.port}/postgres"


@dataclass(frozen=True, kw_only=True)
class Site:
    """The app behind Gunicorn, as Nginx meets it: a UNIX socket, with the headers that Nginx sets."""

    socket: Path
    static: Path
    log: Path

    def client(self, *, host: str = "polls.example") -> httpx.Client:
        """Somebody who came by https."""
        transport = httpx.HTTPTransport(uds=str(self.socket))
        headers = {"Host": host, "X-Forwarded-Proto": "https", "Origin": f"https://{host}"}
        # A busy machine may need longer than the 5 s that are the default.
        return httpx.Client(transport=transport, base_url=f"http://{host}", headers=headers, timeout=30)


@contextmanager
def gunicorn(app: Command, folder: Path, given: Mapping[str, str]) -> Iterator[Site]:
    """Serve the app as the Droplet does (threads, preloaded), with its static files collected."""
    site = Site(socket=folder / "app.sock", static=folder / "static", log=folder / "gunicorn.log")
    wrapped = {"WSGI_APPLICATION": "mysite.wsgi:application"}  # as cloud-init/app-server/run-gunicorn.py has it
    environment = app.environment({**PRODUCTION, **given, **wrapped, "STATIC_ROOT": str(site.static)})
    app.manage("collectstatic", "--noinput", given=environment)
    options = ["--bind", f"unix:{site.socket}", "--workers", "2", "--worker-class", "gthread", "--threads", "8"]
    command: list[str | Path] = [
        app.python,
        "-m",
        "gunicorn",
        *options,
        "--preload",
        "--no-control-socket",
        "--pythonpath",
        ROOT / "cloud-init" / "agent" / "server",
        "droplet_health:application",
    ]
    with process(command, log=site.log, env=environment):
        deadline = time.monotonic() + 120  # on a machine that is busy with other tests
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(site.socket))
                break
            except OSError:
                if time.monotonic() > deadline:
                    pytest.fail(f"Gunicorn has not come up:\n{site.log.read_text()}")
                time.sleep(0.05)
        yield site


@pytest.fixture(scope="module")
def site(app: Command, database_url: str) -> Iterator[Site]:
    """Release the app to PostgreSQL, migrated and with a superuser, and serve it."""
    given = {**PRODUCTION, **SUPERUSER, "DATABASE_URL": database_url, "DJANGO_SUPERUSER_PASSWORD": "correct horse"}
    app.manage("migrate", "--noinput", given=given)
    app.manage("createsuperuser", "--noinput", given=given)
    folder = Path(tempfile.mkdtemp(prefix="app-"))
    with gunicorn(app, folder, {"DATABASE_URL": database_url}) as served:
        yield served
    shutil.rmtree(folder)


def votes(database_url: str) -> Counter[str]:
    """Votes by answer, read past Django."""
    with psycopg.connect(database_url.replace("postgres://", "postgresql://")) as connection:
        return Counter(dict(connection.execute("SELECT text, votes FROM polls_choice").fetchall()))


def token(page: str) -> str:
    """Find the form's CSRF token."""
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found, page
    return found[1]


def test_own_suite_passes_on_sqlite(app: Command) -> None:
    """What a contributor runs, with no configuration but DJANGO_DEBUG=1."""
    assert "\nOK\n" in app.manage("test", given={"DJANGO_DEBUG": "1"})


def test_own_suite_passes_on_postgresql(app: Command, database_url: str) -> None:
    """The database that production has."""
    assert "\nOK\n" in app.manage("test", "--noinput", given={"DJANGO_DEBUG": "1", "DATABASE_URL": database_url})


def test_migrations_match_the_models(app: Command) -> None:
    """A release never finds a change that nobody wrote a migration for."""
    given = {"DJANGO_DEBUG": "1", "DATABASE_URL": "sqlite://:memory:"}
    app.manage("makemigrations", "--check", "--dry-run", given=given)


def test_migrations_can_be_taken_back(app: Command, tmp_path: Path) -> None:
    """The sample poll too."""
    given = {"DJANGO_DEBUG": "1", "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}"}
    app.manage("migrate", "--noinput", given=given)
    app.manage("migrate", "polls", "zero", "--noinput", given=given)


def test_deployment_check_is_clean(app: Command) -> None:
    """The release step's gate, with production's variables."""
    app.manage("check", "--deploy", "--fail-level", "WARNING", given=PRODUCTION)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SECRET_KEY", None, "SECRET_KEY: must be set unless DJANGO_DEBUG=1, got nothing; set it to"),
        ("DATABASE_URL", None, "DATABASE_URL: must be set unless DJANGO_DEBUG=1, got nothing; set it to"),
        (
            "AWS_S3_ENDPOINT_URL",
            "nyc3",
            'must be a URL when AWS_STORAGE_BUCKET_NAME is set, got "nyc3"; set it to https:',
        ),
    ],
)
def test_wrong_variable_is_named_with_its_rule_and_the_fix(
    app: Command, variable: str, value: str | None, message: str
) -> None:
    """Before anything is served."""
    given = {name: text for name, text in PRODUCTION.items() if name != variable}
    assert message in app.manage("check", given=given | ({variable: value} if value else {}), status=1)


def test_gunicorn_accepts_the_release(app: Command) -> None:
    """What the release step asks before it switches."""
    app("-m", "gunicorn", "--check-config", "mysite.wsgi:application", given=PRODUCTION)


def test_lock_names_the_public_index_only() -> None:
    """No mirror of the machine that locked."""
    packages = tomllib.loads((APP / "uv.lock").read_text())["package"]
    indexes = {package["source"]["registry"] for package in packages if "registry" in package["source"]}
    files = [file for package in packages for file in [*package.get("wheels", []), package.get("sdist")] if file]
    assert indexes == {"https://pypi.org/simple"}
    assert {urlsplit(file["url"]).hostname for file in files} == {"files.pythonhosted.org"}


def test_pages_name_hashed_files_at_the_address_of_static_files(site: Site) -> None:
    """Stylesheet, icon and font; each exists under that name, and the stylesheet leads to the same font."""
    with site.client() as client:
        page = client.get("/")
    named = re.findall(rf'"{re.escape(PRODUCTION["STATIC_URL"])}(polls/[^"]+)"', page.text)
    assert page.status_code == 200
    assert {re.sub(r"\.[0-9a-f]{12}\.", ".*.", name) for name in named} == {
        "polls/favicon.*.svg",
        "polls/fonts/bricolage-grotesque.*.woff2",
        "polls/style.*.css",
    }
    assert all((site.static / name).is_file() for name in named)
    [style] = [name for name in named if name.endswith(".css")]
    [font] = {name for name in named if name.endswith(".woff2")}
    assert f'url("{font.removeprefix("polls/")}")' in (site.static / style).read_text()


def test_votes_at_the_same_moment_are_all_counted(site: Site, database_url: str) -> None:
    """Sixty posts by twelve voters at once, over HTTP, on PostgreSQL."""
    before = votes(database_url)

    def voter(number: int) -> None:
        with site.client() as client:
            page = client.get("/questions/1/")
            choices = re.findall(r'name="choice" value="(\d+)"', page.text)
            cookie = {"Cookie": f"csrftoken={page.cookies['csrftoken']}"}
            # Two answers only, so that many votes meet on one row.
            data = {"csrfmiddlewaretoken": token(page.text), "choice": choices[number % 2]}
            for _ in range(5):
                answer = client.post("/questions/1/vote/", data=data, headers=cookie)
                assert (answer.status_code, answer.headers["location"]) == (302, "/questions/1/results/")

    with ThreadPoolExecutor(12) as voters:
        list(voters.map(voter, range(12)))
    assert sorted((votes(database_url) - before).values()) == [30, 30]


def test_superuser_of_the_environment_can_log_in(site: Site) -> None:
    """`createsuperuser --noinput`, as the release step runs it."""
    with site.client() as client:
        form = client.get("/admin/login/")
        answer = client.post(
            "/admin/login/",
            data={"csrfmiddlewaretoken": token(form.text), "username": "admin", "password": "correct horse"},
            headers={"Cookie": f"csrftoken={form.cookies['csrftoken']}"},
        )
    assert answer.status_code == 302
    cookies = answer.headers.get_list("set-cookie")
    assert all("Secure" in cookie and "HttpOnly" in cookie for cookie in cookies), cookies


def test_health_answers_any_host_and_pages_do_not(site: Site) -> None:
    """Who asks by the address, without the name, is answered."""
    with site.client(host="10.10.0.7") as client:
        health, ready, page = client.get("/healthz"), client.get("/readyz"), client.get("/")
    assert (health.status_code, health.json()) == (
        200,
        {"status": "ok", "release": PRODUCTION["RELEASE"], "served_by": "0123456789ab"},
    )
    assert (ready.status_code, ready.json()) == (200, {"status": "ok", "database": "ok"})
    assert page.status_code == 400


def test_readiness_fails_in_time_when_the_database_is_silent(app: Command, tmp_path: Path) -> None:
    """A server that accepts and never answers: 503 within seconds, even for many at once, while /healthz stays 200."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgres://app@127.0.0.1:{silent.getsockname()[1]}/polls"
        with gunicorn(app, tmp_path, {"DATABASE_URL": url}) as site:

            def ask(path: str) -> tuple[int, float]:
                started = time.monotonic()
                with site.client() as client:
                    status = client.get(path).status_code
                return status, time.monotonic() - started

            with ThreadPoolExecutor(4) as clients:
                ready = list(clients.map(ask, ["/readyz"] * 4))
                health = ask("/healthz")
    assert [status for status, _ in ready] == [503] * 4
    assert max(seconds for _, seconds in ready) < 4.5
    assert health[0] == 200


def test_readiness_fails_when_the_database_refuses(app: Command, tmp_path: Path) -> None:
    """And says nothing about why to the public."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with gunicorn(app, tmp_path, {"DATABASE_URL": f"postgres://app@127.0.0.1:{port}/polls"}) as site:
        with site.client() as client:
            answer = client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "database": "unreachable"})
        assert "readyz: connection" in site.log.read_text()
