"""Obtains the first certificate as soon as the validation can succeed, then turns HTTPS on.

Let's Encrypt allows five failures an hour (https://letsencrypt.org/docs/rate-limits/), so it is asked only when this
Droplet has the Reserved IP and the domain leads there. After a failure it is asked again soon, because that may have
been a moment's trouble, then every 15 minutes.
"""

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

DOMAIN = "@DOMAIN@"
ACCOUNT = ["--email", "@ACME_EMAIL@"] if "@ACME_EMAIL@" else ["--register-unsafely-without-email"]
CERTIFICATE = Path("/etc/letsencrypt/live/site/fullchain.pem")
FAILURES = Path("/var/lib/obtain-certificate/failures")  # one character each
METADATA = "http://169.254.169.254/metadata/v1/reserved_ip/ipv4/"


def metadata(name: str) -> str:
    """One value of https://docs.digitalocean.com/reference/api/metadata/reserved-ips/."""
    with urllib.request.urlopen(METADATA + name, timeout=3) as answer:  # noqa: S310 - a constant http URL
        text: str = answer.read().decode()
        return text.strip()


def obstacle() -> str | None:
    """Why asking for a certificate could not succeed now."""
    if FAILURES.exists():
        pause = 20 if FAILURES.stat().st_size == 1 else 15 * 60  # seconds
        # abs(): a clock that was ahead then must not stop this for as long.
        if abs(time.time() - FAILURES.stat().st_mtime) < pause:
            return f"the last attempt failed less than {pause} s ago"
    if metadata("active") != "true":
        return "this Droplet does not have the Reserved IP"
    expected = metadata("ip_address")
    # All addresses, because the validator picks one, and prefers IPv6.
    addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(DOMAIN, 80, type=socket.SOCK_STREAM)}
    if addresses != {expected}:
        return f"{DOMAIN} leads to {', '.join(sorted(addresses))}, not to {expected} alone"
    return None


def obtain() -> bool:
    """Run certbot."""
    command = ["certbot", "certonly", "--non-interactive", "--agree-tos", *ACCOUNT, "--key-type", "ecdsa"]
    command += ["--webroot", "--webroot-path", "/var/www/acme", "--cert-name", "site", "--domain", DOMAIN]
    done = subprocess.run(command, check=False).returncode == 0
    if not done:
        with FAILURES.open("a") as file:
            file.write("x")
    return done


def main() -> int:
    """Do what is possible now; waiting is no failure."""
    if not CERTIFICATE.exists():
        try:
            reason = obstacle()
        except OSError as error:  # metadata or DNS do not answer (yet)
            reason = f"{DOMAIN} or the metadata service: {error}"
        if reason is not None:
            sys.stdout.write(f"<6>waiting: {reason}\n")  # <6> is left out of the journal
            return 0
        if not obtain():
            return 0
    subprocess.run(["/etc/letsencrypt/renewal-hooks/deploy/enable-tls"], check=True)
    subprocess.run(["systemctl", "disable", "--now", "obtain-certificate.timer"], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
