"""Which program reads which file of a Droplet, and how to hear from it about names that it doesn't know.

A reader returns what there is to complain about, nothing if all is well. Most programs ignore an unknown name, with a
warning or without one; each is asked here in the way in which it does not.
"""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.config import Config
from tests.commands import PATH, ROOT
from tests.golden.droplet import USER_DATA, said


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A reader, its files, and a slip of the pen in one of them that it must find."""

    by: Callable[[Path, list[str]], str]  # from a Droplet's root and the paths in it to complaints
    files: str  # regular expression of their paths
    slip: tuple[str, str, str]  # path, what stands there, and what would be wrong

    def paths(self, listed: dict[str, str]) -> list[str]:
        """Those of the listed files that it reads."""
        return [path for path in listed if re.fullmatch(self.files, path)]


# Gunicorn itself passes over what `set` refuses.
SETTINGS = """
import runpy, sys
from gunicorn.config import Config
sys.path.append(sys.argv[2])  # where its hooks are, which on a Droplet come with the agent
config = Config()
for name, value in runpy.run_path(sys.argv[1]).items():
    if not name.startswith("__") and value is not sys:
        config.set(name, value)
"""


def gunicorn(root: Path, paths: list[str]) -> str:
    """Of the app's lock: each name is a setting, no value is refused, and none is given twice."""
    found = []
    app = ["uv", "run", "--quiet", "--frozen", "--project", str(ROOT / "app"), "python", "-c", SETTINGS]
    for path in paths:
        names = Counter(
            target.id
            for statement in ast.parse(_text(root, path)).body
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(target, ast.Name)
        )
        found += [f"{path}: {name} is set {times} times\n" for name, times in names.items() if times > 1]
        found.append(_said_here([*app, str(root / path.lstrip("/")), str(ROOT / "cloud-init/agent/server")]))
    return "".join(found)


def types(root: Path, paths: list[str]) -> str:
    """What is named in a program exists; Gunicorn and Django are not here, and stay unknown."""
    command = [sys.executable, "-m", "mypy", "--config-file=", f"--cache-dir={ROOT / '.mypy_cache'}", "--strict"]
    command += [
        "--python-version=3.13",
        "--ignore-missing-imports",
        "--disable-error-code=import-untyped",
        "--no-error-summary",
    ]
    return _said_here([*command, *(str(root / path.lstrip("/")) for path in paths)])


def release_agent(root: Path, paths: list[str]) -> str:
    """The agent's settings are those that it has a field for, no more and no less."""
    complaints = []
    for path in paths:
        try:
            Config.read(root / path.lstrip("/"))
        except TypeError as error:
            complaints.append(f"{path}: {error}\n")
    return "".join(complaints)


def python(root: Path, paths: list[str]) -> str:
    """Debian's Python compiles it without a warning."""
    return said(root, "python3", "-W", "error", "-m", "py_compile", *paths)


def shell(root: Path, paths: list[str]) -> str:
    """Debian's shell can parse it; unknown commands and variables end a script when it runs, if it says so."""
    found = [f"{path}: must say `set -eu`\n" for path in paths if "\nset -eu\n" not in _text(root, path)]
    return "".join([*found, *(said(root, "sh", "-n", path) for path in paths)])


def cloud_init(root: Path, paths: list[str]) -> str:
    """It knows each key; what is deprecated counts as unknown."""
    return "".join(
        said(root, "cloud-init", "schema", "--config-file", path).replace(f"Valid schema {path}\n", "")
        for path in paths
    )


def systemd(root: Path, paths: list[str]) -> str:
    """It ignores unknown keys and sections with a warning; there must be none. A drop-in is read with its unit."""
    units = {Path(path).name if Path(path).parent.name == "system" else Path(path).parent.stem for path in paths}
    for unit in units:
        if not any((root / folder / unit).exists() for folder in ("etc/systemd/system", "usr/lib/systemd/system")):
            other = root / "etc/systemd/system" / unit  # of a package that only DigitalOcean's image has
            other.write_text("[Service]\nExecStart=/usr/bin/true\n")
    return said(root, "systemd-analyze", "verify", "--man=no", *sorted(units)) + "".join(_strangers(root, paths))


def _strangers(root: Path, paths: list[str]) -> Iterator[str]:
    """Units, users and groups that systemd would miss only when it needs them, or never."""
    folders = [root / folder / "systemd/system" for folder in ("etc", "usr/lib")]
    accounts = {line.split(":")[0] for file in ("/etc/passwd", "/etc/group") for line in _text(root, file).splitlines()}
    for path in paths:
        for key, value in re.findall(r"^(\w+)=(.*)$", _text(root, path), re.MULTILINE):
            names = value.split()
            if key in {"After", "Before", "Requires", "Wants", "WantedBy"}:
                unknown = [name for name in names if not any((folder / name).exists() for folder in folders)]
            elif key in {"User", "Group", "SocketUser", "SocketGroup"}:
                unknown = [name for name in names if name not in accounts]
            else:
                continue
            yield from (f"{path}: {key}={name} is not there\n" for name in unknown)


JOURNALD = """
SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=warning /usr/lib/systemd/systemd-journald &
for _ in $(seq 100); do [ ! -S /run/systemd/journal/stdout ] || break; sleep 0.1; done
[ -S /run/systemd/journal/stdout ] || echo "systemd-journald did not start"
kill $! && wait $! || echo "systemd-journald: exit status $?"
"""


def journald(root: Path, _: list[str]) -> str:
    """Nothing but the daemon itself reads its configuration; it complains when it starts."""
    return said(root, "sh", "-c", JOURNALD, network="--private-network")


def sysusers(root: Path, paths: list[str]) -> str:
    """Its users are there already, so that it has nothing to say."""
    return said(root, "systemd-sysusers", *paths)


def tmpfiles(root: Path, paths: list[str]) -> str:
    """It knows the types of lines, the users and the groups."""
    return said(root, "systemd-tmpfiles", "--create", *paths)


def nftables(root: Path, paths: list[str]) -> str:
    """It refuses unknown words."""
    return "".join(said(root, "nft", "--check", "--file", path, network="--private-network") for path in paths)


def sshd(root: Path, _: list[str]) -> str:
    """It refuses unknown keywords, and says which are deprecated or not supported."""
    return said(root, "sh", "-c", "mkdir /run/sshd && sshd -t")


# With the folder that nginx.service has made by then.
NGINX = ("sh", "-c", 'mkdir -p /run/look && exec nginx "$@"', "sh")


def nginx(root: Path, paths: list[str]) -> str:
    """It refuses unknown directives, before there is a certificate and with one; and each file is part of the whole."""
    if complaints := said(root, *NGINX, "-t", "-q") + nginx_with_certificate(root, "-t"):
        return complaints
    whole = nginx_with_certificate(root, "-T")
    places = {path: path.replace("edge-tls.conf", "edge/tls.conf") for path in paths}
    unread = [path for path, place in places.items() if f"# configuration file {place}:\n" not in whole]
    return "".join(f"{path}: is included nowhere\n" for path in unread)


def nginx_with_certificate(root: Path, option: str) -> str:
    """What Nginx says once certificate.service has turned HTTPS on."""
    link = root / "etc/nginx/edge/tls.conf"
    link.symlink_to("../edge-tls.conf")
    try:
        return said(root, *NGINX, option, "-q")
    finally:
        link.unlink()


APT = """
mkdir /tmp/none
echo 'Dir::Etc::main "/none"; Dir::Etc::parts "/tmp/none";' >/tmp/bare
export APT_CONFIG=/tmp/bare
apt-config dump --format '%F=%v%n' >/tmp/default
apt-config dump --format '%F=%v%n' --config-file "$1" >/tmp/changed && grep -vxFf /tmp/default /tmp/changed
"""
APT_READERS = ("usr/lib/*/libapt-p*.so.*", "usr/bin/apt-get", "usr/lib/apt/apt.systemd.daily")


def apt(root: Path, paths: list[str]) -> str:
    """Its configuration may have any name, so each is looked for in the programs that could ask for it."""
    programs = b"\n".join(file.read_bytes() for pattern in APT_READERS for file in root.glob(pattern)).lower()
    found = []
    for path in paths:
        lines = said(root, "sh", "-c", APT, "sh", path).splitlines()
        found += [
            f"{path}: {name} is asked for by no program of apt\n"
            for name in sorted({line.partition("=")[0].removesuffix("::") for line in lines})
            if not re.search(rb"(?<![\w:-])" + re.escape(name.lower().encode()) + rb"(?![\w-])", programs)
        ]
    return "".join(found)


PIP = """
python3 "$(echo /usr/share/python-wheels/pip-*.whl)/pip" install --quiet --no-cache-dir --disable-pip-version-check \
    --root-user-action ignore --require-hashes --dry-run --target /tmp/uv --requirement "$1"
"""


def pip(root: Path, paths: list[str]) -> str:
    """It refuses unknown options, versions that are not there, and files without their hash."""
    return "".join(said(root, "sh", "-c", PIP, "sh", path) for path in paths)


def _text(root: Path, path: str) -> str:
    return (root / path.lstrip("/")).read_text(encoding="utf-8")


def _said_here(command: list[str]) -> str:
    """Run a command on this machine; return what it printed, and its exit status if that is not 0."""
    done = subprocess.run(
        command,
        env=os.environ | {"PATH": PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout + (f"{command[0]}: exit status {done.returncode}\n" if done.returncode else "")


# What is there with the project's own environment.
HERE = (
    Reading(
        by=gunicorn,
        files="/etc/gunicorn/.*",
        slip=("/etc/gunicorn/gunicorn.conf.py", "graceful_timeout", "graceful_pythonpath"),
    ),
    Reading(by=types, files=r".*\.py", slip=("/usr/local/lib/web/run-gunicorn.py", "loads", "lodes")),
    Reading(
        by=release_agent, files="/etc/release-agent/.*", slip=("/etc/release-agent/config.json", "region", "reigon")
    ),
)
# What is asked in the Debian of a Droplet.
DEBIAN = (
    Reading(by=apt, files="/etc/apt/apt.conf.d/.*", slip=("/etc/apt/apt.conf.d/60web", "-Lists", "-List")),
    Reading(by=cloud_init, files=USER_DATA, slip=(USER_DATA, "ssh_pwauth", "ssh_passwordauth")),
    Reading(
        by=journald,
        files="/etc/systemd/journald.conf.d/.*",
        slip=("/etc/systemd/journald.conf.d/web.conf", "MaxRetentionSec", "MaxRetentionTime"),
    ),
    Reading(by=nftables, files="/etc/nftables.conf", slip=("/etc/nftables.conf", "ct state", "ct status")),
    Reading(by=nginx, files="/etc/nginx/.*", slip=("/etc/nginx/edge-tls.conf", "ssl_protocols", "tls_protocols")),
    Reading(
        by=pip,
        files="/usr/local/lib/web/uv-requirements.txt",
        slip=("/usr/local/lib/web/uv-requirements.txt", "--hash", "--hsh"),
    ),
    Reading(by=python, files=r".*\.py", slip=("/usr/local/lib/web/run-gunicorn.py", "import", "imprt")),
    Reading(
        by=shell,
        files="/usr/local/lib/web/(install|verify)",
        slip=("/usr/local/lib/web/install", "then", "than"),
    ),
    Reading(by=sshd, files="/etc/ssh/sshd_config.d/.*", slip=("/etc/ssh/sshd_config.d/10-web.conf", "X11F", "X12F")),
    Reading(
        by=systemd,
        files=r"/etc/systemd/system/.*\.(service|socket|timer)|/etc/systemd/system/[^/]+\.service\.d/.*\.conf",
        slip=("/etc/systemd/system/do-agent.service.d/web.conf", "Group", "Groups"),
    ),
    Reading(by=sysusers, files="/etc/sysusers.d/.*", slip=("/etc/sysusers.d/web.conf", "g metadata", "q metadata")),
    Reading(by=tmpfiles, files="/etc/tmpfiles.d/.*", slip=("/etc/tmpfiles.d/web.conf", "d /var/www", "k /var/www")),
)
