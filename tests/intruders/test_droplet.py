"""What the Droplet's own users reach: `django` in Gunicorn's sandbox and without it, and `release`."""

import json
from base64 import b64encode
from secrets import token_urlsafe
from typing import Any

import pytest

from sandbox.machines.machine import Machine
from tests.intruders.hunt import Secrets, as_user, found_in, found_on

pytestmark = pytest.mark.full

METADATA = "http://169.254.169.254/metadata/v1/"
UNIT = "/etc/systemd/system/gunicorn.service"
CREDENTIALS = "/run/credentials/gunicorn.service/environment"
# The secrets that an app needs to serve; all others are none of its business.
APPS = {"app.password", "app-key.secretKey", "secret-key.value"}
AGENTS = "agent-key.secretKey"
PAST_NGINX = ["curl", "--silent", "--unix-socket", "/run/gunicorn.sock", "http://localhost/healthz"]
# The agent's own ways in; Nginx listens there whether there is a candidate or not.
LOOK = ["curl", "--silent", "--write-out", "%{http_code}", "http://localhost/healthz", "--unix-socket"]
LOOKS = [[*LOOK, f"/run/look/{which}.sock"] for which in ("current", "candidate")]
REFUSED = "[Errno 113] No route to host"

# What somebody would try who can make Gunicorn run code.
INTRUDER = """
import json, os, stat, urllib.request
from pathlib import Path

KINDS = (stat.S_IFREG, stat.S_IFDIR)

def attempt(call, *arguments):
    try:
        return str(call(*arguments))
    except OSError as error:
        return str(getattr(error, "reason", error))

def writable():
    for top, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(top, name) not in ("/proc", "/sys")]
        paths = [top, *(os.path.join(top, name) for name in files)]
        yield from (path for path in paths if stat.S_IFMT(os.lstat(path).st_mode) in KINDS and os.access(path, os.W_OK))

processes = {path.stat().st_uid for path in Path("/proc").glob("[0-9]*")}
settings = json.loads(Path(os.environ["CREDENTIALS_DIRECTORY"], "environment").read_text())
print(json.dumps({
    "user": [os.getuid(), os.getgroups()],
    "metadata": attempt(urllib.request.urlopen, "http://169.254.169.254/metadata/v1/user-data"),
    "signal": attempt(os.kill, 1, 0),
    "files": {path: attempt(open, path) for path in FILES},
    "writable": sorted(writable()),
    "processes": sorted(processes),
    "credentials": json.dumps(settings),
}))
"""
# Secrets are in each of these.
FILES = (
    "/etc/release-agent/config.json",
    "/etc/nginx/tls/site.pem",
    "/srv/app/current/environment.json",
    "/var/lib/cloud/instance/user-data.txt",
    "/var/lib/cloud/instance/obj.pkl",
    "/run/cloud-init/combined-cloud-config.json",
    "/proc/1/environ",
)


def inside_gunicorn(web: Machine, program: str) -> str:
    """Run Python where Gunicorn runs: its own unit, with another program in it."""
    unit = web.run(["cat", UNIT]).stdout
    for ours, instead in (
        ("Type=notify\n", "Type=oneshot\nStandardOutput=truncate:/run/intruder.out\n"),
        ("-I /usr/local/lib/web/run-gunicorn.py\n", "-I /run/intruder.py\n"),
        ("Restart=on-failure\n", ""),
        ("Requires=gunicorn.socket\n", ""),
    ):  # fmt: skip
        assert unit.count(ours) == 1, unit
        unit = unit.replace(ours, instead)
    web.run(["tee", "/run/systemd/system/intruder.service"], input=unit)
    web.run(["tee", "/run/intruder.py"], input=program)
    try:
        web.run(["systemctl", "daemon-reload"])
        web.run(["systemctl", "start", "intruder.service"])
        return web.run(["cat", "/run/intruder.out"]).stdout
    finally:
        web.run(["sh", "-c", "rm -f /run/systemd/system/intruder.service /run/intruder.*; systemctl daemon-reload"])


def test_code_in_gunicorn_has_its_own_settings_and_nothing_else(web: Machine, secrets: Secrets) -> None:
    """No metadata, no file with a secret, no process of another user, nothing to write to but temporary folders."""
    seen: dict[str, Any] = json.loads(inside_gunicorn(web, f"FILES = {FILES!r}\n{INTRUDER}"))
    django = int(web.run(["id", "-u", "django"]).stdout)
    assert seen["user"] == [django, [django]]
    assert seen["metadata"] == REFUSED
    # "No such file": processes of others can't even be seen.
    missing, denied = "No such file or directory", "Permission denied"
    assert {path: answer.split("] ")[-1].split(":")[0] for path, answer in seen["files"].items()} == {
        path: missing if path.startswith("/proc") else denied for path in FILES
    }
    assert seen["signal"] == "[Errno 1] Operation not permitted"
    assert seen["writable"] == ["/dev/mqueue", "/dev/shm", "/tmp", "/var/tmp"]  # noqa: S108 - the last two private
    assert seen["processes"] == [django]
    assert found_in(seen["credentials"], secrets) == APPS


def test_gunicorns_environment_is_the_apps(web: Machine, secrets: Secrets) -> None:
    """What the real processes were started with has the app's secrets and no other."""
    environ = web.run(["sh", "-c", "cat /proc/$(systemctl show --value --property MainPID gunicorn)/environ"]).stdout
    assert found_in(environ, secrets) == APPS


def test_users_read_no_secret_on_the_disk_but_gunicorns_own(web: Machine, secrets: Secrets) -> None:
    """Every file of the machine, searched as each user; as root it is where it should be, which is the control."""
    others = ("acme", "release", "www-data")
    assert {user: found_on(web, user, secrets) for user in others} == {user: {} for user in others}
    assert found_on(web, "django", secrets) == {name: {CREDENTIALS} for name in APPS}
    roots = found_on(web, "root", secrets)
    assert roots.keys() == {*APPS, AGENTS}
    release = web.run(["readlink", "/srv/app/current"]).stdout.strip()
    for name in APPS:
        assert {CREDENTIALS, f"{release}/environment.json"} <= roots[name]
        assert {path for path in roots[name] if not path.startswith("/srv/app/releases/")} == {CREDENTIALS}
    places = ("/etc/release-agent/config.json", "/var/lib/cloud/", "/run/cloud-init/")
    assert {path for path in roots[AGENTS] if not path.startswith(places)} == set()
    assert places[0] in roots[AGENTS]


@pytest.mark.parametrize("user", ["django", "release", "www-data"])
def test_users_can_not_ask_the_metadata_service(web: Machine, secrets: Secrets, user: str) -> None:
    """Refused at once, the user data above all; root gets it, and the one secret in it is the agent's key."""
    ask = ["curl", "--silent", "--show-error", "--max-time", "5", METADATA]
    for path in ("", "id", "user-data"):
        done = web.run([*as_user(user), *ask[:-1], METADATA + path], check=False)
        assert (done.returncode, done.stdout) == (7, ""), done
    given = web.run([*ask[:-1], METADATA + "user-data"]).stdout
    assert given.startswith("#cloud-config")
    assert found_in(given, secrets) == {AGENTS}


# Prints what /proc tells of every process.
PROCESSES = """
import pathlib
for process in pathlib.Path("/proc").iterdir():
    for path in (process / "environ", process / "cmdline"):
        try:
            print(path, path.read_bytes().decode(errors="replace"))
        except OSError as error:
            print(path, type(error).__name__)
"""


def test_users_see_no_secret_of_other_processes(web: Machine, secrets: Secrets) -> None:
    """A release step's environment has the migrator's password, and `django` can't read it while it runs."""
    settings = ["--setenv", f"DATABASE_URL=postgres://migrator:{secrets['migrator.password']}@db/app"]
    web.run(["systemd-run", "--unit=release-step", "--uid=release", *settings, "sleep", "60"])
    pid = web.run(["systemctl", "show", "--value", "--property=MainPID", "release-step"]).stdout.strip()
    try:
        seen = {
            user: web.run([*as_user(user), "python3", "-c", PROCESSES]).stdout for user in ("django", "release", "root")
        }
    finally:
        web.run(["systemctl", "stop", "release-step.service"])
    assert {user: found_in(text, secrets) for user, text in seen.items()} == {
        "django": set(),  # not even of Gunicorn, whose user namespace is another
        "release": {"migrator.password"},
        "root": {*APPS, "migrator.password"},
    }
    assert f"/proc/{pid}/environ PermissionError" in seen["django"]


@pytest.mark.parametrize("user", ["django", "release"])
def test_users_can_not_become_more(web: Machine, user: str) -> None:
    """No unit obeys them, the journal is closed, and neither the agent nor its unit is theirs to write."""
    for command in (
        ["systemctl", "restart", "nginx.service"],
        ["systemctl", "start", "release-agent.service"],
        ["systemd-run", "--wait", "true"],
        ["sh", "-c", "journalctl --quiet --unit release-agent.service | grep -q ."],
        ["test", "-w", "/usr/local/lib/web/start.py"],
        ["sh", "-c", "test -w /usr/local/lib/web/agents/*/agent/app/app_steps.py"],
        ["test", "-w", "/etc/gunicorn/gunicorn.conf.py"],
        ["test", "-w", "/opt/uv/bin/uv"],
        ["ls", "/var/lib/release-agent"],
        PAST_NGINX,
        *LOOKS,
    ):
        assert web.run([*as_user(user), *command], check=False).returncode != 0, command
    # The controls: the journal has something to read, the sockets an answer, of which Nginx's own is one.
    assert web.run(["journalctl", "--quiet", "--unit", "release-agent.service"]).stdout
    assert "release" in web.run([*as_user("www-data"), *PAST_NGINX]).stdout
    current, candidate = (web.run(look).stdout for look in LOOKS)
    assert "release" in current
    assert (current[-3:], candidate[-3:]) == ("200", "503")


def test_the_journal_has_no_secret(web: Machine, secrets: Secrets) -> None:
    """All that the machine has logged since it was made; the control is found, although it was logged encoded."""
    control = {"control": token_urlsafe(24)}
    web.run(["systemd-cat", "echo", b64encode(f"password={control['control']}".encode()).decode()])
    web.run(["journalctl", "--sync"])
    journal = web.run(["journalctl", "--all", "--output=export"]).stdout
    assert {"SYSLOG_IDENTIFIER=gunicorn", "SYSLOG_IDENTIFIER=release-agent"} <= {*journal.splitlines()}
    assert found_in(journal, {**secrets, **control}) == {"control"}
