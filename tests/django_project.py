"""A Django project in a temporary folder, and the release agent's steps in it."""

import subprocess
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agent.app.steps import AppSteps
from tests.processes import session

APP = Path(__file__).parents[1] / "app"
LIMIT = 120  # seconds for a step that is expected to end

SETTINGS = """
import os
from pathlib import Path

with Path(__file__).with_name("imports").open("a") as log:
    log.write(f"{os.getpid()}\\n")

BASE_DIR = Path(__file__).parent
SECRET_KEY = "long-and-random-enough-for-the-deployment-check-0123456789"
ALLOWED_HOSTS = ["shop.example"]
ROOT_URLCONF = "site_urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.staticfiles", "probe"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "collected"
"""
MANAGE = """
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""
WSGI = """
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
application = get_wsgi_application()
"""
URLS = """
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse(request.get_host() + request.scheme))]
"""
# A command that does what a test wants: `manage.py run CODE`.
COMMAND = """
from django.core.management.base import BaseCommand

class Command(BaseCommand):
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("code")

    def handle(self, *args, code, **options):
        exec(code, {})
"""


class Project:
    """A Django project in a folder of its own, and the steps that run in it."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder = folder
        self.python = python
        self.environment = {"DJANGO_SETTINGS_MODULE": "site_settings", "GIVEN": "as given"}
        self.leaders: list[int] = []
        for name, text in {
            "site_settings.py": SETTINGS,
            "site_wsgi.py": WSGI,
            "site_urls.py": URLS,
            "manage.py": MANAGE,
            "gunicorn.conf.py": "workers = 2\n",
            "probe/__init__.py": "",
            "probe/management/commands/run.py": COMMAND,
            "probe/static/site.css": "body {}\n",
        }.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        """Make a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def add(self, name: str, text: str) -> None:
        """Add to the end of a file."""
        with (self.folder / name).open("a") as file:
            file.write(textwrap.dedent(text))

    def imports(self) -> int:
        """How many processes have imported the settings."""
        path = self.folder / "imports"
        return len(path.read_text().split()) if path.exists() else 0

    def popen(
        self,
        command: list[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        **options: Any,  # noqa: ANN401 - subprocess.Popen's
    ) -> subprocess.Popen[bytes]:
        """Start a program as the agent does, but for the user, which is the test's own."""
        variables = {"HOME": str(self.folder), "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin", **environment}
        process = subprocess.Popen(
            command, cwd=directory, env=variables, start_new_session=True, umask=0o022, **options
        )
        self.leaders.append(process.pid)
        return process

    def steps(self, *, deadline: float = LIMIT, tick: Callable[[], None] = lambda: None) -> AppSteps:
        """The steps of a release of this project."""
        return AppSteps(
            popen=self.popen,
            python=self.python,
            directory=self.folder,
            environment=self.environment,
            wsgi="site_wsgi:application",
            deadline=deadline,
            tick=tick,
            gunicorn_config=str(self.folder / "gunicorn.conf.py"),
        )

    def left(self) -> dict[int, str]:
        """Processes that are still in a session of the steps."""
        return {pid: line for leader in self.leaders for pid, line in session(leader).items()}

    def runs(self, name: str) -> bool:
        """Whether the process is there whose id a step wrote to this file."""
        command = Path("/proc", (self.folder / name).read_text().strip(), "cmdline")
        return command.exists() and command.read_bytes() != b""  # a dead one that nobody has waited for has none


def run(app: AppSteps, code: str) -> str:
    """Run some code as a step; what it printed."""
    return app.manage("run", textwrap.dedent(code)) or ""
