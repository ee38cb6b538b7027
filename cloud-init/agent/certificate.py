"""Sees to it that this Droplet has the site's certificate, and turns HTTPS on.

The Space `state` keeps it, so a new Droplet has it before the address leads there: docs/adr/0010. If there is none, it
is obtained. Let's Encrypt allows five failures an hour (https://letsencrypt.org/docs/rate-limits/), so it is asked only
when this Droplet has the Reserved IP and the domain leads there; after a failure soon, then every 15 minutes.
"""

import contextlib
import importlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
from agent import config, machine, spaces

DOMAIN = "@DOMAIN@"
CONTACT = ["--email", "@ACME_EMAIL@"] if "@ACME_EMAIL@" else ["--register-unsafely-without-email"]
WEBROOT = "/var/www/acme"
KEPT = f"certificates/{DOMAIN}.json"
ENOUGH = 3 * 86400  # seconds: certbot.timer, which renews, comes twice a day
CERTBOT = Path("/etc/letsencrypt")
TLS = Path("/etc/nginx/edge/tls.conf")
AGENT = Path("/etc/release-agent/config.json")
TOLD = Path("/var/lib/obtain-certificate/told")
FAILURES = Path("/var/lib/obtain-certificate/failures")  # one character each


def there_is_one() -> bool:
    """Tell whether certbot has a certificate."""
    return (CERTBOT / "live/site/fullchain.pem").exists()


def no_password() -> str:
    """Refuse a key that needs one, even an empty one: Nginx would."""
    raise ValueError("the key must need no password")


def end(document: Mapping[str, str]) -> float:
    """Return until when visitors trust this certificate, in seconds since 1970; 0 if they don't."""
    server, sent, received = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("fullchain", "privkey"):
                Path(folder, name).write_text(document[name])
            server.load_cert_chain(f"{folder}/fullchain", f"{folder}/privkey", password=no_password)
        visitor = agent.trust().wrap_bio(received, sent, server_hostname=DOMAIN)
        for side in (visitor, server.wrap_bio(sent, received, server_side=True)) * 3:
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        return float(ssl.cert_time_to_seconds(visitor.getpeercert()["notAfter"]))
    except (OSError, ValueError, LookupError, TypeError):  # a TLS error is an OSError; the rest is no such document
        return 0


def exchange() -> str | None:
    """Let both have what is good for longer: the Space, and this Droplet."""
    config = agent.Config(**json.loads(AGENT.read_bytes()))
    spaces = agent.Spaces(config)
    ours, kept = {}, {}
    if there_is_one():
        ours = {name: (CERTBOT / f"live/site/{name}.pem").read_text() for name in ("fullchain", "privkey")}
    try:
        with contextlib.suppress(ValueError, RecursionError):
            kept = json.loads(spaces.get(config.state_bucket, KEPT).body)
        if end(ours) > end(kept):
            body = json.dumps(ours).encode()
            spaces.put(config.state_bucket, KEPT, body, {"content-type": "application/json"})
            agent.log(f"{KEPT}: written to the Space for the next Droplet")
        elif end(kept) > max(end(ours), time.time() + ENOUGH):
            restore(kept["fullchain"], kept["privkey"])
            agent.log(f"{KEPT}: taken from the Space")
    except agent.SpacesError as error:
        tell(str(error))
        return str(error)
    return None


def tell(error: str) -> None:
    """Write down why nothing is kept, once: the next Droplet would have no HTTPS at first."""
    if not TOLD.exists() or TOLD.read_text() != error:
        agent.log(f"{KEPT}: {error}")
        TOLD.write_text(error)


def restore(fullchain: str, privkey: str) -> None:
    """Write what certbot would have written, so that it renews this certificate.

    Its settings do not come from the Space: they may name programs, which certbot runs as root.
    """
    os.umask(0o077)
    TLS.unlink(missing_ok=True)  # until all of it is there
    for folder in ("archive/site", "live/site"):
        shutil.rmtree(CERTBOT / folder, ignore_errors=True)
        (CERTBOT / folder).mkdir(parents=True)
    (CERTBOT / "renewal").mkdir(exist_ok=True)
    cert, mark, chain = fullchain.partition("-----END CERTIFICATE-----\n")
    # Last the link by which others know that there is one.
    parts = {"privkey": privkey, "cert": cert + mark, "chain": chain, "fullchain": fullchain}
    settings = [f"{part} = {CERTBOT}/live/site/{part}.pem\n" for part in parts]
    settings.append(f"[renewalparams]\nauthenticator = webroot\nwebroot_path = {WEBROOT},\nkey_type = ecdsa\n")
    agent.write(CERTBOT / "renewal/site.conf", "".join(settings), 0o600)
    for part, text in parts.items():
        agent.write(CERTBOT / f"archive/site/{part}1.pem", text, 0o600)
        (CERTBOT / f"live/site/{part}.pem").symlink_to(f"../../archive/site/{part}1.pem")


def obstacle() -> str | None:
    """Why asking for a certificate could not succeed now."""
    try:
        if agent.metadata("reserved_ip/ipv4/active") != "true":
            return "this Droplet does not have the Reserved IP"
        expected = agent.metadata("reserved_ip/ipv4/ip_address")
        # All addresses, because the validator picks one, and prefers IPv6.
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(DOMAIN, 80, type=socket.SOCK_STREAM)}
    except OSError as error:  # metadata or DNS do not answer (yet)
        return f"{DOMAIN} or the metadata service: {error}"
    if addresses != {expected}:
        return f"{DOMAIN} leads to {', '.join(sorted(addresses))}, not to {expected} alone"
    return None


def certbot(*arguments: str) -> str | None:
    """Run certbot, unless it failed just now."""
    if not shutil.which("certbot"):
        return "certbot is not installed yet"
    if FAILURES.exists():
        pause = 20 if FAILURES.stat().st_size == 1 else 15 * 60  # seconds
        # abs(): a clock that was ahead then must not stop this for as long.
        if abs(time.time() - FAILURES.stat().st_mtime) < pause:
            return f"the last attempt failed less than {pause} s ago"
    command = ["certbot", *arguments, "--non-interactive", "--agree-tos", *CONTACT]
    if subprocess.run(command, check=False).returncode == 0:
        return None
    with FAILURES.open("a") as file:
        file.write("x")
    return "certbot failed"


def obtain() -> str | None:
    """Ask for the first certificate; the next run keeps it."""
    if there_is_one():
        return None
    webroot = ("--webroot", "--webroot-path", WEBROOT, "--key-type", "ecdsa")
    return obstacle() or certbot("certonly", *webroot, "--cert-name", "site", "--domain", DOMAIN) or "not kept yet"


def serve() -> None:
    """Turn HTTPS on."""
    if there_is_one() and not TLS.exists():
        try:
            subprocess.run([CERTBOT / "renewal-hooks/deploy/enable-tls"], check=True)
        except subprocess.CalledProcessError:
            TLS.unlink(missing_ok=True)  # Nginx starts without it, and the next run tries again
            raise


def register() -> str | None:
    """Give certbot an account, which comes with a certificate that it obtains, and not with one that was kept."""
    if not there_is_one() or any(CERTBOT.glob("accounts/**/regr.json")):
        return None
    return certbot("register")


def main() -> int:
    """Do what is possible now; waiting is no failure."""
    waiting = [reason for step in (exchange, obtain, serve, register) if (reason := step())]
    for reason in waiting:
        sys.stdout.write(f"<6>waiting: {reason}\n")  # <6> is left out of the journal
    if not waiting:
        subprocess.run(["systemctl", "disable", "--now", "obtain-certificate.timer"], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
