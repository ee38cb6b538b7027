"""The app's steps of a release, run by the agent's own code in real projects and a real virtual environment."""

import itertools
import re
import subprocess
import time

import pytest

from agent.app import process
from agent.app.process import KEPT, Tail
from agent.errors import AgentError
from tests.commands import ROOT
from tests.django_project import LIMIT, Project, run
from tests.postgres_server import postgres_server


def test_the_steps_of_a_release_share_one_import(project: Project) -> None:
    """All do what they say, and the app is imported once for each environment."""
    with project.steps() as app:
        assert "System check identified" in (app.manage("check", "--deploy") or "")
        app.manage("collectstatic", "--noinput", "--verbosity", "0")
        assert app.static_settings() == (str(project.folder / "collected"), "/static/")
    assert (project.folder / "collected/site.css").read_text() == "body {}\n"
    assert project.imports() == 1
    project.environment |= {"DJANGO_SUPERUSER_PASSWORD": "swordfish", "DJANGO_SUPERUSER_EMAIL": "a@shop.example"}
    project.environment |= {"DJANGO_SUPERUSER_USERNAME": "admin"}
    with project.steps() as app:
        assert "Applying auth.0001_initial" in (app.manage("migrate", "--noinput") or "")
        assert app.manage("createsuperuser", "--noinput", unless="is already taken") is not None
        assert app.manage("createsuperuser", "--noinput", unless="is already taken") is None
    assert project.imports() == 2
    assert project.left() == {}


# What an import may do that a fork can't share. Then each step imports the app, and finds what it would find alone.
PRIVATE = {
    "a daemon thread": "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
    "a thread": """
        import threading
        def wait():
            threading.main_thread().join()
            print("last words")
        threading.Thread(target=wait).start()
        """,
    "a child": "import subprocess; CHILD = subprocess.Popen(['sleep', '20'], stdout=-3, stderr=-3)",
    "a connection": "import socket; PAIR = socket.socketpair()",
    "a file with a position": "LOG = open('log', 'w')",
    "a temporary directory": "import tempfile; TEMPORARY = tempfile.TemporaryDirectory()",
    "another folder": "import os; os.chdir('/')",
    "a signal handler": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "another value": "import os; os.environ['GIVEN'] = 'changed'",
    "a value less": "import os; del os.environ['GIVEN']",
    "another output": "import sys; sys.stdout.close(); sys.stdout = open('/dev/stderr', 'w')",
    "its arguments": "import sys; FIRST = sys.argv[0]",
    "its command": "import sys; RUNS = 'run' in sys.argv",
}
# What it may do besides.
SHARED = [
    "import os; os.environ['ADDED'] = 'added'",
    "import sys; sys.path.append('/srv/elsewhere'); TESTING = 'test' in sys.argv",
    "FILE, LOG = open(__file__), open('log', 'a')",
    "import atexit; atexit.register(print, 'last words')",
]
FOUND = """
import json, os, signal, sys, threading
from django.conf import settings
print(json.dumps({
    "cwd": os.getcwd(), "argv": sys.argv[:2], "path": sys.path[0], "elsewhere": sys.path.count("/srv/elsewhere"),
    "given": os.environ.get("GIVEN"), "added": os.environ.get("ADDED"), "threads": threading.active_count(),
    "term": str(signal.getsignal(signal.SIGTERM)), "main": __import__("__main__").__file__,
    "temporary": os.path.exists(getattr(getattr(settings, "TEMPORARY", None), "name", "/")),
    "child": getattr(settings, "CHILD", None) and settings.CHILD.poll() is None,
    "testing": getattr(settings, "TESTING", None), "runs": getattr(settings, "RUNS", None),
}))
"""


@pytest.mark.parametrize("name", [*PRIVATE, "what can be shared"])
def test_a_step_finds_what_it_would_find_alone(project: Project, name: str) -> None:
    """Whatever the import does; each step prints, and ends, as `python manage.py` does."""
    project.add("site_settings.py", PRIVATE.get(name) or "\n".join(SHARED))
    alone = subprocess.run(
        [project.python, "manage.py", "run", FOUND],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        timeout=LIMIT,
    ).stdout
    before = project.imports()
    with project.steps() as app:
        assert run(app, FOUND).splitlines() == alone.splitlines()
    assert project.imports() - before == (2 if name in PRIVATE else 1)
    assert project.left() == {}


def test_what_the_import_prints_is_not_in_a_steps_output(project: Project) -> None:
    """Neither before its import nor after it, however it is written."""
    project.add("site_settings.py", "import os; print('from Python', end=''); os.write(1, b'one'); os.write(2, b'two')")
    with project.steps() as app:
        assert run(app, "print('mine')") == "mine\n"
        assert run(app, "import os; print(os.readlink(f'/proc/{os.getppid()}/fd/1'))") == "/dev/null\n"
        assert app.static_settings() == (str(project.folder / "collected"), "/static/")
        with pytest.raises(AgentError) as refused:
            run(app, "raise SystemExit('mine')")
    assert str(refused.value).endswith("ended with status 1\nmine\n")
    assert project.imports() == 1


def test_settings_are_read_however_much_the_app_prints(project: Project) -> None:
    """The answer has a way of its own, also where each step imports the app."""
    project.add("site_settings.py", PRIVATE["a daemon thread"] + '; print(\'["no", "no"]\\n\' * 99999)')
    with project.steps() as app:
        assert app.static_settings() == (str(project.folder / "collected"), "/static/")


def test_no_step_shares_a_connection_of_the_import(project: Project) -> None:
    """The database sees another backend for each step, and the import's own is closed."""
    with postgres_server() as server:
        address = {"ENGINE": "django.db.backends.postgresql", "HOST": str(server.directory), "PORT": server.port}
        project.add(
            "site_settings.py", f"DATABASES = {{'default': {address | {'USER': 'postgres', 'NAME': 'postgres'}}}}\n"
        )
        backend = "__import__('django.db').db.connection.cursor().execute('SELECT pg_backend_pid()').fetchone()[0]"
        project.add("site_wsgi.py", f"FIRST = {backend}\n")
        code = f"import site_wsgi\nprint(site_wsgi.FIRST, {backend})"
        with project.steps() as app:
            (imported, first), (again, second) = (run(app, code).split() for _ in range(2))
            assert imported == again
            assert len({imported, first, second}) == 3
            ours = [int(imported), int(first), int(second)]
            with server.as_superuser() as connection:
                end = time.monotonic() + LIMIT
                query = "SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s)"
                while there := connection.execute(query, [ours]).fetchall():  # a backend ends after its client
                    assert time.monotonic() < end, there
    assert project.imports() == 1


CHILDREN = """
import os, pathlib, subprocess, sys, time
print("started", flush=True)
same = subprocess.Popen(["sleep", "600"])
other = subprocess.Popen(["sleep", "600"], start_new_session=True)
if (middle := os.fork()) == 0:
    os.setsid()
    if (daemon := os.fork()) == 0:
        while True:
            time.sleep(600)
    pathlib.Path("daemon").write_text(str(daemon))
    os._exit(0)
os.waitpid(middle, 0)
pathlib.Path("same").write_text(str(same.pid))
pathlib.Path("other").write_text(str(other.pid))
print("with children", flush=True)
"""


def test_a_step_that_hangs_is_killed_with_all_that_it_started(project: Project) -> None:
    """At its limit, which is its own; what it had printed is shown, and the next step runs."""
    ticks: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "PULSE", 0.1)
        with project.steps(deadline=3, tick=lambda: ticks.append(time.monotonic())) as app:
            run(app, "import time; time.sleep(1.5)")
            with pytest.raises(AgentError) as refused:
                run(app, CHILDREN + "time.sleep(600)")
            assert "did not end within 3 s\nstarted\nwith children\n" in str(refused.value)
            assert not any(project.runs(name) for name in ("same", "other", "daemon"))
            assert run(app, "print(1)") == "1\n"
    assert max(later - sooner for sooner, later in itertools.pairwise(ticks)) < 2


def test_what_a_step_leaves_running_ends_with_it(project: Project) -> None:
    """A grandchild that keeps the output open holds nobody up, and neither it nor a daemon stays."""
    with project.steps() as app:
        assert run(app, CHILDREN) == "started\nwith children\n"
        assert not any(project.runs(name) for name in ("same", "other", "daemon"))
        assert run(app, "print(1)") == "1\n"
    assert project.left() == {}


def test_the_last_words_of_a_grandchild_are_heard(project: Project) -> None:
    """What still prints when the step has ended has a moment for it."""
    with project.steps() as app:
        assert run(app, "import subprocess; subprocess.Popen(['sh', '-c', 'sleep 0.5; echo late'])") == "late\n"


def test_a_step_that_closes_everything_has_its_status(project: Project) -> None:
    """The talk with the agent goes on elsewhere."""
    with project.steps() as app:
        run(app, "import os; os.closerange(0, 256)")
        with pytest.raises(AgentError, match="ended with status 7"):
            run(app, "import os; os.closerange(0, 256); os._exit(7)")


def test_a_step_has_no_descriptor_but_its_output(project: Project) -> None:
    """Nothing through which it could speak for another step."""
    code = "import os\nprint(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
    with project.steps() as app:
        assert run(app, code) == "[0, 1, 2]\n"


def test_a_step_that_kills_its_parent_fails_alone(project: Project) -> None:
    """Its output is shown, and the next one has a new process."""
    with project.steps() as app:
        with pytest.raises(AgentError) as refused:
            run(app, "import os, time; print('before', flush=True); os.kill(os.getppid(), 9); time.sleep(600)")
        assert " was killed, most likely for lack of memory: the Droplet has " in str(refused.value)
        assert str(refused.value).endswith("; choose a larger web.size\nbefore\n")
        assert run(app, "print(1)") == "1\n"
        with pytest.raises(AgentError, match="ended with status -15"):
            run(app, "import os; os.kill(0, 15)")  # its own group only
        with pytest.raises(AgentError, match=r"was killed, most likely for lack of memory: .*larger web.size\nlast\n$"):
            run(app, "import os; print('last', flush=True); os.kill(os.getpid(), 9)")
        assert run(app, "print(2)") == "2\n"
    assert project.left() == {}
    assert project.imports() == 2


def test_a_step_that_fails_leaves_nothing_to_the_next(project: Project) -> None:
    """Neither a variable, nor a folder, nor a module."""
    with project.steps() as app:
        with pytest.raises(AgentError) as refused:
            run(app, "import os, sys; os.environ['GIVEN'] = 'x'; os.chdir('/'); sys.path.clear(); raise ValueError(5)")
        assert str(refused.value).startswith("`manage.py run import os, sys")
        assert "ended with status 1\nTraceback" in str(refused.value)
        assert "app_steps.py" not in str(refused.value)  # how it is run says nothing about the app
        assert str(refused.value).endswith("ValueError: 5\n")
        assert run(app, "import os; print(os.environ['GIVEN'], os.getcwd())") == f"as given {project.folder}\n"
    assert project.imports() == 1


def test_of_a_long_output_the_last_part_is_kept(project: Project) -> None:
    """In whole lines, because a part of one may hold a part of a secret; what is kept has a bound."""
    with project.steps() as app, pytest.raises(AgentError) as refused:
        run(app, "for n in range(400000): print('line of some length', n)\nraise SystemExit('last words')")
    lines = str(refused.value).splitlines()
    assert lines[-1] == "last words"
    assert len(lines) > 1000
    assert {line.rpartition(" ")[0] for line in lines[3:-1]} == {"line of some length"}
    assert len(str(refused.value)) < 2 * KEPT + 1000


def test_the_memory_for_an_output_has_a_bound() -> None:
    """A line that never ends is not shown at all."""
    tail = Tail()
    for _ in range(200):
        tail.add(b"x" * 65536)
        assert len(tail._kept) <= 2 * KEPT
    assert tail.text() == f"(one line of more than {KEPT} bytes)"


COOKIECUTTER = """
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
    from django.core.management import execute_from_command_line

    sys.path.append(str(Path(__file__).parent.resolve() / "shop"))
    execute_from_command_line(sys.argv)
"""
OWN_VARIABLES = """
import os
import sys

if __name__ == "__main__":
    for line in open("variables"):
        os.environ.setdefault(*line.split())
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""


def test_a_manage_py_that_changes_the_path(project: Project) -> None:
    """As that of cookiecutter-django; what it adds is found by its commands."""
    project.write("manage.py", COOKIECUTTER)
    project.write("shop/basket.py", "HELD = 3\n")
    with project.steps() as app:
        assert run(app, "import basket; print(basket.HELD)") == "3\n"
    assert project.imports() == 1


def test_a_manage_py_that_prepares_the_environment(project: Project) -> None:
    """Settings that were loaded without its variables don't count for a command."""
    project.write("variables", "COLOUR teal\n")
    project.write("manage.py", OWN_VARIABLES)
    project.add("site_settings.py", "COLOUR = os.environ.get('COLOUR', 'none')\n")
    with project.steps() as app:
        assert run(app, "from django.conf import settings; print(settings.COLOUR)") == "teal\n"
        with pytest.raises(AgentError, match="Unknown command: 'dance'"):
            app.manage("dance")


def test_an_app_without_static_files(project: Project) -> None:
    """The refusal that is expected is not a failure; another one is."""
    project.add("site_settings.py", "INSTALLED_APPS.remove('django.contrib.staticfiles')\n")
    with project.steps() as app:
        assert app.manage("collectstatic", "--noinput", unless="Unknown command: 'collectstatic'") is None
        with pytest.raises(AgentError, match="Unknown command: 'collectstatic'"):
            app.manage("collectstatic", "--noinput", unless="is already taken")


def test_the_agents_modules_are_not_the_apps(project: Project) -> None:
    """An app may have modules of the same names, and finds its own folder first."""
    names = sorted(path.stem for path in process.PROGRAM.parent.glob("*.py") if not path.stem.startswith("__"))
    code = (
        f"import importlib.util, sys\nprint(sys.path[0], [name for name in {names} if importlib.util.find_spec(name)])"
    )
    with project.steps() as app:
        assert run(app, code) == f"{project.folder} []\n"


def test_an_import_that_hangs_is_killed_at_the_limit(project: Project) -> None:
    """And says so; nothing of it is left."""
    project.add("site_wsgi.py", "import time; print('waits', flush=True); time.sleep(600)\n")
    with project.steps(deadline=2) as app:
        with pytest.raises(AgentError, match="`the import of site_wsgi:application` did not end within 2 s\nwaits"):
            app.static_settings()
        assert project.left() == {}


def test_the_databases_cache_gets_its_table_by_the_migration_of_the_docs(project: Project) -> None:
    """As docs/not-yet.md has it, in place of a command that no release runs."""
    [migration] = re.findall(r"(?s)```python\n(.*?)```", (ROOT / "docs/not-yet.md").read_text())
    project.write("shop/__init__.py", "")
    project.write("shop/migrations/__init__.py", "")
    first = "from django.db import migrations\nclass Migration(migrations.Migration): pass\n"
    project.write("shop/migrations/0001_initial.py", first)
    project.write("shop/migrations/0002_cache.py", migration)
    caches = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cached"}}
    project.add("site_settings.py", f"INSTALLED_APPS.append('shop')\nCACHES = {caches}\n")
    with project.steps() as app:
        app.manage("migrate", "--noinput")
        counted = "from django.core.cache import cache; cache.add('n', 0); print(cache.incr('n'))"
        assert run(app, counted) == "1\n"
