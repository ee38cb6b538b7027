"""Asks Let's Encrypt for a certificate, by certbot: docs/adr/0015.

Let's Encrypt allows five failures an hour (https://letsencrypt.org/docs/rate-limits/), so it is asked only when this
Droplet has the Reserved IP and the domain leads there, or to Droplets that send validators to our Space; after a first
failure soon, then every 15 minutes.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from agent.config import Config
from agent.errors import AgentError
from agent.machine import metadata
from agent.tls.challenges import Challenges
from protocol.certificate import Certificate

PAUSES = (20, 15 * 60)  # seconds after the first failure, and after each later one
LONGEST_CHAIN = 64 * 1024  # bytes
HOOK = Path(__file__).with_name("challenge_hook.py")
DEADLINE = 300  # seconds; Let's Encrypt answers within a few, a certbot that hangs must end


class Acme:
    """Obtains certificates for the site's domain; certbot gets a request, never the key, and is a user of its own."""

    def __init__(self, config: Config, state: Path, webroot: Path, challenges: Challenges) -> None:
        self.user: str | None = "acme"  # None: whoever this is
        self._config = config
        self._state = state
        self._failures = state / "failures"  # one character each
        self._webroot = webroot  # the user's, too
        self.challenges = challenges
        self._by_space = False  # whether the domain leads elsewhere, from where validators are sent to the Space

    def reason_to_wait(self) -> str | None:
        """Say why asking could not succeed now, or must not be tried yet."""
        return self._obstacle() or self._pause()

    def obtain(self) -> Certificate:
        """Return a new certificate with a key of its own. Raises AgentError.

        It counts as a failure until `succeeded` is called: whatever happens meanwhile, even a full disk or the end of
        this program, Let's Encrypt is not asked again at once. Nor is it without room to count.
        """
        with self._failures.open("a") as file:
            file.write("x")
        try:
            key, request = self._request()
            chain = self._issue(request)
        except (AgentError, OSError, subprocess.TimeoutExpired) as error:
            self._failures.touch()  # the pause begins at the end of an attempt, which may be a long one
            raise AgentError(f"no certificate: {error}") from None
        return Certificate(fullchain=chain, privkey=key)

    def succeeded(self) -> None:
        """Forget the failures: the certificate that was obtained is where it belongs."""
        self._failures.unlink(missing_ok=True)

    def _obstacle(self) -> str | None:
        domain = self._config.domain
        try:
            if metadata("reserved_ip/ipv4/active") != "true":
                return "this Droplet does not have the Reserved IP"
            expected = metadata("reserved_ip/ipv4/ip_address")
            # All addresses, because the validator picks one, and prefers IPv6.
            addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(domain, 80, type=socket.SOCK_STREAM)}
        except OSError as error:  # metadata or DNS do not answer (yet)
            return f"{domain} or the metadata service: {error}"
        self._by_space = addresses != {expected} and self.challenges.led_here()
        if addresses != {expected} and not self._by_space:
            return f"{domain} leads to {', '.join(sorted(addresses))}, not to {expected} alone"
        return None if shutil.which("certbot") else "certbot is not installed yet"

    def _pause(self) -> str | None:
        try:
            failures = self._failures.stat()
        except FileNotFoundError:
            return None
        pause = PAUSES[min(failures.st_size, len(PAUSES)) - 1]
        # abs(): a clock that was ahead then must not stop this for as long.
        if abs(time.time() - failures.st_mtime) < pause:
            return f"the last attempt failed less than {pause} s ago"
        return None

    def _request(self) -> tuple[str, str]:
        """Make a key and a request to sign; without a common name, which would be limited to 64 characters."""
        command = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
        command += ["-subj", "/", "-addext", f"subjectAltName=DNS:{self._config.domain}"]
        with tempfile.TemporaryDirectory() as folder:
            key, request = Path(folder, "key"), Path(folder, "request")
            _run([*command, "-keyout", str(key), "-out", str(request)])
            return key.read_text(), request.read_text()

    def _issue(self, request: str) -> str:
        """Let certbot have a request signed; return the certificate with its chain."""
        home = self._state / "certbot"  # in its own format: its account, and a log
        home.mkdir(exist_ok=True, mode=0o700)
        contact = (
            ["--email", self._config.acme_email] if self._config.acme_email else ["--register-unsafely-without-email"]
        )
        command = ["certbot", "certonly", "--quiet", "--non-interactive", "--agree-tos", *contact]
        command += ["--config-dir", str(home), "--work-dir", str(home / "work"), "--logs-dir", str(home / "logs")]
        command += ["--max-log-backups", "1", "--domain", self._config.domain]
        with tempfile.TemporaryDirectory() as folder, ExitStack() as during:
            file = Path(folder, "request")
            file.write_text(request)
            command += ["--csr", str(file)]
            for name in ("cert", "chain", "fullchain"):
                command += [f"--{name}-path", f"{folder}/{name}"]
            options: dict[str, object] = {}
            if self.user:
                for path in (home, folder):
                    shutil.chown(path, self.user, self.user)
                options = {"user": self.user, "group": self.user, "extra_groups": []}
            if self._by_space:
                agent = Path(folder, "agent")
                during.enter_context(self.challenges.published(agent))
                command += ["--manual", "--manual-auth-hook", f"{sys.executable} -I {HOOK} {agent}"]
            else:
                command += ["--webroot", "--webroot-path", str(self._webroot)]
            _run(command, **options)
            return _read(Path(folder, "fullchain"))


def _read(path: Path) -> str:
    """Read what another user has written: a link could lead to what only root may read, a pipe would never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(LONGEST_CHAIN).decode(errors="replace")


def _run(command: list[str], **options: object) -> None:
    """Run a program that must succeed; what it printed is part of the error."""
    done = subprocess.run(  # type: ignore[call-overload]  # users and groups
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEADLINE, check=False, **options
    )
    if done.returncode != 0:
        raise AgentError(f"`{command[0]}` ended with status {done.returncode}\n{done.stdout.strip()}")
