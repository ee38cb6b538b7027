"""What people are told of a release that serves and is not all right, and of an error that a visitor has met."""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.machines import machine
from tests.commands import ROOT
from tests.pulumi_stack import PulumiStack
from tests.worlds import Deployment

pytestmark = pytest.mark.full

COMMAND = """
from django.core.management.base import BaseCommand

class Command(BaseCommand):
    def handle(self, *args, **options):
        input("Who are you? ")
"""
URLS = """
from django.http import HttpResponse

def owned(request):
    return HttpResponse(headers={"X-Request-Id": "the-apps-own"})

urlpatterns += [path("broken", lambda request: 1 / 0), path("owned", owned)]
"""
ID = re.compile(r"(?im)^x-request-id: (\S+)\r?$")


@pytest.fixture
def app(deployed: Deployment, tmp_path: Path) -> Iterator[Path]:
    """The sample app, with a page that fails and a createsuperuser of its own."""
    copy = tmp_path / "app"
    shutil.copytree(ROOT / "app", copy, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
    commands = copy / "polls/management/commands"
    commands.mkdir(parents=True)
    (commands / "createsuperuser.py").write_text(COMMAND)
    with (copy / "mysite/urls.py").open("a") as urls:
        urls.write(URLS)
    yield copy
    PulumiStack(deployed.world).up()  # the sample again, for the tests to come


def test_an_error_is_found_by_the_id_that_its_visitor_has(deployed: Deployment, app: Path) -> None:
    """Nginx's, not the visitor's own; in the journal with the traceback, in the access log, and never the query."""
    stack = PulumiStack(deployed.world)
    done = stack.run("up", "--yes", "--skip-preview", settings={"app.path": str(app)})
    said = re.sub(r"\s+", " ", done.stdout + done.stderr)
    assert "no superuser was made: `manage.py createsuperuser --noinput` ended with status 2: " in said
    assert "let the project's command take --noinput, or set app.superuser: false" in said

    def ask(path: str) -> list[str]:
        command = ("curl", "--silent", "--include", "--header", "X-Request-Id: a-visitors", f"{deployed.url}{path}")
        return ID.findall(deployed.exec(*command).stdout)

    [droplet] = stack.outputs()["droplet_ids"]
    web = machine.load_machine(deployed.world, f"d{droplet}")
    [error] = ask("/broken?token=swordfish")
    assert re.fullmatch("[0-9a-f]{32}", error)
    line = f"error {error} GET /broken: ZeroDivisionError('division by zero')\n"
    assert web.journal("--unit=gunicorn.service", "--output=cat", "--priority=err").endswith(line)
    journal = web.journal("--unit=gunicorn.service", "--output=cat").partition(line)[2]
    assert journal.count("\nZeroDivisionError: division by zero") == 1  # by the sample's own LOGGING
    assert "swordfish" not in journal
    asked = re.compile(rf'"GET /broken\?token=swordfish HTTP/[0-9.]+" 500 .* {error}$', re.MULTILINE)
    end = time.monotonic() + 30  # Nginx writes once a second
    while not asked.search(log := (web.upper / "var/log/nginx/access.log").read_text()):
        assert time.monotonic() < end, log
        time.sleep(0.2)
    assert ask("/owned") == ["the-apps-own"]
    assert len(ask("/")) == 1
