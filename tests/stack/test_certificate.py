"""The site's certificate outlives the Droplet: a new one serves HTTPS before the address leads to it."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509

from tests.commands import ROOT, environment
from tests.internet_side import python
from tests.pulumi_stack import PulumiStack
from tests.stack.test_site import droplet
from tests.worlds import Deployment

pytestmark = pytest.mark.full

# A stranger who asks over a connection of his own each time, and one whose connection stays open as long as it can.
VISITOR = """
import http.client, json, ssl, sys, threading, time
host, log = sys.argv[1:]
context = ssl.create_default_context()

def ask(connection, who):
    asked = time.time()
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        answer.read()
        seen = str(answer.status)
    except (OSError, http.client.HTTPException) as error:
        seen = f"{type(error).__name__}: {error}"
        connection.close()
    with lock:
        file.write(json.dumps([who, asked, time.time(), seen]) + chr(10))
        file.flush()

def stay():
    connection = http.client.HTTPSConnection(host, timeout=10, context=context)
    while True:
        ask(connection, "stays")
        time.sleep(0.5)

lock, file = threading.Lock(), open(log, "w")
threading.Thread(target=stay, daemon=True).start()
while True:
    connection = http.client.HTTPSConnection(host, timeout=10, context=context)
    ask(connection, "comes")
    connection.close()
    time.sleep(0.05)
"""


SAVE = "import json, sys; [open(f'/root/{k}.pem', 'w').write(v) for k, v in json.load(sys.stdin).items()]"
REVOKE = ("--reason", "keycompromise", "--non-interactive", "--no-delete-after-revoke")


class Visits:
    """What the visitors met: (who, asked, answered, what), times in seconds since 1970."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def of(self, who: str) -> list[tuple[float, float, str]]:
        """Every request of one of them, in order."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [(asked, answered, seen) for name, asked, answered, seen in lines if name == who]

    def failed(self, who: str) -> list[str]:
        """What went wrong."""
        return [seen for _, _, seen in self.of(who) if seen != "200"]

    def away(self) -> float:
        """Seconds from the first request that failed to the end of the last one."""
        failed = [(asked, answered) for asked, answered, seen in self.of("comes") if seen != "200"]
        return failed[-1][1] - failed[0][0] if failed else 0.0


@contextmanager
def visitors(deployed: Deployment, log: Path) -> Iterator[Visits]:
    """Ask for the site until the end of the block."""
    command = ["sandbox", "exec", sys.executable, "-c", VISITOR, host(deployed), str(log)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(deployed.world.home))
    visits = Visits(log)
    try:
        deadline = time.monotonic() + 30
        while not (log.exists() and visits.of("comes") and visits.of("stays")):
            assert time.monotonic() < deadline, "nobody came"
            time.sleep(0.1)
        yield visits
    finally:
        process.terminate()
        process.wait()


def host(deployed: Deployment) -> str:
    """The site's name."""
    return urlsplit(deployed.url).hostname or ""


def shown(deployed: Deployment) -> int:
    """Serial number of the certificate that visitors are shown."""
    source = 'answer = ssl.get_server_certificate((given["host"], 443))'
    return serial(python(deployed.world, source, host=host(deployed)))


def serial(pem: str) -> int:
    """Serial number of a chain's first certificate."""
    return x509.load_pem_x509_certificates(pem.encode())[0].serial_number


def until_another_is_shown(deployed: Deployment, than: int) -> int:
    """Wait until visitors are shown another certificate; return its number."""
    source = """
from cryptography.x509 import load_pem_x509_certificates
deadline = time.monotonic() + 120
while True:
    answer = ssl.get_server_certificate((given["host"], 443))
    number = load_pem_x509_certificates(answer.encode())[0].serial_number
    if number != int(given["than"]) or time.monotonic() > deadline:
        break
    time.sleep(0.1)
"""
    # In one program: to start one for each look takes longer than what is waited for.
    number = serial(python(deployed.world, source, host=host(deployed), than=str(than), timeout=180))
    assert number != than
    return number


def kept(deployed: Deployment, *, delete: bool = False) -> Any:  # noqa: ANN401 - JSON
    """The document in the Space, None without one; and what a stranger gets."""
    source = """
answer, at = {}, {"Bucket": given["bucket"], "Key": given["key"]}
try:
    answer["document"] = json.loads(s3().get_object(**at)["Body"].read())
except ClientError as error:
    answer["document"] = None
answer["stranger"] = fetch(f"https://{given['bucket']}.nyc3.digitaloceanspaces.com/{given['key']}")[0]
if given["delete"]:
    s3().delete_object(**at)
"""
    bucket = deployed.outputs["buckets"]["state"]  # type: ignore[index]
    key = f"certificates/{host(deployed)}.json"
    return python(deployed.world, source, bucket=bucket, key=key, delete=delete)


def until_kept(deployed: Deployment, number: int) -> None:
    """Wait until the Space has this certificate."""
    deadline = time.monotonic() + 120
    while (document := kept(deployed)["document"]) is None or serial(document["fullchain"]) != number:
        assert time.monotonic() < deadline, f"kept: {document and serial(document['fullchain'])}, wanted {number}"
        time.sleep(0.5)


def until_settled(deployed: Deployment) -> None:
    """Wait until the Droplet no longer looks after its certificate: it would write a deleted one again."""
    deadline = time.monotonic() + 60
    command = ["systemctl", "is-active", "certificate.service"]
    while (seen := droplet(deployed).run(command, check=False).stdout.strip()) != "inactive":
        assert time.monotonic() < deadline, f"certificate.service is {seen}"
        time.sleep(0.5)


def replace(deployed: Deployment) -> None:
    """Replace the Droplet, as a change of its user data would."""
    before = droplet(deployed).name
    PulumiStack(deployed.world).up("--replace", "**-web-1")
    assert droplet(deployed).name != before


def test_https_is_never_away_while_the_droplet_is_replaced(deployed: Deployment, tmp_path: Path) -> None:
    """The new Droplet shows the same certificate, and nobody who comes notices; then that is replaced, too."""
    first = shown(deployed)
    until_kept(deployed, first)
    with visitors(deployed, tmp_path / "visits") as visits:
        replace(deployed)
    print(f"\n{len(visits.of('comes'))} visits; stayed: {visits.failed('stays')}")  # noqa: T201 - figures of every run
    assert visits.failed("comes") == []
    assert len(visits.of("comes")) > 100
    assert shown(deployed) == first

    here = droplet(deployed)
    old = kept(deployed)["document"]
    here.run(["sh", "-c", "touch /var/lib/certificate/replace && systemctl restart certificate.service"])
    renewed = until_another_is_shown(deployed, first)
    until_kept(deployed, renewed)
    until_settled(deployed)
    assert here.run(["systemctl", "--failed", "--no-legend", "--plain"]).stdout == ""
    keys = ["grep", "-rl", "PRIVATE KEY", "/etc/nginx", "/var/lib/certificate", "/var/www"]
    assert here.run(keys).stdout == "/etc/nginx/tls/site.pem\n"

    # As in docs/runbook.md: who has the key may revoke its certificate.
    here.run(["python3", "-c", SAVE], input=json.dumps(old))
    revoke = ["certbot", "revoke", "--cert-path", "fullchain.pem", "--key-path", "privkey.pem", *REVOKE]
    assert "revoked" in here.run(["sh", "-c", f"cd /root && {shlex.join(revoke)} 2>&1"]).stdout


def test_the_kept_certificate_is_nobody_elses(deployed: Deployment) -> None:
    """The object is private; on the Droplet only root reads the key, and no log has a line of it."""
    found = kept(deployed)
    assert set(found["document"]) == {"fullchain", "privkey"}
    assert found["stranger"] == 403
    here = droplet(deployed)
    file = "/etc/nginx/tls/site.pem"
    assert here.run(["cat", file]).stdout == found["document"]["privkey"] + found["document"]["fullchain"]
    for user in ("acme", "django", "release", "www-data"):
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "cat", file]
        assert here.run(command, check=False).returncode != 0
    here.run(["journalctl", "--sync"])
    journal = here.run(["journalctl", "--all", "--output=export"]).stdout
    assert f"certificates/{host(deployed)}.json: taken from the Space" in journal  # it is the right journal
    assert [line for line in found["document"]["privkey"].splitlines()[1:-1] if line in journal] == []


@pytest.mark.prove
def test_without_a_kept_certificate_https_is_away(deployed: Deployment, tmp_path: Path) -> None:
    """The control: the visitors above would notice. The new Droplet obtains one, and keeps it."""
    before = shown(deployed)
    until_kept(deployed, before)
    until_settled(deployed)
    kept(deployed, delete=True)
    with visitors(deployed, tmp_path / "visits") as visits:
        replace(deployed)
    print(f"\nHTTPS was away for {visits.away():.1f} s")  # noqa: T201 - figures of every run
    assert visits.away() > 0.5
    assert shown(deployed) != before
    until_kept(deployed, shown(deployed))
