"""Which certificate a Droplet takes, keeps, refuses and asks for; the real certbot is tested with the whole stack."""

import importlib.util
import json
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.certificates import Authority

SOURCE = Path(__file__).parents[2] / "cloud-init" / "obtain-certificate.py"
DOMAIN = "polls.example"
KEY = f"certificates/{DOMAIN}.json"
KNOWN, UNKNOWN = Authority("Known"), Authority("Unknown")
OPENSSL = subprocess.run  # the real one, which the fixture replaces
Document = dict[str, str]


def _load() -> ModuleType:
    """Import the program, whose file name is not a module's."""
    specification = importlib.util.spec_from_file_location("obtain_certificate", SOURCE)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


program = _load()


@dataclass
class Droplet:
    """A Droplet in a folder; programs are recorded instead of run."""

    root: Path
    objects: dict[str, bytes] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    spaces_answers: bool = True
    metadata: Document = field(default_factory=lambda: {"active": "false", "ip_address": "192.0.2.7"})
    addresses: tuple[str, ...] = ("192.0.2.7",)

    def get(self, bucket: str, key: str) -> Any:  # noqa: ANN401 - the agent's Answer
        """Answer as Spaces does."""
        assert bucket == "state"
        if not self.spaces_answers:
            raise program.agent.SpacesError(f"GET {bucket}/{key}: 503 SlowDown")
        missing = b"<Error><Code>NoSuchKey</Code></Error>"
        return program.agent.Answer(200 if key in self.objects else 404, "", self.objects.get(key, missing))

    def put(self, bucket: str, key: str, body: bytes, headers: Document) -> None:
        """Keep an object, private as all are without an ACL."""
        assert (bucket, headers) == ("state", {"content-type": "application/json"})
        self.objects[key] = body

    def run(self, command: list[Any], *, check: bool) -> SimpleNamespace:
        """Play certbot and the hook."""
        line = " ".join([Path(command[0]).name, *map(str, command[1:])])
        self.commands.append(line)
        failed = Path(command[0]).name in self.failing
        if line == "enable-tls":
            program.TLS.touch()  # which it does first
        if failed and check:
            raise subprocess.CalledProcessError(1, line)
        if not failed and line.startswith("certbot certonly"):
            self.has(document(self.root, days=90))
        return SimpleNamespace(returncode=int(failed))

    def has(self, given: Document) -> None:
        """Let certbot have a certificate of its own, and an account."""
        for path, text in {
            **{f"live/site/{name}.pem": text for name, text in given.items()},
            "accounts/acme-v02.api.letsencrypt.org/directory/1/regr.json": "{}",
        }.items():
            (program.CERTBOT / path).parent.mkdir(parents=True, exist_ok=True)
            (program.CERTBOT / path).write_text(text)

    @property
    def here(self) -> Document:
        """What Nginx would serve."""
        live = program.CERTBOT / "live/site"
        return {name: (live / f"{name}.pem").read_text() for name in ("fullchain", "privkey")} if live.exists() else {}

    @property
    def kept(self) -> Document | None:
        """What the Space has."""
        return json.loads(self.objects[KEY]) if KEY in self.objects else None


@pytest.fixture
def droplet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Droplet:
    """A Droplet as cloud-init has left it, and certbot is installed; the address leads elsewhere."""
    droplet = Droplet(tmp_path)
    places = {"CERTBOT": "etc/letsencrypt", "TLS": "tls.conf", "AGENT": "config.json", "FAILURES": "failures"}
    places["TOLD"] = "told"
    for name, path in places.items():
        monkeypatch.setattr(program, name, tmp_path / path)
    (tmp_path / "etc/letsencrypt/renewal-hooks").mkdir(parents=True)
    names = ("region", "endpoint", "domain", "releases_bucket", "assets_bucket", "access_key", "secret_key")
    program.AGENT.write_text(json.dumps({"state_bucket": "state"} | dict.fromkeys(names, "")))
    monkeypatch.setattr(program, "DOMAIN", DOMAIN)
    monkeypatch.setattr(program, "KEPT", KEY)
    monkeypatch.setattr(program.agent, "Spaces", lambda _config: droplet)
    monkeypatch.setattr(program.agent, "trust", lambda: ssl.create_default_context(cadata=KNOWN.pem))
    monkeypatch.setattr(program.agent, "metadata", lambda name: droplet.metadata[name.rpartition("/")[2]])
    found = [(None, None, None, "", (address, 80)) for address in droplet.addresses]
    monkeypatch.setattr(program.socket, "getaddrinfo", lambda *_name, **_options: found)
    monkeypatch.setattr(program.subprocess, "run", droplet.run)
    monkeypatch.setattr(program.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(program.os, "umask", lambda _mask: None)  # it would stay for the tests after this one
    return droplet


def document(folder: Path, *, days: float, name: str = DOMAIN, authority: Authority = KNOWN) -> Document:
    """A certificate with its chain, as the Space keeps it."""
    certificate, key = authority.issue(name, folder / f"issued-{time.monotonic_ns()}", days=days)
    return {"fullchain": certificate.read_text() + authority.pem, "privkey": key.read_text()}


def test_a_new_droplet_takes_the_kept_one_and_serves(droplet: Droplet) -> None:
    """Before it has the address; then nothing is left to do."""
    kept = document(droplet.root, days=60)
    droplet.objects[KEY] = json.dumps(kept).encode()
    assert program.main() == 0
    assert droplet.here == kept
    account = "certbot register --non-interactive --agree-tos --email @ACME_EMAIL@"
    assert droplet.commands == ["enable-tls", account, "systemctl disable --now obtain-certificate.timer"]


def test_what_is_taken_is_certbots_to_renew(droplet: Droplet) -> None:
    """The four links and the settings that certbot looks for; nothing of the latter comes from the Space."""
    kept = document(droplet.root, days=60)
    droplet.objects[KEY] = json.dumps(kept | {"renewal": "renew_hook = reboot"}).encode()
    program.exchange()
    live = program.CERTBOT / "live/site"
    assert {path.name: str(path.readlink()) for path in live.iterdir()} == {
        f"{part}.pem": f"../../archive/site/{part}1.pem" for part in ("cert", "chain", "fullchain", "privkey")
    }
    assert (live / "chain.pem").read_text() == KNOWN.pem
    assert (live / "cert.pem").read_text() + KNOWN.pem == kept["fullchain"]
    assert {path.stat().st_mode & 0o777 for path in (program.CERTBOT / "archive/site").iterdir()} == {0o600}
    settings = (program.CERTBOT / "renewal/site.conf").read_text()
    assert "hook" not in settings
    assert [line for line in settings.splitlines() if "pem" not in line] == [
        *("[renewalparams]", "authenticator = webroot", "webroot_path = /var/www/acme,", "key_type = ecdsa"),
    ]


def test_what_was_cut_off_is_taken_again(droplet: Droplet) -> None:
    """The last link is the sign: without it all is written anew, and meanwhile Nginx starts without HTTPS."""
    kept = document(droplet.root, days=60)
    droplet.objects[KEY] = json.dumps(kept).encode()
    program.exchange()
    (program.CERTBOT / "live/site/fullchain.pem").unlink()
    (program.CERTBOT / "archive/site/privkey1.pem").write_text("half of")
    program.TLS.touch()
    program.exchange()
    assert droplet.here == kept
    assert not program.TLS.exists()


def test_its_own_is_kept(droplet: Droplet) -> None:
    """A first or renewed certificate goes to the Space."""
    droplet.has(document(droplet.root, days=90))
    program.exchange()
    assert droplet.kept == droplet.here


@pytest.mark.parametrize(("ours", "theirs"), [(60, 90), (90, 60), (-1, 60), (90, -1), (1, 2)])
def test_what_is_good_for_longer_wins(droplet: Droplet, ours: float, theirs: float) -> None:
    """Whichever has it; neither ever replaces a newer one by an older one. What ends soon is not worth taking."""
    own, kept = document(droplet.root, days=ours), document(droplet.root, days=theirs)
    droplet.has(own)
    droplet.objects[KEY] = json.dumps(kept).encode()
    program.exchange()
    assert droplet.here == (kept if theirs > max(ours, 3) else own)
    assert droplet.kept == (own if ours > theirs else kept)


def test_the_same_one_is_left_alone(droplet: Droplet) -> None:
    """Nothing is written, nothing is reloaded."""
    droplet.has(document(droplet.root, days=90))
    droplet.objects[KEY] = json.dumps(droplet.here).encode()
    program.TLS.touch()
    before = program.TLS.stat()
    assert program.main() == 0
    assert droplet.commands == ["systemctl disable --now obtain-certificate.timer"]
    assert program.TLS.stat() == before


def locked(kept: Document) -> Document:
    """The same with a key that needs a password."""
    key = load_pem_private_key(kept["privkey"].encode(), password=None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")).decode()
    return kept | {"privkey": pem}


def locked_by_nothing(kept: Document) -> Document:
    """The same with a key whose password is the empty one."""
    command = ["openssl", "pkcs8", "-topk8", "-passout", "pass:"]
    pem = OPENSSL(command, input=kept["privkey"], capture_output=True, text=True, check=True).stdout
    assert "ENCRYPTED" in pem
    return kept | {"privkey": pem}


REFUSED: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _folder: None,
    "no object": lambda _folder: ["fullchain", "privkey"],
    "no key": lambda folder: {"fullchain": document(folder, days=60)["fullchain"]},
    "no text": lambda folder: document(folder, days=60) | {"privkey": 1},
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
    droplet.objects[KEY] = json.dumps(REFUSED[case](droplet.root)).encode()
    assert program.main() == 0
    assert droplet.here == {}
    assert [path.name for path in program.CERTBOT.iterdir()] == ["renewal-hooks"]
    assert droplet.commands == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00", b"\x1f\x8b", b"[" * 100_000])
def test_what_is_no_document_is_not_taken(droplet: Droplet, body: bytes) -> None:
    """Nor does it stop the program: the next good one replaces it."""
    droplet.objects[KEY] = body
    program.exchange()
    assert droplet.here == {}
    droplet.has(document(droplet.root, days=90))
    program.exchange()
    assert droplet.kept == droplet.here


def test_without_a_kept_one_it_is_obtained_and_kept(droplet: Droplet, capsys: pytest.CaptureFixture[str]) -> None:
    """As soon as the address leads here; the timer goes on until the Space has it."""
    program.main()
    assert "this Droplet does not have the Reserved IP" in capsys.readouterr().out
    droplet.metadata["active"] = "true"
    program.main()
    assert [command.split()[:2] for command in droplet.commands] == [["certbot", "certonly"], ["enable-tls"]]
    program.main()
    assert droplet.kept == droplet.here
    assert droplet.commands[2:] == ["systemctl disable --now obtain-certificate.timer"]


def test_spaces_are_not_needed_to_obtain_one(droplet: Droplet, capsys: pytest.CaptureFixture[str]) -> None:
    """HTTPS is served without; the timer goes on until it could be kept."""
    droplet.metadata["active"] = "true"
    droplet.spaces_answers = False
    program.main()
    program.main()
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if "503 SlowDown" in line and not line.startswith("<6>")] == [
        f"{KEY}: GET state/{KEY}: 503 SlowDown"  # once, where a person looks
    ]
    assert [command.split()[0] for command in droplet.commands] == ["certbot", "enable-tls"]


def test_https_that_could_not_be_turned_on_is_tried_again(droplet: Droplet) -> None:
    """And Nginx could start meanwhile, for visitors of the health URL."""
    droplet.objects[KEY] = json.dumps(document(droplet.root, days=60)).encode()
    droplet.failing.add("enable-tls")
    with pytest.raises(subprocess.CalledProcessError):
        program.main()
    assert not program.TLS.exists()
    droplet.failing.clear()
    program.main()
    assert program.TLS.exists()
    assert droplet.commands[-1] == "systemctl disable --now obtain-certificate.timer"


def test_certbot_is_asked_rarely_once_it_has_failed(droplet: Droplet, capsys: pytest.CaptureFixture[str]) -> None:
    """Let's Encrypt counts failures; and before it is installed nothing counts as one."""
    droplet.metadata["active"] = "true"
    droplet.failing.add("certbot")
    for _ in range(3):
        program.main()
    assert len(droplet.commands) == 1
    assert "failed less than 20 s ago" in capsys.readouterr().out
    program.FAILURES.write_text("xx")
    program.main()
    assert "failed less than 900 s ago" in capsys.readouterr().out


def test_nothing_is_asked_of_certbot_before_it_is_there(droplet: Droplet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run is before the package is installed."""
    monkeypatch.setattr(program.shutil, "which", lambda _name: None)
    droplet.metadata["active"] = "true"
    assert program.obtain() == "certbot is not installed yet"
    assert droplet.commands == []
