"""The holes of PgBouncer's releases up to 1.26.0, tried on the sandbox's pooler from the web Droplet's place.

Each attack is bounded: one connection, a few hundred bytes. docs/security.md says which holes these are.
"""

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

from sandbox.machines.machine import Machine
from sandbox.network import inside, namespaces
from sandbox.parts.databases import clusters

pytestmark = pytest.mark.full

PATIENCE = 5.0  # seconds for each answer; a pooler that spins gives none
NO_ANSWER = (ConnectionError, TimeoutError, ssl.SSLError)
SSL_REQUEST = 80877103
PROTOCOL = 196608
OK, SASL, SASL_CONTINUE, SASL_FINAL = 0, 10, 11, 12  # authentication messages: PostgreSQL, "Message Formats"
CLIENT_FIRST = "n=,r=intruder"


class Target(NamedTuple):
    """A pooler, and an account that it knows."""

    address: tuple[str, int]
    user: str
    password: str
    pool: str
    victim: str  # somebody else, whose password is not known


class RefusedError(Exception):
    """The pooler said no, closed the connection, or waits for more; the text is its own."""


class Client:
    """The little of PostgreSQL's protocol that leads to a login, with each step apart."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream

    def start_up(self, user: str, database: str, **parameters: str) -> None:
        """Send a StartupMessage."""
        pairs = {"user": user, "database": database} | parameters
        body = "".join(f"{key}\0{value}\0" for key, value in pairs.items()) + "\0"
        self.send(struct.pack("!II", 8 + len(body), PROTOCOL) + body.encode())

    def message(self, body: bytes) -> None:
        """Send what SCRAM calls a response: PostgreSQL's message "p"."""
        self.send(b"p" + struct.pack("!I", 4 + len(body)) + body)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        try:
            self._stream.sendall(data)
        except NO_ANSWER as error:
            raise RefusedError(str(error)) from error

    def authentication(self) -> tuple[int, bytes]:
        """Read the next authentication message: its kind and content."""
        kind = self._read(1)
        [length] = struct.unpack("!I", self._read(4))
        body = self._read(length - 4)
        if kind == b"E":
            raise RefusedError(body.decode(errors="replace"))
        assert kind == b"R", (kind, body)
        return struct.unpack("!I", body[:4])[0], body[4:]

    def first(self) -> str:
        """Begin SCRAM; return the server's first message."""
        assert self.authentication()[0] == SASL
        text = f"n,,{CLIENT_FIRST}".encode()
        self.message(b"SCRAM-SHA-256\0" + struct.pack("!I", len(text)) + text)
        kind, answer = self.authentication()
        assert kind == SASL_CONTINUE
        return answer.decode()

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            try:
                part = self._stream.recv(length - len(data))
            except NO_ANSWER as error:
                raise RefusedError(str(error)) from error
            if not part:
                raise RefusedError("connection closed")
            data += part
        return data


@contextmanager
def connected(target: Target) -> Iterator[Client]:
    """Connect with TLS, which the pooler wants before it listens."""
    with socket.create_connection(target.address, timeout=PATIENCE) as plain:
        plain.sendall(struct.pack("!II", 8, SSL_REQUEST))
        assert plain.recv(1) == b"S"
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(plain) as stream:
            yield Client(stream)


def final(server_first: str, password: str) -> bytes:
    """Compute SCRAM's last word of a client (RFC 5802)."""
    fields = dict(field.split("=", 1) for field in server_first.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    without_proof = f"c=biws,r={fields['r']}"
    signed = f"{CLIENT_FIRST},{server_first},{without_proof}".encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
    proof = bytes(left ^ right for left, right in zip(client_key, signature, strict=True))
    return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()


def log_in(target: Target) -> bool:
    """Log in as one should: whether the pooler is there, and the control of every attack below."""
    with connected(target) as client:
        client.start_up(target.user, target.pool)
        client.message(final(client.first(), target.password))
        return [client.authentication()[0], client.authentication()[0]] == [SASL_FINAL, OK]


def empty_option(target: Target) -> None:
    """CVE-2026-107349: an option without a name, before any password."""
    with connected(target) as client:
        client.start_up(target.user, target.pool, options="-c=")
        client.authentication()


def endless_packet(target: Target) -> None:
    """CVE-2026-107348: a message that says it is longer than 2 GiB, before any password."""
    with connected(target) as client:
        client.start_up(target.user, target.pool)
        client.authentication()
        client.send(b"p" + struct.pack("!I", 2**31 + 2**20) + os.urandom(64 * 1024))
        client.authentication()


def no_nonce(target: Target) -> None:
    """CVE-2026-19888: SCRAM's last word without its nonce, before any password is proved."""
    with connected(target) as client:
        client.start_up(target.user, target.pool)
        client.first()
        client.message(b"c=biws,p=" + base64.b64encode(bytes(32)))
        client.authentication()


def second_startup(target: Target) -> None:
    """CVE-2026-107350: half a login at a database that isn't there, finished as somebody else."""
    with connected(target) as client:
        client.start_up(target.user, "no-such-pool")
        server_first = client.first()
        client.start_up(target.victim, target.pool)
        client.authentication()
        client.message(final(server_first, target.password))
        while client.authentication()[0] != OK:
            pass


ATTACKS: tuple[Callable[[Target], None], ...] = (empty_option, endless_packet, no_nonce, second_startup)


def survives(attack: Callable[[Target], None], target: Target) -> str:
    """Attack a pooler; return its refusal. Fails when it lets the attacker in, or others not any more."""
    assert log_in(target)
    with pytest.raises(RefusedError) as refused:
        attack(target)
    assert log_in(target)
    return str(refused.value)


@pytest.fixture(scope="module")
def target(environment: dict[str, Any], cluster: Machine) -> Target:
    """The pooler of the deployed cluster, with the app's own account."""
    url = urlsplit(environment["env"]["DATABASE_URL"])
    return Target(
        address=(cluster.hardware.private_ip, clusters.POOL_PORT),
        user=unquote(url.username or ""),
        password=unquote(url.password or ""),
        pool=url.path.removeprefix("/"),
        victim="doadmin",
    )


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_the_pooler_refuses_and_goes_on(
    web: Machine, cluster: Machine, target: Target, attack: Callable[[Target], None]
) -> None:
    """Nobody stops it for the others without a password, or becomes another with one's own."""
    process = ["systemctl", "show", "--property=MainPID", "--value", "pgbouncer"]
    before = cluster.run(process).stdout
    inside.call(namespaces.machine_namespace(web.name), lambda: survives(attack, target))
    assert cluster.run(process).stdout == before, "it ended, and systemd started it again"
