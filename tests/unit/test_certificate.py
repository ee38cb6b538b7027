"""Which certificate a Droplet takes, keeps, refuses and asks for; the real certbot is tested with the whole stack."""

import contextlib
import dataclasses
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from agent.spaces import Answer, SpacesError
from agent.tls import acme, certificate
from agent.tls.certificate import Keeper, Places
from tests.certificates import Authority
from tests.unit.droplet_world import CONFIG, FakeSpaces

DOMAIN = CONFIG.domain
KEY = f"certificates/{DOMAIN}.json"
KNOWN, UNKNOWN = Authority("Known"), Authority("Unknown")
ADDRESS = "192.0.2.7"
Document = dict[str, str]

# What stands in for a program: it writes its arguments down, and fails while there is a file of its name in `failing`.
PROGRAM = """#!/bin/sh
echo "$(basename "$0") $*" >>{root}/commands
if [ -e {root}/failing/$(basename "$0") ]; then echo "it went wrong"; exit 1; fi
"""
# certbot's part: the request is signed, and the certificate is where it should be, in files that were not there.
CERTBOT = r"""
set -eC
while [ $# -gt 0 ]; do
    case "$1" in
    --csr) request=$2 ;;
    --manual-auth-hook) CERTBOT_TOKEN=token CERTBOT_VALIDATION={validation} sh -c "$2" ;;
    --fullchain-path) chain=$2 ;;
    esac
    shift
done
{{
    openssl x509 -req -in $request -CA {authority}.crt -CAkey {authority}.key -days 90 \
        -copy_extensions copyall 2>>{root}/said
    cat {authority}.crt
}} >$chain
"""


class Droplet:
    """A Droplet in a folder, after cloud-init: certbot is installed, and the address leads elsewhere."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.metadata = {"reserved_ip/ipv4/active": "false", "reserved_ip/ipv4/ip_address": ADDRESS}
        self.addresses = [ADDRESS]
        self.spaces = FakeSpaces()
        self.sends_to_the_space = False  # whoever the address leads to
        self.hasty: object = None  # the client before READY; None: the same
        self.places = Places(root / "droplet")
        for folder in (self.places.link.parent, self.places.state, self.places.webroot, root / "failing", root / "bin"):
            folder.mkdir(parents=True)
        (self.places.pem.parent.parent / "edge-tls.conf").touch()
        KNOWN.write(root / "authority")
        for name in ("certbot", "nginx", "systemctl"):
            text = PROGRAM.format(root=root)
            (root / "bin" / name).write_text(text)
            (root / "bin" / name).chmod(0o755)
        self.answers("token.thumbprint")
        monkeypatch.setenv("PATH", f"{root / 'bin'}:{os.environ['PATH']}")
        monkeypatch.setenv("TMPDIR", str(root))
        monkeypatch.setattr(acme, "metadata", self.metadata.__getitem__)
        monkeypatch.setattr(acme.socket, "getaddrinfo", self.lookup)
        monkeypatch.setattr(certificate, "notify", self.commands_now)
        self.clock = time.monotonic()
        clock = SimpleNamespace(sleep=self.sleep, monotonic=lambda: self.clock, time=time.time)
        monkeypatch.setattr(certificate, "time", clock)
        self.naps: list[float] = []
        self.at_nap: Callable[[int], None] = self.stop

    def answers(self, validation: str) -> None:
        """Let certbot have this answer for a validator."""
        text = CERTBOT.format(root=self.root, authority=self.root / "authority", validation=validation)
        (self.root / "bin/certbot").write_text(PROGRAM.format(root=self.root) + text)

    def lookup(self, name: str, port: int, **_options: object) -> list[object]:
        """Resolve the domain."""
        assert (name, port) == (DOMAIN, 80)
        return [(None, None, None, "", (address, 80)) for address in self.addresses]

    def commands_now(self, line: str) -> None:
        """Write something down among the commands."""
        with (self.root / "commands").open("a") as file:
            file.write(line + "\n")

    def stop(self, number: int) -> None:
        """End at the first pause: what there is to do now has been done."""
        raise StopIteration(number)

    def sleep(self, seconds: float) -> None:
        """Let a test say what happens meanwhile."""
        self.naps.append(seconds)
        self.clock += seconds
        self.at_nap(len(self.naps))

    def keeper(self, **changes: str) -> Keeper:
        """The program, as systemd starts it."""
        keeper = Keeper(
            config=dataclasses.replace(CONFIG, **changes),  # type: ignore[arg-type]
            places=self.places,
            trust=lambda: ssl.create_default_context(cadata=KNOWN.pem),
        )
        keeper.spaces = self.spaces  # type: ignore[assignment]
        keeper.hasty = self.hasty or self.spaces  # type: ignore[assignment]
        keeper.acme.user = None
        keeper.acme.challenges.client = lambda: self.spaces  # type: ignore[assignment,return-value]
        keeper.acme.challenges.led_here = lambda: self.sends_to_the_space  # type: ignore[method-assign]
        return keeper

    def run(self) -> bool:
        """Start the program; return whether it came to its end, and did not pause to try again."""
        try:
            self.keeper().keep()
        except StopIteration:
            return False
        return True

    def leads_here(self) -> None:
        """Give the Droplet the address."""
        self.metadata["reserved_ip/ipv4/active"] = "true"

    def has(self, given: Document) -> None:
        """Let the Droplet have a certificate, which Nginx serves."""
        self.places.pem.parent.mkdir(exist_ok=True)
        self.places.pem.write_text(given["privkey"] + given["fullchain"])
        self.keeper().serve()
        (self.root / "commands").unlink()

    @property
    def here(self) -> Document | None:
        """What Nginx would serve."""
        ours = self.keeper().ours()
        return ours.document() if ours else None

    @property
    def kept(self) -> object:
        """What the Space has."""
        body = self.spaces.objects.get(("state", KEY))
        return json.loads(body) if body else None

    @kept.setter
    def kept(self, document: object) -> None:
        self.spaces.objects["state", KEY] = json.dumps(document).encode()

    @property
    def commands(self) -> list[str]:
        """The first word of what was run, in order; and what systemd was told."""
        file = self.root / "commands"
        return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []

    def fail(self, program: str, *, at_all: bool = True) -> None:
        """Let a program fail from now on, or no more."""
        file = self.root / "failing" / program
        file.touch() if at_all else file.unlink()


@contextlib.contextmanager
def stalling() -> Iterator[int]:
    """A port that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def droplet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Droplet:
    """A Droplet that has just been made."""
    return Droplet(tmp_path, monkeypatch)


def document(
    folder: Path, *, days: float, name: str = DOMAIN, authority: Authority = KNOWN, since: float = 0
) -> Document:
    """A certificate with its chain, as the Space keeps it."""
    issued, key = authority.issue(name, folder / f"issued-{time.monotonic_ns()}", days=days, since=since)
    return {"fullchain": issued.read_text() + authority.pem, "privkey": key.read_text()}


def test_a_new_droplet_takes_the_kept_one_and_serves(droplet: Droplet) -> None:
    """Before it has the address, and before systemd hears that it is ready; then nothing is left to do."""
    droplet.kept = kept = document(droplet.root, days=60)
    assert droplet.run()
    assert droplet.here == kept
    assert droplet.commands == ["nginx", "systemctl", "READY=1"]
    assert droplet.places.link.resolve() == droplet.root / "droplet/etc/nginx/edge-tls.conf"
    assert droplet.places.pem.stat().st_mode & 0o777 == 0o600
    assert droplet.places.pem.parent.stat().st_mode & 0o777 == 0o700


def test_its_own_is_kept(droplet: Droplet) -> None:
    """A certificate that the Space doesn't have goes there, private as all objects are without an ACL."""
    droplet.has(document(droplet.root, days=90))
    assert droplet.run()
    assert droplet.kept == droplet.here
    assert droplet.spaces.headers["state", KEY] == {"content-type": "application/json"}


@pytest.mark.parametrize(("ours", "theirs"), [(60, 90), (90, 60), (-1, 60), (90, -1), (1, 2)])
def test_what_is_good_for_longer_wins(droplet: Droplet, ours: float, theirs: float) -> None:
    """Whichever has it; neither ever replaces a newer one by an older one. What ends soon is not worth taking."""
    own, kept = document(droplet.root, days=ours), document(droplet.root, days=theirs)
    droplet.has(own)
    droplet.kept = kept
    droplet.keeper().exchange()
    assert droplet.here == (kept if theirs > max(ours, 3) else own)
    assert droplet.kept == (own if ours > theirs else kept)


def test_the_same_one_is_left_alone(droplet: Droplet) -> None:
    """Nothing is written, nothing is reloaded."""
    droplet.has(document(droplet.root, days=90))
    droplet.kept = droplet.here
    before = droplet.places.pem.stat()
    assert droplet.run()
    assert droplet.commands == ["READY=1"]
    assert droplet.places.pem.stat() == before


def test_what_was_written_but_not_served_is_served(droplet: Droplet) -> None:
    """The power may go away between the two; Nginx has the old one until it is told."""
    droplet.has(document(droplet.root, days=60))
    newer = document(droplet.root, days=90)
    droplet.places.pem.write_text(newer["privkey"] + newer["fullchain"])
    assert droplet.run()
    assert droplet.commands == ["nginx", "systemctl", "READY=1"]


def test_https_without_a_certificate_is_off(droplet: Droplet) -> None:
    """Nginx would not even start, for visitors of the health URL."""
    droplet.has(document(droplet.root, days=60))
    droplet.places.pem.unlink()
    assert not droplet.run()
    assert not droplet.places.link.is_symlink()


def locked(kept: Document) -> Document:
    """The same with a key that needs a password."""
    key = load_pem_private_key(kept["privkey"].encode(), password=None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")).decode()
    return kept | {"privkey": pem}


def locked_by_nothing(kept: Document) -> Document:
    """The same with a key whose password is the empty one."""
    command = ["openssl", "pkcs8", "-topk8", "-passout", "pass:"]
    pem = subprocess.run(command, input=kept["privkey"], capture_output=True, text=True, check=True).stdout
    assert "ENCRYPTED" in pem
    return kept | {"privkey": pem}


REFUSED: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _folder: None,
    "no object": lambda _folder: ["fullchain", "privkey"],
    "no key": lambda folder: {"fullchain": document(folder, days=60)["fullchain"]},
    "no text": lambda folder: document(folder, days=60) | {"privkey": 1},
    "half a character": lambda folder: document(folder, days=60) | {"privkey": "\ud800"},
    "more": lambda folder: document(folder, days=60) | {"renewal": "renew_hook = reboot"},
    "garbage": lambda folder: document(folder, days=60) | {"fullchain": "-----BEGIN CERTIFICATE-----\nAAAA"},
    "another's key": lambda folder: document(folder, days=60) | {"privkey": document(folder, days=60)["privkey"]},
    "a locked key": lambda folder: locked(document(folder, days=60)),
    "a key with an empty password": lambda folder: locked_by_nothing(document(folder, days=60)),
    "another name": lambda folder: document(folder, days=60, name="other.example"),
    "a name below": lambda folder: document(folder, days=60, name=f"www.{DOMAIN}"),
    "nobody's trust": lambda folder: document(folder, days=60, authority=UNKNOWN),
    "over": lambda folder: document(folder, days=-1),
    "over soon": lambda folder: document(folder, days=2.9),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_not_serve_is_not_taken(droplet: Droplet, case: str) -> None:
    """Then it is as without a kept one: it waits for the address, and nothing has been written."""
    droplet.kept = REFUSED[case](droplet.root)
    assert not droplet.run()
    assert droplet.commands == ["READY=1"]
    assert not droplet.places.pem.parent.exists()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00", b"\x1f\x8b", b"[" * 100_000])
def test_what_is_no_document_is_not_taken(droplet: Droplet, body: bytes) -> None:
    """Nor does it stop the program: the next good one replaces it."""
    droplet.spaces.objects["state", KEY] = body
    droplet.keeper().exchange()
    assert droplet.here is None
    droplet.has(document(droplet.root, days=90))
    droplet.keeper().exchange()
    assert droplet.kept == droplet.here


def test_an_error_of_spaces_is_no_certificate(droplet: Droplet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing object has a body, too, which says so."""
    missing = Answer(404, "", json.dumps(document(droplet.root, days=60)).encode())
    monkeypatch.setattr(droplet.spaces, "get", lambda _bucket, _key: missing)
    droplet.keeper().exchange()
    assert droplet.here is None


def test_without_a_kept_one_it_is_obtained_and_kept(droplet: Droplet, capsys: pytest.CaptureFixture[str]) -> None:
    """As soon as the address leads here; it goes on until the Space has it, and says once what it waits for."""

    def meanwhile(number: int) -> None:
        if number == 3:
            assert droplet.commands == ["READY=1"]
            droplet.leads_here()

    droplet.at_nap = meanwhile
    assert droplet.run()
    assert capsys.readouterr().out.splitlines()[0] == "waiting: this Droplet does not have the Reserved IP"
    assert droplet.commands == ["READY=1", "certbot", "nginx", "systemctl"]
    assert droplet.kept == droplet.here
    assert droplet.naps == [0.25] * 4


def test_it_waits_as_long_as_it_takes(droplet: Droplet) -> None:
    """A domain may lead here days later; after ten minutes it is tried less often."""
    droplet.at_nap = lambda number: droplet.stop(number) if sum(droplet.naps) > 1000 else None
    assert not droplet.run()
    assert droplet.naps == [0.25] * 2400 + [30] * 14


def test_the_key_is_new_and_certbot_does_not_get_it(droplet: Droplet) -> None:
    """It gets a request for the domain alone, an elliptic curve's."""
    droplet.leads_here()
    droplet.run()
    here = droplet.here
    assert here
    served = x509.load_pem_x509_certificates(here["fullchain"].encode())
    key = load_pem_private_key(here["privkey"].encode(), password=None)
    assert served[0].public_key() == key.public_key()
    names = served[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [DOMAIN]
    assert len(served) == 2
    lines = here["privkey"].splitlines()[1:-1]
    files = [path for path in droplet.root.rglob("*") if path.is_file() and path != droplet.places.pem]
    assert [path for path in files if lines[0] in path.read_text()] == []


@pytest.mark.parametrize(
    ("contact", "expected"),
    [("", "--register-unsafely-without-email"), ("ops@polls.example", "--email ops@polls.example")],
)
def test_the_account_has_the_contact_of_the_settings(droplet: Droplet, contact: str, expected: str) -> None:
    """Or none."""
    droplet.leads_here()
    droplet.keeper(acme_email=contact).obtain()
    assert f" --agree-tos {expected} --config-dir " in (droplet.root / "commands").read_text()


def test_what_has_less_than_a_third_left_is_replaced(droplet: Droplet) -> None:
    """And the new one is kept; what has more left is not touched."""
    droplet.leads_here()
    droplet.has(own := document(droplet.root, days=31, since=59))
    assert droplet.run()
    assert droplet.here == own
    droplet.spaces.objects.clear()
    droplet.has(own := document(droplet.root, days=29, since=61))
    droplet.at_nap = lambda number: droplet.stop(number) if number > 9 else None
    assert droplet.run()
    assert droplet.here != own
    assert droplet.kept == droplet.here
    assert droplet.commands == ["READY=1", "certbot", "nginx", "systemctl"]


def test_what_a_person_wants_replaced_is_replaced(droplet: Droplet) -> None:
    """Once, however long it would be good."""
    droplet.leads_here()
    droplet.has(own := document(droplet.root, days=89))
    droplet.places.replace.touch()
    droplet.at_nap = lambda number: droplet.stop(number) if number > 9 else None
    assert droplet.run()
    assert droplet.commands.count("certbot") == 1
    assert droplet.here != own
    assert droplet.kept == droplet.here
    assert not droplet.places.replace.exists()


def test_spaces_are_not_needed_to_obtain_one(droplet: Droplet, capsys: pytest.CaptureFixture[str]) -> None:
    """HTTPS is served without; the program goes on until it could be kept."""
    droplet.leads_here()
    working = droplet.spaces.get

    def broken(bucket: str, key: str, *, unless: str = "") -> Answer:
        if len(droplet.naps) < 3:
            raise SpacesError(f"GET {bucket}/{key}: 503 SlowDown")
        return working(bucket, key, unless=unless)

    droplet.spaces.get = broken  # type: ignore[method-assign]
    droplet.at_nap = lambda number: droplet.stop(number) if number > 9 else None
    assert droplet.run()
    assert droplet.commands == ["READY=1", "certbot", "nginx", "systemctl"]
    told = [line for line in capsys.readouterr().out.splitlines() if "503" in line]
    assert told == [f"waiting: the next Droplet would have no HTTPS at first: GET state/{KEY}: 503 SlowDown"]
    assert droplet.kept == droplet.here


def test_spaces_that_stall_hold_nobody_back(droplet: Droplet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release agent starts after READY: the first exchange gives up early, and is made up for afterwards."""
    longest = 2 * (len(certificate.HASTE_PAUSES) * certificate.HASTE_SECONDS + sum(certificate.HASTE_PAUSES))
    assert longest < 60  # seconds, for a GET and a PUT
    monkeypatch.setattr(certificate, "HASTE_SECONDS", 0.2)
    monkeypatch.setenv("no_proxy", "*")
    droplet.kept = kept = document(droplet.root, days=60)
    with stalling() as port:
        config = dataclasses.replace(CONFIG, endpoint=f"http://localhost:{port}")
        droplet.hasty = Keeper(config=config, places=droplet.places).hasty
        began = time.monotonic()
        assert droplet.run()
    assert time.monotonic() - began < 10
    assert droplet.commands == ["READY=1", "nginx", "systemctl"]
    assert droplet.here == kept


@pytest.mark.parametrize("program", ["nginx", "systemctl"])
def test_https_that_could_not_be_turned_on_is_tried_again(
    droplet: Droplet, capsys: pytest.CaptureFixture[str], program: str
) -> None:
    """And Nginx could start meanwhile, for visitors of the health URL; no other certificate is asked for."""
    droplet.leads_here()
    droplet.fail(program)

    def meanwhile(number: int) -> None:
        assert not droplet.places.link.is_symlink()
        assert droplet.places.pem.exists()
        if number == 3:
            droplet.fail(program, at_all=False)

    droplet.at_nap = meanwhile
    assert droplet.run()
    assert droplet.places.link.is_symlink()
    assert droplet.commands.count("certbot") == 1
    assert capsys.readouterr().out.count("ended with status 1\nit went wrong") == 1


def test_certbot_is_asked_rarely_once_it_has_failed(
    droplet: Droplet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Let's Encrypt counts failures. The pauses survive a restart of the program, and end with the first success."""
    clock = [time.time()]
    monkeypatch.setattr(acme, "time", SimpleNamespace(time=lambda: clock[0]))
    droplet.leads_here()
    droplet.fail("certbot")

    def asked() -> int:
        failures = droplet.places.state / "failures"
        before = failures.stat().st_size if failures.exists() else 0
        droplet.run()
        if failures.exists() and failures.stat().st_size > before:
            os.utime(failures, (clock[0], clock[0]))
        return droplet.commands.count("certbot")

    assert asked() == 1
    assert "no certificate: `certbot` ended with status 1\nit went wrong" in capsys.readouterr().out
    assert asked() == 1
    assert "failed less than 20 s ago" in capsys.readouterr().out
    clock[0] += 21
    assert asked() == 2
    clock[0] += 21
    assert asked() == 2
    assert "failed less than 900 s ago" in capsys.readouterr().out
    clock[0] -= 2000  # the clock was ahead
    assert asked() == 3
    clock[0] += 901
    droplet.fail("certbot", at_all=False)
    assert asked() == 4
    assert not (droplet.places.state / "failures").exists()


def test_a_certbot_that_hangs_is_a_failure(droplet: Droplet, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, and asked again later."""
    droplet.leads_here()
    (droplet.root / "bin/certbot").write_text("#!/bin/sh\nexec sleep 600\n")
    monkeypatch.setattr(acme, "DEADLINE", 0.5)
    assert "timed out" in (droplet.keeper().obtain() or "")
    assert (droplet.places.state / "failures").read_text() == "x"


@pytest.mark.parametrize("trick", ["ln -s {secret}", "mkfifo"])
def test_a_certbot_that_leads_root_astray_gets_nothing(droplet: Droplet, trick: str) -> None:
    """What it leaves is read as a plain file: no link is followed, no pipe is waited for."""
    droplet.leads_here()
    secret = droplet.root / "secret"
    secret.write_text("only root may read this")
    find = 'while [ "$1" != --fullchain-path ]; do shift; done'
    (droplet.root / "bin/certbot").write_text(f'#!/bin/sh\n{find}\n{trick.format(secret=secret)} "$2"\n')
    assert droplet.keeper().obtain()
    pem = droplet.places.pem
    assert not pem.exists() or "only root" not in pem.read_text()


def test_what_was_obtained_but_is_not_trusted_replaces_nothing_better(droplet: Droplet) -> None:
    """Where there is nothing it serves, since visitors may know better; and the next attempt has to wait."""
    droplet.leads_here()
    UNKNOWN.write(droplet.root / "authority")
    droplet.has(own := document(droplet.root, days=10, since=80))
    assert "not trusted here" in (droplet.keeper().obtain() or "")
    assert droplet.here == own
    assert "failed less than 20 s ago" in (droplet.keeper().obtain() or "")
    droplet.places.pem.unlink()
    (droplet.places.state / "failures").unlink()
    droplet.keeper().obtain()
    assert droplet.here


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        (["192.0.2.8"], f"{DOMAIN} leads to 192.0.2.8, not to {ADDRESS} alone"),
        ([ADDRESS, "2001:db8::1"], f"{DOMAIN} leads to {ADDRESS}, 2001:db8::1, not to {ADDRESS} alone"),
    ],
)
def test_a_domain_that_leads_elsewhere_is_not_asked_for(droplet: Droplet, addresses: list[str], reason: str) -> None:
    """The validator picks one of the addresses, and a failure would count."""
    droplet.leads_here()
    droplet.addresses = addresses
    assert droplet.keeper().obtain() == reason
    assert droplet.commands == []


def test_a_domain_that_leads_to_a_balancer_may_be_asked_for(droplet: Droplet) -> None:
    """Its Droplets send validators to the Space, where certbot's answer is for as long as they ask."""
    droplet.leads_here()
    droplet.addresses, droplet.sends_to_the_space = ["192.0.2.8"], True
    droplet.at_nap = lambda number: droplet.stop(number) if number > 9 else None
    assert droplet.run()
    assert droplet.kept == droplet.here
    [(bucket, key, body, headers)] = droplet.spaces.removed
    assert (bucket, key) == (CONFIG.assets_bucket, ".well-known/acme-challenge/token")
    assert (body, headers["x-amz-acl"]) == (b"token.thumbprint", "public-read")


@pytest.mark.parametrize(
    "validation", ["../static/app.js", "another.thumbprint", "'token.x\ny'", "$(seq 9000 | tr -d '\n')"]
)
def test_what_is_no_answer_is_not_published(droplet: Droplet, validation: str) -> None:
    """Certbot's user is not to write to the Space what it likes."""
    droplet.leads_here()
    droplet.addresses, droplet.sends_to_the_space = ["192.0.2.8"], True
    droplet.answers(validation)
    assert "could not be published" in (droplet.keeper().obtain() or "")
    assert not [key for bucket, key in droplet.spaces.objects if bucket == CONFIG.assets_bucket]
    assert droplet.spaces.removed == []


def test_a_space_that_refuses_fails_the_attempt(droplet: Droplet) -> None:
    """It counts, and the next one comes later."""
    droplet.leads_here()
    droplet.addresses, droplet.sends_to_the_space = ["192.0.2.8"], True
    droplet.spaces.broken.add(CONFIG.assets_bucket)
    assert "could not be published" in (droplet.keeper().obtain() or "")
    assert (droplet.places.state / "failures").read_text() == "x"


def test_nothing_is_asked_of_certbot_before_it_is_there(droplet: Droplet) -> None:
    """The first attempts are before the package is installed, and none of them counts as a failure."""
    droplet.leads_here()
    (droplet.root / "bin/certbot").unlink()
    assert droplet.keeper().obtain() == "certbot is not installed yet"
    assert not (droplet.places.state / "failures").exists()


def test_a_certificate_that_can_not_be_tried_is_not_taken_for_none(
    droplet: Droplet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a full disk the program ends with that error, and has asked for no other certificate."""
    droplet.leads_here()
    droplet.has(document(droplet.root, days=60))

    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(certificate.tempfile, "NamedTemporaryFile", full)
    with pytest.raises(OSError, match="No space left"):
        droplet.run()
    assert droplet.commands == []


def test_a_certificate_that_could_not_be_written_is_not_asked_for_at_once(
    droplet: Droplet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full after the issue: Let's Encrypt gives five a week, and systemd starts this every ten seconds."""
    droplet.leads_here()
    droplet.at_nap = lambda number: None if droplet.here else droplet.stop(number)

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(certificate, "write", full)
        with pytest.raises(OSError, match="No space left"):
            droplet.run()
        assert not droplet.run()
        assert droplet.commands.count("certbot") == 1
    failures = droplet.places.state / "failures"
    os.utime(failures, (time.time() - 21,) * 2)
    assert droplet.run()
    assert droplet.commands.count("certbot") == 2
    assert not failures.exists()


def test_without_room_to_count_nobody_is_asked(droplet: Droplet) -> None:
    """An attempt that is not written down could be repeated without end."""
    droplet.leads_here()
    (droplet.places.state / "failures").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        droplet.keeper().acme.obtain()
    assert droplet.commands == []
