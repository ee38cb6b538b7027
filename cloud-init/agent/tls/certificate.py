"""Sees to it that this Droplet has the site's certificate, and turns HTTPS on.

The Space `state` keeps it, so a new Droplet has it before the address leads there: docs/adr/0010. If there is none, or
it ends soon, it is obtained: docs/adr/0015.
"""

import contextlib
import hashlib
import http
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from agent.config import Config
from agent.errors import AgentError
from agent.machine import log, write
from agent.notify import notify
from agent.spaces import Spaces, SpacesError
from agent.tls.acme import Acme
from agent.tls.challenges import Challenges
from protocol.certificate import Certificate, certificate_key
from protocol.document import DocumentError, json_bytes

ENOUGH = 3 * 86400  # seconds; what ends sooner is not worth taking
RENEWED = 1 / 3  # of the lifetime; what has less left is replaced, as Let's Encrypt recommends
SOON, LATER = 0.25, 30  # seconds between two tries
HASTE_PAUSES, HASTE_SECONDS = (1.0, 0.0), 8.0  # before READY; a GET and a PUT take 34 s at most
SOON_FOR = 600  # seconds; while `pulumi up` may be waiting for it
CERTIFICATE = "-----BEGIN CERTIFICATE-----"


class Validity(NamedTuple):
    """Between when visitors trust a certificate, in seconds since 1970."""

    begin: float
    end: float

    def left(self, now: float) -> float:
        """Return which part of the lifetime is left."""
        return (self.end - now) / (self.end - self.begin) if self.end > self.begin else 0


NEVER = Validity(0, 0)


class Places:
    """Where things are."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.pem = root / "etc/nginx/tls/site.pem"  # key and chain in one file, so that both are replaced in one step
        self.link = root / "etc/nginx/edge/tls.conf"  # it is there while HTTPS is on
        self.webroot = root / "var/www/acme"
        self.state = root / "var/lib/certificate"
        self.served = self.state / "served"  # SHA-256 of the file that Nginx has read
        self.replace = self.state / "replace"  # made by a person who doesn't want the certificate any more


@dataclass(kw_only=True)
class Keeper:
    """Keeps this Droplet's certificate and the Space's the same, and fresh."""

    config: Config
    places: Places = field(default_factory=Places)
    trust: Callable[[], ssl.SSLContext] = ssl.create_default_context  # a visitor's; the machine's own authorities
    spaces: Spaces = field(init=False)
    hasty: Spaces = field(init=False)  # gives up soon
    acme: Acme = field(init=False)
    told: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.spaces = Spaces(self.config)
        self.hasty = Spaces(self.config, pauses=HASTE_PAUSES, seconds=HASTE_SECONDS)
        challenges = Challenges(self.config, lambda: Spaces(self.config))
        self.acme = Acme(self.config, self.places.state, self.places.webroot, challenges)
        self.key = certificate_key(self.config.domain)

    def keep(self) -> None:
        """Return when a certificate serves, is kept, and is good for long enough; waiting is not a failure."""
        # In haste: the release agent must not wait for Spaces that stall, nor systemd give this start up for them.
        self.attempt(lambda: self.exchange(self.hasty), self.serve)
        notify("READY=1")  # and the release agent starts, whose report makes the address lead here
        began = time.monotonic()
        while self.attempt(self.exchange, self.obtain, self.serve):
            time.sleep(SOON if time.monotonic() < began + SOON_FOR else LATER)

    def attempt(self, *steps: Callable[[], str | None]) -> bool:
        """Do what is possible now, and say what has to wait, once; return whether something has to."""
        reasons = tuple(reason for step in steps if (reason := step()))
        for reason in reasons:
            if reason not in self.told:
                log(f"waiting: {reason}")
        self.told = reasons
        return bool(reasons)

    def exchange(self, client: Spaces | None = None) -> str | None:
        """Let both have what is good for longer: the Space, and this Droplet."""
        spaces, bucket = client or self.spaces, self.config.state_bucket
        try:
            answer = spaces.get(bucket, self.key)
            kept = parsed(answer.body, self.key) if answer.status == http.HTTPStatus.OK else None
            ours = self.ours()
            here, there = self.validity(ours), self.validity(kept)
            if ours and here.end > there.end:
                body = json_bytes(ours.document())
                spaces.put(bucket, self.key, body, {"content-type": "application/json"})
                log(f"{self.key}: written to the Space for the next Droplet")
            elif kept and there.end > max(here.end, time.time() + ENOUGH):
                self.install(kept)
                log(f"{self.key}: taken from the Space")
        except SpacesError as error:
            return f"the next Droplet would have no HTTPS at first: {error}"
        return None

    def obtain(self) -> str | None:
        """Have a new certificate when there is none, or it is to be replaced; the next attempt keeps it."""
        unwanted = self.places.replace.exists()
        if not unwanted and self.validity(self.ours()).left(time.time()) > RENEWED:
            return None
        if reason := self.acme.reason_to_wait():
            return reason
        try:
            certificate = self.acme.obtain()
        except AgentError as error:
            return str(error)
        trusted = self.validity(certificate) != NEVER
        # Visitors may know better than this machine, so it is served where nothing better is.
        if trusted or self.validity(self.ours()).end < time.time():
            self.install(certificate)
        if not trusted:
            return f"the certificate that certbot obtained is not trusted here for {self.config.domain}"
        self.places.replace.unlink(missing_ok=True)
        self.acme.succeeded()
        log("a new certificate was obtained")
        return "the new certificate is not kept yet"

    def serve(self) -> str | None:
        """Turn HTTPS on, unless Nginx has this certificate already."""
        places = self.places
        if not places.pem.exists():
            places.link.unlink(missing_ok=True)  # Nginx would not start with it
            return None  # why there is none, the others say
        digest = hashlib.sha256(places.pem.read_bytes()).hexdigest()
        if places.link.is_symlink() and places.served.exists() and places.served.read_text() == digest:
            return None
        if not places.link.is_symlink():
            places.link.symlink_to("../edge-tls.conf")
        for command in (["nginx", "-t", "-q"], ["systemctl", "reload-or-restart", "nginx.service"]):
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            if done.returncode != 0:
                places.link.unlink()  # so that Nginx starts, for visitors of the health URL
                return f"`{' '.join(command)}` ended with status {done.returncode}\n{done.stdout}"
        write(places.served, digest, 0o600)
        log("HTTPS is on")
        return None

    def ours(self) -> Certificate | None:
        """Return what is on this Droplet."""
        try:
            text = self.places.pem.read_text(errors="replace")
        except FileNotFoundError:
            return None
        key, mark, chain = text.partition(CERTIFICATE)
        return Certificate(fullchain=mark + chain, privkey=key)

    def install(self, certificate: Certificate) -> None:
        """Replace what is on this Droplet."""
        self.places.pem.parent.mkdir(mode=0o700, exist_ok=True)
        write(self.places.pem, pem(certificate), 0o600)

    def validity(self, certificate: Certificate | None) -> Validity:
        """Return from when until when visitors trust this certificate: it is tried, not believed."""
        if certificate is None:
            return NEVER
        server, sent, received = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.MemoryBIO(), ssl.MemoryBIO()
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
            try:
                file.write(pem(certificate))
                file.flush()
                server.load_cert_chain(file.name, password=no_password)
                visitor = self.trust().wrap_bio(received, sent, server_hostname=self.config.domain)
                for side in (visitor, server.wrap_bio(sent, received, server_side=True)) * 3:
                    with contextlib.suppress(ssl.SSLWantReadError):
                        side.do_handshake()
                shown = visitor.getpeercert() or {}
            except (ssl.SSLError, ValueError):  # ValueError: no text, a key with a password, a handshake without an end
                return NEVER
        begin, end = (ssl.cert_time_to_seconds(str(shown[name])) for name in ("notBefore", "notAfter"))
        return Validity(begin, end)


def parsed(body: bytes, source: str) -> Certificate | None:
    """Read a kept certificate; what isn't one counts as none, and a good one replaces it."""
    try:
        return Certificate.parse(body, source)
    except DocumentError:
        return None


def pem(certificate: Certificate) -> str:
    """Return a certificate as the one file that Nginx reads."""
    return certificate.privkey.rstrip("\n") + "\n" + certificate.fullchain


def no_password() -> str:
    """Refuse a key that needs one, even an empty one: Nginx would."""
    raise ValueError("the key must need no password")
