"""Releases that can't work: `pulumi up` ends with the Droplet's own text, and the old release serves all the while."""

import json
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from sandbox.parts.databases import clusters
from tests.commands import ROOT
from tests.internet_side import python
from tests.pulumi_stack import PulumiStack, Settings
from tests.stack.test_site import cluster, droplet
from tests.worlds import Deployment

pytestmark = pytest.mark.full

AT_ONCE = 60  # seconds, from `pulumi up` to its end


def append(path: str, text: str) -> Callable[[Path], None]:
    """Add text to the end of a file of the app."""

    def spoil(app: Path) -> None:
        with (app / path).open("a") as file:
            file.write(text)

    return spoil


MIGRATION = """
from django.db import migrations

def give_up(apps, schema_editor):
    raise ValueError("there are two polls of that name")

class Migration(migrations.Migration):
    dependencies = [("polls", "0002_sample_poll")]
    operations = [migrations.RunPython(give_up)]
"""

# Each is refused before its own migration, `polls.0003_more`, has reached the database.
MORE = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("polls", "0002_sample_poll")]
    operations = [migrations.AddField("question", "more", models.IntegerField(null=True))]
"""
LOG_FILE = """
LOGGING = {
    "version": 1,
    "handlers": {"file": {"class": "logging.FileHandler", "filename": BASE_DIR / "debug.log"}},
    "root": {"handlers": ["file"]},
}
"""
# ASGI as no preview can see it: neither by the module's name nor by the function that made it.
ENTRY = """
import django

django.setup()


class Entry:
    async def __call__(self, scope, receive, send):
        raise NotImplementedError


application = Entry()
"""
# What is spoilt, in the app and in the settings, and what is said.
BEFORE_MIGRATE: dict[str, tuple[Callable[[Path], None], Settings, tuple[str, ...]]] = {
    "settings of another place": (
        append(
            "mysite/settings.py",
            "\nDEBUG = True\nALLOWED_HOSTS = ['localhost']\nSESSION_COOKIE_SECURE = False\n"
            "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': BASE_DIR / 'db.sqlite3'}}\n",
        ),
        {},
        (
            "DEBUG: must be False, is True",
            "or accept it: app.allow: [debug]",
            "ALLOWED_HOSTS: must accept polls.example, is ['localhost']",
            'DATABASES["default"]: must be the given database, app@',
            "SESSION_COOKIE_SECURE: must be True, is False",
        ),
    ),
    "an option that the pool does not take": (
        append("mysite/settings.py", "\nDATABASES['default']['OPTIONS'] = {'options': '-c statement_timeout=5000'}\n"),
        {},
        (
            'DATABASES["default"]: must open connections that a transaction pool takes',
            "unsupported startup parameter in options: statement_timeout",
        ),
    ),
    "a log file beside the code": (
        append("mysite/settings.py", LOG_FILE),
        {},
        (
            "`import mysite.wsgi:application` must work as Gunicorn runs it",
            "let it log to the console, the journal keeps that",
            "debug.log'",
        ),
    ),
    "a system call that Gunicorn may not make": (
        append("mysite/settings.py", "\nimport os\nos.sched_setaffinity(0, os.sched_getaffinity(0))\n"),
        {},
        (
            "`import mysite.wsgi:application` ended before its time, with code=",
            "status=31/SYS; it made a system call that an app may not make",
        ),
    ),
    "an ASGI callable": (
        append("mysite/entry.py", ENTRY),
        {"app.wsgi": "mysite.entry:application"},
        ("app.wsgi: must name a WSGI callable, mysite.entry:application is an ASGI one or takes other arguments",),
    ),
}

BROKEN = {
    "a migration that fails": (
        append("polls/migrations/0003_fails.py", MIGRATION),
        ("manage.py migrate", "0003_fails", "ValueError: there are two polls of that name"),
    ),
    "an import error": (
        append("polls/views.py", "\nfrom polls.models import Ballot\n"),
        ("polls/views.py", "ImportError: cannot import name 'Ballot' from 'polls.models'"),
    ),
    "a dependency that is not locked": (
        append("mysite/settings.py", '\nINSTALLED_APPS += ["rest_framework"]\n'),
        ("ModuleNotFoundError: No module named 'rest_framework'",),
    ),
    "a first page that fails": (
        append("mysite/urls.py", '\nurlpatterns.insert(0, path("", lambda request: 1 / 0))\n'),
        ("mysite/urls.py", "ZeroDivisionError: division by zero"),
    ),
}


def rows(table: Iterable[str], *always: str) -> list[ParameterSet]:
    """Return the rows of a table; `make test` plays some, `make prove` all."""
    return [pytest.param(name, marks=[] if name in always else [pytest.mark.prove]) for name in table]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A copy of the sample app, to be broken."""
    copy = tmp_path / "app"
    shutil.copytree(ROOT / "app", copy, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
    return copy


def serving(deployed: Deployment) -> str:
    """The release that the public URL names."""
    health = json.loads(deployed.exec("curl", "--silent", "--fail", f"{deployed.url}/healthz").stdout)
    return str(health["release"])


def desired(deployed: Deployment) -> str:
    """The release that the Droplets are told to run."""
    bucket = deployed.outputs["buckets"]["releases"]  # type: ignore[index]
    read = 'answer = json.loads(s3().get_object(Bucket=given["bucket"], Key="desired.json")["Body"].read())["release"]'
    return str(python(deployed.world, read, bucket=bucket))


@pytest.mark.parametrize("name", rows(BROKEN, "an import error", "a migration that fails"))
def test_a_broken_release_ends_with_the_droplets_own_text(deployed: Deployment, app: Path, name: str) -> None:
    """Within a minute; nothing of it serves, the Droplets are told the good release again, and no secret is shown."""
    spoil, texts = BROKEN[name]
    spoil(app)
    stack = PulumiStack(deployed.world)
    before = serving(deployed)
    started = time.monotonic()
    failed = stack.run("up", "--yes", "--skip-preview", settings={"app.path": str(app)}, check=False)
    seconds = time.monotonic() - started

    output = failed.stdout + failed.stderr
    assert failed.returncode != 0
    assert [text for text in texts if text not in output] == [], output
    assert seconds < AT_ONCE
    assert (serving(deployed), desired(deployed)) == (before, before)
    for secret in stack.resources()["environment"]["inputs"]["document"], deployed.outputs["superuser_password"]:
        assert str(secret) not in output


def migrations(deployed: Deployment) -> set[str]:
    """What the database has of the app's migrations."""
    asked = ["psql", "-p", str(clusters.PORT), "-U", "postgres", "-d", "app", "-At", "-c"]
    asked += ["SELECT name FROM django_migrations WHERE app = 'polls'"]
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    return {*cluster(deployed).run([*as_postgres, *asked]).stdout.split()}


@pytest.mark.parametrize("name", rows(BEFORE_MIGRATE, "settings of another place"))
def test_what_can_be_known_before_migrate_ends_a_release_before_it(deployed: Deployment, app: Path, name: str) -> None:
    """With the line to change; the database and what serves are as they were."""
    spoil, settings, texts = BEFORE_MIGRATE[name]
    spoil(app)
    (app / "polls/migrations/0003_more.py").write_text(MORE)
    before = serving(deployed), migrations(deployed)
    failed = PulumiStack(deployed.world).run(
        "up", "--yes", "--skip-preview", settings={"app.path": str(app), **settings}, check=False
    )
    output = failed.stdout + failed.stderr
    assert failed.returncode != 0
    assert [text for text in texts if text not in output] == [], output
    assert (serving(deployed), migrations(deployed)) == before


def test_what_visitors_would_meet_is_met_by_the_candidate(deployed: Deployment, app: Path) -> None:
    """A redirect to a name that is not served; the text says what stays in the database, and who serves on it."""
    append("mysite/settings.py", "\nPREPEND_WWW = True\nALLOWED_HOSTS += ['www.polls.example']\n")(app)
    (app / "polls/migrations/0003_stays.py").write_text(MORE.replace('"more"', '"stays"'))
    before = serving(deployed)
    failed = PulumiStack(deployed.world).run(
        "up", "--yes", "--skip-preview", settings={"app.path": str(app)}, check=False
    )
    output = failed.stdout + failed.stderr
    assert "/: must be answered at polls.example, leads to www.polls.example" in output, output
    assert f"These migrations stay in the database, on which release {before} serves: polls.0003_stays" in output
    assert serving(deployed) == before
    assert "0003_stays" in migrations(deployed)
    assert droplet(deployed).run(["systemctl", "is-active", "gunicorn-candidate.service"], check=False).returncode != 0


def test_what_visitors_of_a_release_would_miss_is_a_warning(deployed: Deployment, app: Path) -> None:
    """It serves all the same: a script that no build has made, uploads to the disk, a page of refusals that fails."""
    append("mysite/templates/base.html", '<script src="/static/bundle.js"></script>\n')(app)
    append("mysite/urls.py", "\nhandler404 = lambda request, exception: 1 / 0\n")(app)
    append(
        "mysite/settings.py",
        "\nSTORAGES['default'] = {'BACKEND': 'django.core.files.storage.FileSystemStorage'}\n",
    )(app)
    stack = PulumiStack(deployed.world)
    done = stack.run("up", "--yes", "--skip-preview", settings={"app.path": str(app)})
    output = " ".join((done.stdout + done.stderr).split())
    said = (
        "/ names what a browser does not get: /static/bundle.js (answers 500); was a build forgotten?",
        "/app/media; an upload (of polls.",
        "the page for what is not found fails itself: /no-such-page-a-release-is-looked-at/: answered 500, an error of",
    )
    assert [text for text in said if text not in output] == [], output
    assert serving(deployed) == stack.outputs()["release"]


def test_the_next_good_release_heals_it(deployed: Deployment, app: Path) -> None:
    """A change that works is rolled out as if nothing had happened."""
    stack = PulumiStack(deployed.world)
    before = serving(deployed)
    BROKEN["an import error"][0](app)
    assert stack.run("up", "--yes", "--skip-preview", settings={"app.path": str(app)}, check=False).returncode != 0

    (app / "polls/views.py").write_text((ROOT / "app/polls/views.py").read_text() + "\n# fixed\n")
    stack.up(settings={"app.path": str(app)})
    assert serving(deployed) == stack.outputs()["release"] != before
