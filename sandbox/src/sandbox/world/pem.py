"""A certificate with its chain and its key, as PEM: whether they belong together, and what they say."""

import datetime as dt
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization


class PemError(Exception):
    """The texts are no usable certificate; the message begins with the one that is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """What a server needs; the chain begins with the certificate itself, and ends before the root."""

    chain: str
    key: str = field(repr=False)
    names: list[str]
    not_after: dt.datetime
    sha1: str  # of the certificate, in hexadecimal


def read(leaf: str, key: str, chain: str = "") -> Pair:
    """Check that key and chain fit a certificate, and return them together. The chain may repeat the certificate."""
    certificate = _certificates("leaf_certificate", leaf)[0]
    try:
        private = serialization.load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError) as error:  # a key that needs a password is a TypeError
        raise PemError(f"private_key: must be a key in PEM without a password: {error}") from error
    if private.public_key() != certificate.public_key():
        raise PemError("private_key: must be the key of leaf_certificate, got that of another certificate")
    others = [one for one in (_certificates("certificate_chain", chain) if chain.strip() else []) if one != certificate]
    for subject, issuer in zip([certificate, *others], others, strict=False):
        try:
            subject.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError) as error:
            problem = f"{_name(subject)} is not by {_name(issuer)}"
            raise PemError(f"certificate_chain: each must be signed by the next, but {problem}") from error
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = alternative.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    pem = serialization.Encoding.PEM
    return Pair(
        chain="".join(one.public_bytes(pem).decode() for one in (certificate, *others)),
        key=private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode(),
        names=names,
        not_after=certificate.not_valid_after_utc,
        sha1=certificate.fingerprint(hashes.SHA1()).hex(),  # noqa: S303 - the API's own word for it
    )


def _certificates(name: str, text: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise PemError(f"{name}: must be certificates in PEM: {error}") from error


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "one without a name"
