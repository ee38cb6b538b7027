"""What must be true of a certificate that is the user's own. No text has anything of its key."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from config.certificate import CertificateConfig

SOON = timedelta(days=21)
CHAIN, KEY = "web.certificate.chain", "web.certificate.privateKey"
HOW = "set it from the file, `pulumi config set --secret --path django-do:{path} < FILE` (docs/load-balancer.md)"


def problems(config: CertificateConfig, domain: str, now: datetime | None = None) -> Iterator[str]:
    """Yield what visitors would meet, or DigitalOcean would refuse, `now` if nothing else is said."""
    now = now or datetime.now(UTC)
    certificates = _parsed(config)
    if not certificates:
        yield f"{CHAIN}: must be certificates in PEM, the site's own first, is not; {HOW.format(path=CHAIN)}"
        return
    leaf = certificates[0]
    if leaf.not_valid_after_utc < now:
        yield f"{CHAIN}: must not be expired, got one that ended on {leaf.not_valid_after_utc:%Y-%m-%d}; renew it"
    if leaf.not_valid_before_utc > now:
        begin = f"{leaf.not_valid_before_utc:%Y-%m-%d}"
        yield f"{CHAIN}: must be valid by now, got one that begins on {begin}; see this machine's clock"
    if not {domain, f"*.{domain.partition('.')[2]}"} & {*_names(leaf)}:
        names = ", ".join(_names(leaf)) or "no name"
        yield f'{CHAIN}: must be for the site, "{domain}", got one for {names}; the site\'s own comes first'
    for one, issuer in itertools.pairwise(certificates):
        if one.issuer != issuer.subject:
            names = f"{one.subject.rfc4514_string()} is followed by {issuer.subject.rfc4514_string()}"
            yield f"{CHAIN}: each certificate must be followed by its issuer, {names}; bring them in order"
    yield from _key_problems(config, leaf)


def _key_problems(config: CertificateConfig, leaf: x509.Certificate) -> Iterator[str]:
    try:
        key = load_pem_private_key(config.private_key.get_secret_value().encode(), password=None)
    except TypeError:
        yield f"{KEY}: must have no password, has one; `openssl pkey -in FILE` takes it away"
        return
    except ValueError:
        yield f"{KEY}: must be a key in PEM, is not; {HOW.format(path=KEY)}"
        return
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        yield f"{KEY}: must be the certificate's, is another's; {HOW.format(path=KEY)}"


def notes(config: CertificateConfig, now: datetime | None = None) -> Iterator[str]:
    """Yield what will be wrong soon."""
    end = _parsed(config)[0].not_valid_after_utc
    if end - (now or datetime.now(UTC)) < SOON:
        yield f"{CHAIN}: ends on {end:%Y-%m-%d}, and nobody renews it but you"


def _parsed(config: CertificateConfig) -> list[x509.Certificate]:
    try:
        return [x509.load_pem_x509_certificate(one.encode()) for one in config.certificates]
    except ValueError:
        return []


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []  # browsers go by nothing else
    return [name.lower() for name in found.get_values_for_type(x509.DNSName)]
