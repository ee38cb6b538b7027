"""A certificate of the user's own: what visitors would meet is said by a preview."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from config.certificate import CertificateConfig
from config.certificate_rules import notes, problems
from tests.certificates import Authority

NOW = datetime.now(UTC)
AUTHORITY = Authority("a CA")


def issued(folder: Path, name: str = "shop.example", *, days: float = 90) -> tuple[str, str]:
    """Chain and key of a certificate."""
    chain, key = AUTHORITY.issue(name, folder / name, days=days)
    return chain.read_text() + AUTHORITY.pem, key.read_text()


def found(chain: str, key: str, *, now: datetime = NOW) -> list[str]:
    """The problems of a certificate for shop.example."""
    return [*problems(CertificateConfig(chain=chain, privateKey=key), "shop.example", now)]


@pytest.mark.parametrize("name", ["shop.example", "*.example"])
def test_a_good_one_is_taken(tmp_path: Path, name: str) -> None:
    """Also one for all names one level below another."""
    assert found(*issued(tmp_path, name)) == []


def test_what_visitors_would_meet_is_refused(tmp_path: Path) -> None:
    """Expired, not yet valid, another name's, without its issuer in the right place."""
    chain, key = issued(tmp_path)
    [late] = found(chain, key, now=NOW + timedelta(days=100))
    assert late.startswith("web.certificate.chain: must not be expired, got one that ended on ")
    [early] = found(chain, key, now=NOW - timedelta(days=400))
    assert early.startswith("web.certificate.chain: must be valid by now")
    [others] = found(*issued(tmp_path, "www.shop.example"))
    assert 'must be for the site, "shop.example", got one for www.shop.example' in others
    turned = AUTHORITY.pem + chain.removesuffix(AUTHORITY.pem)
    assert [problem for problem in found(turned, key) if "must be followed by its issuer" in problem]


def test_a_key_must_be_the_certificates(tmp_path: Path) -> None:
    """No message has anything of it."""
    chain, _ = issued(tmp_path)
    _, other = issued(tmp_path, "other.example")
    [wrong] = found(chain, other)
    assert wrong.startswith("web.certificate.privateKey: must be the certificate's, is another's; set it from the file")
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"swordfish")
    )
    [password] = found(chain, locked.decode())
    assert "must have no password, has one; `openssl pkey -in FILE` takes it away" in password
    [none] = found(chain, "no key at all")
    assert "must be a key in PEM, is not" in none
    assert not [text for text in (wrong, password, none) if "BEGIN" in text or "swordfish" in text]


@pytest.mark.parametrize("text", ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_said(text: str) -> None:
    """With the command that sets it from a file."""
    [problem] = found(text, "key")
    assert "must be certificates in PEM" in problem
    assert "pulumi config set --secret --path django-do:web.certificate.chain < FILE" in problem


def test_one_that_ends_soon_is_noted(tmp_path: Path) -> None:
    """Nobody renews it but the user."""
    chain, key = issued(tmp_path, days=10)
    [note] = notes(CertificateConfig(chain=chain, privateKey=key), NOW)
    assert "and nobody renews it but you" in note
    chain, key = issued(tmp_path, days=90)
    assert [*notes(CertificateConfig(chain=chain, privateKey=key), NOW)] == []
