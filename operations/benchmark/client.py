"""The client: a Droplet that runs pgbench, reached by ssh with keys that live as long as the run."""

import json
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from operations.benchmark.account import BenchmarkError

VERSION = "17"  # of PostgreSQL, on the client as in the cluster: Debian 13's
IMAGE = "debian-13-x64"
USER_KEY, HOST_KEY = "client", "host"
INSTALL = 600.0  # seconds for the first boot, with its packages
PAUSE = 2.0  # seconds
NO_LOGIN = 255  # ssh's own exit status
SCRIPT = Path(__file__).with_name("on_client.py")
REMOTE = "/root/on_client.py"
AUTHORITY = "/root/cluster.crt"


def make_keys(folder: Path) -> None:
    """Make the key of who logs in, and that of the client itself."""
    for name in (USER_KEY, HOST_KEY):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"benchmark {name}", "-f", str(folder / name)]
        try:
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            raise BenchmarkError("ssh-keygen: must be on PATH, is not; install OpenSSH's client") from None


def public(folder: Path, name: str) -> str:
    """Return the public half of a key, without its comment."""
    kind, key, *_ = (folder / f"{name}.pub").read_text().split()
    return f"{kind} {key}"


def user_data(host_key: str, host_public: str) -> str:
    """Return the client's cloud-config: pgbench, and the host key that the login expects."""
    config = {
        "disable_root": False,
        "ssh_pwauth": False,
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": host_key, "ed25519_public": host_public},
        "write_files": [
            # The package of pgbench is the server's, which is not to run here.
            {"path": "/etc/postgresql-common/createcluster.conf", "content": "create_main_cluster = false\n"},
        ],
        "package_update": True,
        "packages": [f"postgresql-{VERSION}", "python3-psycopg"],
    }
    return "#cloud-config\n" + yaml.safe_dump(config, sort_keys=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """The Droplet at an address; the folder has the keys."""

    address: str
    folder: Path

    def run(self, command: str, given: str = "", seconds: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of its shell as root, with this on its standard input; the result is the caller's to judge."""
        known = self.folder / "known_hosts"
        known.write_text(f"{self.address} {public(self.folder, HOST_KEY)}\n")
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlgorithms": "ssh-ed25519",
            "IdentitiesOnly": "yes",
            "IdentityFile": str(self.folder / USER_KEY),
            "LogLevel": "ERROR",
            "ServerAliveInterval": "15",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(known),
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        argv = ["ssh", "-F", "/dev/null", *words, f"root@{self.address}", command]
        return subprocess.run(argv, input=given, capture_output=True, text=True, check=False, timeout=seconds)

    def send(self, path: str, content: str) -> None:
        """Write a file that nobody else may read; its content is in no argument."""
        quoted = shlex.quote(path)
        self._done(self.run(f"umask 077; cat > {quoted}.part && mv {quoted}.part {quoted}", content), f"cat > {path}")

    def ask(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - what JSON has
        """Let on_client.py do something; return its answer."""
        done = self.run(f"python3 {REMOTE}", json.dumps({"command": command, **arguments}))
        return json.loads(self._done(done, f"{command} {arguments}"))

    def wait(self) -> None:
        """Wait until its first boot has installed everything."""
        deadline = time.monotonic() + INSTALL
        while (done := self.run("cloud-init status --wait --format=json", seconds=INSTALL)).returncode == NO_LOGIN:
            if time.monotonic() > deadline:
                raise BenchmarkError(
                    f"{self.address}: must let in root by ssh within {INSTALL:.0f} s: {done.stderr.strip()}; "
                    "may this machine open connections to port 22?"
                )
            time.sleep(PAUSE)
        if self.run("python3 -c 'import psycopg' && test -x /usr/lib/postgresql/17/bin/pgbench").returncode:
            said = self.run("tail -n 20 /var/log/cloud-init-output.log").stdout
            raise BenchmarkError(f"{self.address}: must have installed pgbench, has not:\n{done.stdout}\n{said}")
        self.send(REMOTE, SCRIPT.read_text())

    def _done(self, done: subprocess.CompletedProcess[str], what: str) -> str:
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise BenchmarkError(f"client {self.address}: {what} failed with {done.returncode}: {said}")
        return done.stdout
