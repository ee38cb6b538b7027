"""Certificates for servers that a test runs."""

import datetime as dt
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority that lives as long as the test; `pem` is what to trust."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(name, name)
            .public_key(self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(Encoding.PEM).decode()

    def write(self, path: Path) -> None:
        """Write `<path>.crt` and `<path>.key`, by which another program can issue."""
        path.with_suffix(".crt").write_text(self.pem)
        path.with_suffix(".key").write_bytes(_pem(self._key))

    def issue(self, name: str, path: Path, *, days: float = 2, since: float = 0) -> tuple[Path, Path]:
        """Write `<path>.crt` and `<path>.key` for a name, or for an address when it is one.

        Good for so many days from now on, and since so many.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        is_address = name.replace(".", "").isdigit()
        subject = x509.IPAddress(IPv4Address(name)) if is_address else x509.DNSName(name)
        certificate = (
            _builder(name, self._name, days, since)
            .public_key(key.public_key())
            .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        crt_file, key_file = path.with_suffix(".crt"), path.with_suffix(".key")
        crt_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        key_file.write_bytes(_pem(key))
        # PostgreSQL refuses a key that others may read.
        key_file.chmod(0o600)
        return crt_file, key_file


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _builder(subject: str, issuer: str, days: float = 365, since: float = 0) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1 + 24 * max(0, -days, since)))
        .not_valid_after(now + dt.timedelta(days=days))
    )
