"""The world's certificate authority, the certificates it issues, and the trust bundle of the world's clients."""

import base64
import datetime as dt
import hashlib
import ipaddress
import os
import ssl
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sandbox.world.world import World, WorldError

VALID_FOR = dt.timedelta(days=365)
RENEW_BEFORE = dt.timedelta(days=30)
CLOCK_SKEW = dt.timedelta(minutes=5)

# Where distributions keep the bundle of the authorities that this machine trusts: Debian, Fedora, openSUSE, Alpine.
HOST_BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/ca-bundle.pem"),
    Path("/etc/ssl/cert.pem"),
)
HOST_EXTRAS = Path("/usr/local/share/ca-certificates")  # authorities that the machine's owner added (Debian)


def ensure_ca(world: World) -> x509.Certificate:
    """Make the world's authority once; return its certificate. The key is readable by its owner only."""
    crt, key = world.ca / "ca.crt", world.ca / "ca.key"
    if crt.exists() and key.exists():
        return x509.load_pem_x509_certificate(crt.read_bytes())
    world.ca.mkdir(mode=0o700, parents=True, exist_ok=True)
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Local sandbox, trust nowhere else"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Sandbox CA {os.urandom(4).hex()}"),
        ]
    )
    now = dt.datetime.now(dt.UTC)
    # Python 3.13 verifies strictly (RFC 5280): basic constraints, key usage and key identifiers are all required.
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .sign(private, hashes.SHA256())
    )
    _write_key(key, private)
    _replace(crt, certificate.public_bytes(serialization.Encoding.PEM))
    return certificate


def issue(world: World, names: list[str], path: Path) -> tuple[Path, Path]:
    """Certificate and key for names or addresses, as `<path>.crt` and `<path>.key`; valid ones are kept.

    The authority's own certificate follows in the file, so that a browser that is told to accept this authority only
    (`sandbox browser`) meets it in what servers send.
    """
    authority = ensure_ca(world)
    crt, key = path.parent / f"{path.name}.crt", path.parent / f"{path.name}.key"
    # Written one after the other: a process that was killed between leaves two that don't belong together.
    if crt.exists() and key.exists() and is_good(world, names, crt.read_bytes(), key.read_bytes()):
        return crt, key
    signer = serialization.load_pem_private_key((world.ca / "ca.key").read_bytes(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise WorldError(f"{world.ca / 'ca.key'}: must be an elliptic curve key; remove {world.ca} and start again")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    private = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]))
        .issuer_name(authority.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(authority.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    _write_key(key, private)
    _replace(crt, b"".join(link.public_bytes(serialization.Encoding.PEM) for link in (certificate, authority)))
    return crt, key


def is_good(world: World, names: list[str], crt: bytes, key: bytes) -> bool:
    """Tell whether certificate and key, PEM both, belong together, to the names, and to the world, for a while yet."""
    try:
        chain = x509.load_pem_x509_certificates(crt)
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError):  # a key that needs a password is a TypeError
        return False
    return chain[0].public_key() == private.public_key() and _still_good(chain, ensure_ca(world), names)


def write_bundle(world: World, extra: Iterable[str] = ()) -> Path:
    """Write the trust bundle: the machine's authorities, the world's, and extra PEM texts (the ACME server's root)."""
    ensure_ca(world)
    parts = [host_bundle().read_text(), (world.ca / "ca.crt").read_text(), *extra]
    _replace(world.bundle, "".join(part.rstrip("\n") + "\n" for part in parts).encode())
    return world.bundle


def key_hash(certificate: x509.Certificate) -> str:
    """Base64 of the SHA-256 of a certificate's public key (SubjectPublicKeyInfo), as browsers name keys."""
    info = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(hashlib.sha256(info).digest()).decode()


def host_bundle() -> Path:
    """Find the bundle of the authorities that this machine trusts."""
    for path in (*HOST_BUNDLES, Path(ssl.get_default_verify_paths().cafile or "/")):
        if path.is_file():
            return path
    raise WorldError(
        f"no bundle of certificate authorities on this machine, looked at {', '.join(map(str, HOST_BUNDLES))}; "
        "install the package ca-certificates"
    )


def host_extras() -> list[Path]:
    """List authorities that this machine's owner added, for example of a proxy in front of package mirrors."""
    return sorted(HOST_EXTRAS.rglob("*.crt"))


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _still_good(chain: list[x509.Certificate], authority: x509.Certificate, names: list[str]) -> bool:
    certificate = chain[0]
    if chain[1:] != [authority]:
        return False
    if certificate.not_valid_after_utc < dt.datetime.now(dt.UTC) + RENEW_BEFORE:
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError):
        return False
    alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(alternative) == {_general_name(name) for name in names}


def _write_key(path: Path, private: ec.EllipticCurvePrivateKey) -> None:
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _replace(path, pem, mode=0o600)


def _replace(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all: readers run while it is replaced."""
    part = path.parent / f".{path.name}.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    part.rename(path)
