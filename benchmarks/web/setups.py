"""Ways to run the same app on the same Droplet: ours, and the tutorial's; benchmarks/alternatives.py has more."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sandbox.machines.machine import Machine
from sandbox.parts.databases import clusters

# What a set-up may change: all of it is kept before the first change, and put back before each.
CONF = "/etc/gunicorn/gunicorn.conf.py"
UNIT = "/etc/systemd/system/gunicorn.service"
NGINX = "/etc/nginx/nginx.conf"
PROXY = "/etc/nginx/proxy.conf"
SETTINGS = "/srv/app/current/app/mysite/settings.py"
FILES = (CONF, UNIT, NGINX, PROXY, SETTINGS)
KEPT = "/root/kept"
PACKAGES = f"{KEPT}/packages"  # what an earlier set-up has installed
PIP = "UV_PYTHON=/srv/app/current/venv/bin/python /opt/uv/bin/uv --quiet pip"
LAUNCHER = "/usr/local/lib/web/run-other.py"
Texts = Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """A difference from what is deployed; nothing differs in ours. The texts are by the path of their file."""

    name: str
    says: str  # what is different, for the table
    appended: Texts = field(default_factory=dict)
    written: Texts = field(default_factory=dict)
    replaced: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    packages: tuple[str, ...] = ()  # from PyPI, for the release's environment
    debian: tuple[str, ...] = ()  # to build these; they stay


OURS = Setup(name="ours", says="as deployed")

_UNIT = f"""\
[Unit]
Description=gunicorn daemon
Requires=gunicorn.socket
After=network.target

[Service]
User=django
Group=django
WorkingDirectory=/srv/app/current/app
LoadCredential=environment:/srv/app/current/environment.json
ExecStart=/usr/bin/python3 -I {LAUNCHER}
RuntimeDirectory=other
"""
_LAUNCHER = """\
import json, os
from pathlib import Path
env = json.loads(Path(os.environ["CREDENTIALS_DIRECTORY"], "environment").read_text())["env"]
os.umask(0)  # for a socket of its own, which Nginx must open
os.execve("/srv/app/current/venv/bin/{0[0]}", {0!r}, {{**os.environ, **env}})
"""


def started(*argv: str) -> Texts:
    """Return the files that start another program of the release's environment, by a unit as the tutorial has it."""
    return {UNIT: _UNIT, LAUNCHER: _LAUNCHER.format([*argv])}


def tutorial(database: str) -> Setup:
    """Return DigitalOcean's set-up of Gunicorn and Django, with the name of the app's database.

    From "How To Set Up Django with Postgres, Nginx, and Gunicorn" and "How to Set Up a Scalable Django App with
    DigitalOcean Managed Databases and Spaces": the command line and the unit, without preload and confinement and with
    the access log in the journal; and of the database Django's defaults and the cluster's direct endpoint.
    """
    bind = ("--bind", "unix:/run/gunicorn.sock")
    direct = {"PORT": clusters.PORT, "NAME": database, "CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False}
    return Setup(
        name="tutorial",
        says="3 sync workers, `CONN_MAX_AGE` 0, direct endpoint, no preload, not confined",
        written=started("gunicorn", "--access-logfile", "-", "--workers", "3", *bind, "mysite.wsgi:application"),
        appended={SETTINGS: f'\nDATABASES["default"].update({direct!r})\n'},
    )


def apply(droplet: Machine, setup: Setup) -> None:
    """Put back what an earlier set-up has changed, make this one's changes, and start Gunicorn and Nginx with them."""
    restore = [f"mkdir -p {KEPT}"]
    for path in FILES:
        kept = f"{KEPT}/{path.replace('/', '_')}"
        restore += [f"[ -e {kept} ] || cp -p --dereference {path} {kept}", f"cp -p {kept} {path}"]
    droplet.run(["sh", "-euc", "\n".join(restore)])
    if setup.debian:
        droplet.run(["apt-get", "install", "--yes", "--quiet", *setup.debian], timeout=300)
    droplet.run(["sh", "-euc", f"[ ! -e {PACKAGES} ] || {PIP} uninstall --requirements {PACKAGES}; rm -f {PACKAGES}"])
    if setup.packages:
        droplet.run(["tee", PACKAGES], input="\n".join(setup.packages))
        droplet.run(["sh", "-euc", f"{PIP} install --requirements {PACKAGES}"], timeout=300)
    for path, text in setup.written.items():
        droplet.run(["tee", path], input=text)
    for path, text in setup.appended.items():
        _change(droplet, path, lambda found, text=text: found + text)
    for path, pairs in setup.replaced.items():
        _change(droplet, path, lambda found, path=path, pairs=pairs: _replaced(path, found, pairs))
    droplet.run(["sh", "-euc", "systemctl daemon-reload; systemctl restart gunicorn; systemctl reload nginx"])


def _replaced(path: str, text: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for old, new in pairs:
        if old not in text:
            raise ValueError(f"{path}: must have {old!r}, which a set-up replaces")
        text = text.replace(old, new)
    return text


def _change(droplet: Machine, path: str, change: Callable[[str], str]) -> None:
    droplet.run(["tee", path], input=change(droplet.run(["cat", path]).stdout))
