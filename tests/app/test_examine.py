"""What examine.py finds in real projects: settings that are not what was given, and imports that fail."""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from agent.app.confined import PROGRAM
from tests.django_project import LIMIT, Project
from tests.postgres_server import HOST, PostgresServer, postgres_server

KEY = "given-and-long-enough-for-the-deployment-check-0123456789-abcdef"
SITE = """
import os

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql",
    "HOST": os.environ["DB_HOST"],
    "PORT": os.environ["DB_PORT"],
    "NAME": os.environ["DB_NAME"],
    "USER": "app",
    "PASSWORD": os.environ["DB_PASSWORD"],
    "OPTIONS": {"sslmode": "require"},
    "DISABLE_SERVER_SIDE_CURSORS": True,
}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A database that the app is given."""
    with postgres_server() as found:
        found.create_role("app", "app-secret")
        found.create_database("pool")
        yield found


class Site:
    """A project whose settings are right, in the environment that it is given."""

    def __init__(self, project: Project, server: PostgresServer) -> None:
        self.project = project
        self.database = f"app@{HOST}:{server.port}/pool"
        self.given = {
            "DJANGO_SETTINGS_MODULE": "site_settings",
            "SECRET_KEY": KEY,
            "ALLOWED_HOSTS": "shop.example",
            "DB_HOST": HOST,
            "DB_PORT": str(server.port),
            "DB_NAME": "pool",
            "DB_PASSWORD": "app-secret",
        }
        project.add("site_settings.py", SITE)

    def examine(self, wsgi: str = "site_wsgi:application") -> tuple[dict[str, list[str]], str]:
        """Return what is found, by what accepts it, and why the import fails."""
        expected = {
            "domain": "shop.example",
            "database": self.database,
            "wsgi": wsgi,
            "gunicorn_config": str(self.project.folder / "gunicorn.conf.py"),
        }
        done = subprocess.run(
            [self.project.python, PROGRAM, json.dumps(expected)],
            cwd=self.project.folder,
            env={"PATH": os.defpath, **self.given},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        found: dict[str, list[str]] = {}
        for text, accepted_by in answer["found"]:
            found.setdefault(accepted_by, []).append(text)
        return found, answer["problem"]


@pytest.fixture
def site(project: Project, server: PostgresServer) -> Site:
    """A project that is as it should be."""
    return Site(project, server)


def test_settings_that_are_what_was_given_have_no_findings(site: Site) -> None:
    """Whatever the import prints, and whatever it leaves running."""
    site.project.add("site_wsgi.py", "print('hello')\nimport subprocess; subprocess.Popen(['sleep', '1'])\n")
    assert site.examine() == ({}, "")


MIDDLEWARE = """
from django.contrib.sessions.middleware import SessionMiddleware as Theirs

class Sessions(Theirs):
    pass
"""

SECURE = """
MIDDLEWARE = ['shop_middleware.Sessions', 'django.middleware.csrf.CsrfViewMiddleware']
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
"""

OTHERS = """
SQLITE = "django.db.backends.sqlite3"
DATABASES |= {"again": DATABASES["default"], "old": DATABASES["default"] | {"HOST": "db.oldhost.example"}}
DATABASES |= {"index": {"ENGINE": SQLITE, "NAME": "index.db"}, "cache": {"ENGINE": SQLITE, "NAME": ":memory:"}, "n": {}}
"""

# What is added to the settings -> what accepts it, and what is said.
DIFFERENT = {
    "debug": ("DEBUG = True", "debug", ["DEBUG: must be False, is True"]),
    "debug as text": ("DEBUG = 'false'", "debug", ["DEBUG: must be False, is 'false'"]),
    "a key of its own": (
        "SECRET_KEY = 'django-insecure-as-startproject-makes-them-0123456789'",
        "other-secret-key",
        ["SECRET_KEY: must be one that was given"],
    ),
    "a key for each start": (
        "import secrets\nSECRET_KEY = secrets.token_hex(32)",
        "other-secret-key",
        ["SECRET_KEY: must be one that was given"],
    ),
    "a key that the settings put into the environment": (
        "SECRET_KEY = os.environ['OTHER'] = 'from-a-file-beside-the-settings-0123456789'",
        "other-secret-key",
        ["SECRET_KEY: must be one that was given"],
    ),
    "another host": (
        "ALLOWED_HOSTS = ['localhost', 'shop.oldhost.example']",
        "",
        ["ALLOWED_HOSTS: must accept shop.example, is ['localhost', 'shop.oldhost.example']"],
    ),
    "no host": ("ALLOWED_HOSTS = []", "", ["ALLOWED_HOSTS: must accept shop.example, is []"]),
    "a header that Nginx does not send so": (
        "SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'on')",
        "insecure-requests",
        ["SECURE_PROXY_SSL_HEADER: must see HTTPS as HTTPS"],
    ),
    "cookies": (
        "MIDDLEWARE = ['shop_middleware.Sessions', 'django.middleware.csrf.CsrfViewMiddleware']",
        "insecure-cookies",
        ["SESSION_COOKIE_SECURE: must be True, is False", "CSRF_COOKIE_SECURE: must be True, is False"],
    ),
    "cookies of the old host": (
        f"{SECURE}SESSION_COOKIE_DOMAIN = '.oldhost.example'\nCSRF_COOKIE_DOMAIN = 'www.shop.example'",
        "",
        [
            "SESSION_COOKIE_DOMAIN: must be shop.example or a name above it, is '.oldhost.example', from which",
            "CSRF_COOKIE_DOMAIN: must be shop.example or a name above it, is 'www.shop.example'",
        ],
    ),
    "cookies of the site": (
        f"{SECURE}SESSION_COOKIE_DOMAIN = 'Shop.example'\nCSRF_COOKIE_DOMAIN = '.example'",
        None,
        [],
    ),
    "a token in the session": (
        "MIDDLEWARE = ['django.middleware.csrf.CsrfViewMiddleware']\nCSRF_USE_SESSIONS = True",
        None,
        [],
    ),
    "a file": (
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': BASE_DIR / 'db.sqlite3'}}",
        "other-database",
        ['DATABASES["default"]: must be the given database'],
    ),
    "others beside it": (
        OTHERS,
        "note",
        ['DATABASES["old"]: is another database, app@db.oldhost.example:', 'DATABASES["index"]: is a file (index.db)'],
    ),
    "the default that nobody changed": (
        "DATABASES['default'] |= {'HOST': 'localhost', 'PORT': ''}",
        "other-database",
        ["is app@localhost:/pool"],
    ),
    "another database of the server": (
        "DATABASES['default']['NAME'] = 'postgres'",
        "other-database",
        ["/postgres; let the settings read"],
    ),
    "a wrong password": (
        "DATABASES['default']['PASSWORD'] = 'guess'",
        "",
        ['DATABASES["default"]: must connect through the pool, does not: '],
    ),
    "a start-up option": (
        "DATABASES['default']['OPTIONS']['options'] = '-c search_path=stall,public'",
        "startup-options",
        ["must open connections without start-up options, does with '-c search_path=stall,public'"],
    ),
    "a start-up option of libpq": (
        "os.environ['PGOPTIONS'] = '-c statement_timeout=5000'",
        "startup-options",
        ["does with '-c statement_timeout=5000'"],
    ),
    "cursors of the server": (
        "DATABASES['default']['DISABLE_SERVER_SIDE_CURSORS'] = False",
        "note",
        ["should have DISABLE_SERVER_SIDE_CURSORS: True"],
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_settings_that_are_not_what_was_given_are_found(site: Site, name: str) -> None:
    """Each by its setting's name, and nothing else with it."""
    settings, accepted_by, texts = DIFFERENT[name]
    site.project.write("shop_middleware.py", MIDDLEWARE)
    site.project.add("site_settings.py", settings)
    found, problem = site.examine()
    assert problem == ""
    assert found.keys() == ({accepted_by} if texts else set())
    assert len(found.get(str(accepted_by), [])) == len(texts)
    assert [text for text, said in zip(texts, found.get(str(accepted_by), []), strict=True) if text not in said] == []


MODELS = """
from django.core.files.storage import FileSystemStorage
from django.db import models

class Paper(models.Model):
    scan = models.FileField()
    photo = models.ImageField()

    class Meta:
        app_label = "probe"

class Signed(Paper):
    stamp = models.FileField(storage=FileSystemStorage("/tmp"))

    class Meta:
        app_label = "probe"
"""


def test_uploads_that_can_not_be_written_are_said(site: Site) -> None:
    """A folder that is not there can't be made either; the note names it, and each field that keeps files there."""
    site.project.write("probe/models.py", MODELS)
    site.project.add("site_settings.py", "MEDIA_ROOT = 'media'\n")
    found, problem = site.examine()
    assert (found.keys(), problem) == ({"note"}, "")
    [text] = found["note"]
    assert (
        f"files stay, is {site.project.folder}/media; an upload (of probe.Paper.scan, probe.Paper.photo) will" in text
    )


@pytest.mark.parametrize(
    ("settings", "models"),
    [
        ("MEDIA_ROOT = BASE_DIR", MODELS),
        ("MEDIA_ROOT = '/nowhere'", ""),
        ("STORAGES = {'default': {'BACKEND': 'django.core.files.storage.InMemoryStorage'}}", MODELS),
        ("STORAGES = {'default': {'BACKEND': 'nothing.Storage'}}", MODELS),
        ("MEDIA_ROOT = 7", MODELS),
    ],
)
def test_other_uploads_are_not_worth_a_word(site: Site, settings: str, models: str) -> None:
    """A folder that can be written, no uploads, another storage, and one that only an upload would find broken."""
    site.project.write("probe/models.py", models)
    site.project.add("site_settings.py", settings)
    assert site.examine() == ({}, "")


def test_a_key_of_another_name_is_a_given_one(site: Site) -> None:
    """`app.env` or `app.secrets` may give it as any variable."""
    site.given["DJANGO_KEY"] = "the-projects-own-and-secret-0123456789-abcdefghijkl"
    site.project.add("site_settings.py", "SECRET_KEY = os.environ['DJANGO_KEY']")
    assert site.examine() == ({}, "")


CALLABLES = {
    "ASGI": ("from django.core.asgi import get_asgi_application\napplication = get_asgi_application()", True),
    "a router": (
        """
        from django.core.wsgi import get_wsgi_application
        get_wsgi_application()
        class Router:
            async def __call__(self, *arguments, **options):
                pass
        class Channels(Router):
            pass
        application = Channels()
        """,
        True,
    ),
    "the one of two calls": (
        """
        from django.core.wsgi import get_wsgi_application
        get_wsgi_application()
        def application(scope):
            pass
        """,
        True,
    ),
    "a wrapper": (
        """
        from django.core.wsgi import get_wsgi_application
        django = get_wsgi_application()
        def application(environ, start_response):
            return django(environ, start_response)
        """,
        False,
    ),
    "a wrapper that takes anything": (
        """
        from django.core.wsgi import get_wsgi_application
        django = get_wsgi_application()
        class Wrapper:
            def __call__(self, *arguments, **options):
                return django(*arguments, **options)
        application = Wrapper()
        """,
        False,
    ),
}


@pytest.mark.parametrize("name", CALLABLES)
def test_only_what_gunicorn_can_call_is_taken(site: Site, name: str) -> None:
    """An ASGI callable is refused in words, before a visitor gets a TypeError."""
    code, refused = CALLABLES[name]
    site.project.write("site_entry.py", code)
    found, problem = site.examine("site_entry:application")
    assert problem == ""
    assert [text.partition(",")[0] for text in found.get("", [])] == ["app.wsgi: must name a WSGI callable"] * refused


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit(3)", "importing the app ended the program, with status 3"),
        ("import sys; sys.exit()", "importing the app ended the program, with status None"),
        ("raise KeyError('the app')", "KeyError: 'the app'"),
        ("this is no Python", "SyntaxError: invalid syntax"),
    ],
)
def test_an_import_that_fails_is_told(site: Site, code: str, said: str) -> None:
    """With Python's own words, and without this program's own lines."""
    site.project.write("site_wsgi.py", code)
    found, problem = site.examine()
    assert found == {}
    assert problem.splitlines()[-1] == said
    assert "examine.py" not in problem


def test_gunicorns_settings_are_read(site: Site) -> None:
    """A wrong file is refused."""
    site.project.write("gunicorn.conf.py", "workers = 'many'\n")
    assert site.examine()[1].startswith("importing the app ended the program, with status 1")


def test_settings_are_compared_even_where_the_import_fails(site: Site) -> None:
    """A log file that can't be opened is one thing, the wrong database another; both are said at once."""
    site.project.add(
        "site_settings.py",
        """
        DEBUG = True
        LOGGING = {
            "version": 1,
            "handlers": {"file": {"class": "logging.FileHandler", "filename": "/nowhere/debug.log"}},
            "root": {"handlers": ["file"]},
        }
        """,
    )
    found, problem = site.examine()
    assert found.keys() == {"debug"}
    assert "No such file or directory: '/nowhere/debug.log'" in problem
    assert problem.splitlines()[-1] == "ValueError: Unable to configure handler 'file'"


def test_an_app_that_asks_its_tables_when_it_is_imported(site: Site) -> None:
    """That is told as psycopg says it: the agent takes the step again after the migrations."""
    site.project.add("site_urls.py", "from django.contrib.auth.models import Group\nlist(Group.objects.all())\n")
    site.project.add("site_wsgi.py", "import site_urls\n")
    found, problem = site.examine()
    assert found == {}
    assert "UndefinedTable" in problem


def test_a_connection_that_is_refused_is_said_in_the_servers_words(site: Site, server: PostgresServer) -> None:
    """It is the given database, so what is wrong is not the settings' choice of it."""
    with server.as_superuser() as connection:
        connection.execute("ALTER ROLE app CONNECTION LIMIT 0")
    try:
        found, problem = site.examine()
    finally:
        with server.as_superuser() as connection:
            connection.execute("ALTER ROLE app CONNECTION LIMIT -1")
    assert problem == ""
    assert ["too many connections" in text for text in found[""]] == [True]
