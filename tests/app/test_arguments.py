"""What an app finds in sys.argv, in each step of a release."""

import json
import subprocess

from agent.app.confined import PROGRAM
from tests.django_project import LIMIT, Project, run

READS_ITS_COMMAND = """
import sys
if len(sys.argv) > 0 and sys.argv[1] != 'collectstatic':  # as a sample of DigitalOcean's has it
    CONNECTED = True
COLLECTS = sys.argv[1:2] == ['collectstatic']
PROGRAM = sys.argv[0].rpartition('/')[2]
"""


def test_settings_may_read_their_command(project: Project) -> None:
    """Each step has the arguments that a program has, and no others."""
    project.add("site_settings.py", READS_ITS_COMMAND)
    project.write(
        "probe/management/commands/collectstatic.py",
        """
        from django.conf import settings
        from django.core.management.base import BaseCommand

        class Command(BaseCommand):
            def handle(self, *args, **options):
                print(hasattr(settings, "CONNECTED"), settings.COLLECTS, settings.PROGRAM)
        """,
    )
    project.add("site_settings.py", "INSTALLED_APPS.remove('django.contrib.staticfiles')\n")
    project.add("site_wsgi.py", "from django.conf import settings\nassert settings.PROGRAM == 'gunicorn'\n")
    asked = "from django.conf import settings; print(settings.CONNECTED, settings.COLLECTS, settings.PROGRAM)"
    with project.steps() as app:
        assert app.static_settings() == (str(project.folder / "collected"), "/static/")
        assert app.manage("collectstatic") == "False True manage.py\n"
        assert run(app, asked) == "True False manage.py\n"
    names = {"domain": "shop.example", "database": "", "wsgi": "site_wsgi:application"}
    expected = json.dumps(names | {"gunicorn_config": str(project.folder / "gunicorn.conf.py")})
    command = [project.python, PROGRAM, expected]
    done = subprocess.run(
        command, cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, check=True, timeout=LIMIT
    )
    assert json.loads(done.stdout)["problem"] == ""
