"""Let's Encrypt's part in a full world, by a minimal ACME client (RFC 8555) on the internet side."""

import datetime as dt
import time
from collections.abc import Iterator

import pytest
from cryptography import x509

from sandbox.world.supervisor import Supervisor
from sandbox.world.world import INTERNET_SIDE, World
from tests.commands import run
from tests.internet_side import python

pytestmark = pytest.mark.full

DOMAIN = "acme.example"
DEADLINE = 10.0  # seconds

# Orders a certificate for given["host"], answering HTTP-01 on port 80 of the internet side when given["serve"].
CLIENT = """
import base64, hashlib, http.server, threading
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

key = ec.generate_private_key(ec.SECP256R1())
numbers = key.public_key().public_numbers()

def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

jwk = {"crv": "P-256", "kty": "EC", "x": b64(numbers.x.to_bytes(32, "big")), "y": b64(numbers.y.to_bytes(32, "big"))}
thumbprint = b64(hashlib.sha256(json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()).digest())
directory = json.loads(fetch("https://acme-v02.api.letsencrypt.org/directory")[2])
account = None

def post(url, payload):
    for _ in range(20):  # the server refuses some good nonces on purpose, as clients must expect
        nonce = fetch(directory["newNonce"], "HEAD")[1]["replay-nonce"]
        head = {"alg": "ES256", "nonce": nonce, "url": url} | ({"kid": account} if account else {"jwk": jwk})
        protected, body = b64(json.dumps(head).encode()), "" if payload is None else b64(json.dumps(payload).encode())
        r, s = utils.decode_dss_signature(key.sign(f"{protected}.{body}".encode(), ec.ECDSA(hashes.SHA256())))
        signature = b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        message = json.dumps({"protected": protected, "payload": body, "signature": signature}).encode()
        status, headers, text = fetch(url, "POST", message, Content_Type="application/jose+json")
        if "badNonce" not in text:
            return status, headers, text
    raise AssertionError(text)

def until(url, *wanted):
    deadline = time.monotonic() + 30
    while True:
        last = json.loads(post(url, None)[2])
        if last["status"] in wanted:
            return last
        assert time.monotonic() < deadline, last
        time.sleep(0.1)

account = post(directory["newAccount"], {"termsOfServiceAgreed": True})[1]["location"]
_, headers, text = post(directory["newOrder"], {"identifiers": [{"type": "dns", "value": given["host"]}]})
order_url, order = headers["location"], json.loads(text)
authorization = json.loads(post(order["authorizations"][0], None)[2])
challenge = next(c for c in authorization["challenges"] if c["type"] == "http-01")

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.path == "/.well-known/acme-challenge/" + challenge["token"]
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write((challenge["token"] + "." + thumbprint).encode() if known else b"")

    def log_message(self, *arguments):
        pass

if given["serve"]:
    server = http.server.HTTPServer(("198.51.100.2", 80), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
post(challenge["url"], {})
authorization = until(order["authorizations"][0], "valid", "invalid")
answer = {"authorization": authorization["status"]}
if authorization["status"] == "valid":
    names = x509.SubjectAlternativeName([x509.DNSName(given["host"])])
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, False)
    signed = request.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    post(order["finalize"], {"csr": b64(signed.public_bytes(serialization.Encoding.DER))})
    answer["chain"] = post(until(order_url, "valid")["certificate"], None)[2]
"""


@pytest.fixture
def host(full_world: World) -> Iterator[str]:
    """A name in a domain of the account that leads to the internet side."""
    python(
        full_world,
        """
api("POST", "/v2/domains", {"name": given["domain"]})
record = {"type": "A", "name": "www", "data": given["address"], "ttl": 60}
api("POST", "/v2/domains/" + given["domain"] + "/records", record)
answer = None
""",
        domain=DOMAIN,
        address=INTERNET_SIDE,
    )
    yield f"www.{DOMAIN}"
    python(full_world, 'answer = api("DELETE", "/v2/domains/" + given["domain"])', domain=DOMAIN)


def test_a_certificate_for_90_days_that_the_bundle_trusts(full_world: World, host: str) -> None:
    """Who answers the challenge on port 80 of the name gets a certificate, whose root clients of the world trust."""
    answer = python(full_world, CLIENT, host=host, serve=True)
    assert answer["authorization"] == "valid"
    chain = x509.load_pem_x509_certificates(answer["chain"].encode())
    leaf = chain[0]
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    ) == [host]
    validity = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert abs(validity - dt.timedelta(days=90)) < dt.timedelta(minutes=1)
    # Not the whole bundle parsed: it has old authorities whose serial numbers the library objects to.
    pems = [path.read_text() for path in (full_world.home / "acme" / "roots").iterdir()]
    assert all(pem.strip() in full_world.bundle.read_text() for pem in pems)
    roots = {root.subject: root for pem in pems for root in x509.load_pem_x509_certificates(pem.encode())}
    for certificate, issuer in zip(chain, [*chain[1:], roots[chain[-1].issuer]], strict=True):
        certificate.verify_directly_issued_by(issuer)


def test_a_server_that_died_comes_back_with_a_root_that_is_trusted(full_world: World) -> None:
    """It makes a new root at each start: so it stays down until `sandbox up` starts it and trusts that root too."""
    roots, supervisor = full_world.home / "acme" / "roots", Supervisor(full_world)
    before = {path.name for path in roots.iterdir()}
    supervisor.signal("pebble", "KILL")
    deadline = time.monotonic() + DEADLINE
    while (state := {each.name: each.state for each in supervisor.status()}["pebble"]) != "EXITED":
        assert time.monotonic() < deadline, state
        time.sleep(0.05)
    run("sandbox", "up", "--depth", "full", home=full_world.home)
    [new] = {path.name for path in roots.iterdir()} - before
    assert (roots / new).read_text().strip() in full_world.bundle.read_text()


def test_who_does_not_answer_gets_none(full_world: World, host: str) -> None:
    """The challenge is really checked: with nothing on port 80 the authorisation is invalid."""
    assert python(full_world, CLIENT, host=host, serve=False) == {"authorization": "invalid"}
