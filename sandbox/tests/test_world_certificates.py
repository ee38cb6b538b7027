"""The world's authority: certificates that strict clients accept, and keys that others can't read."""

import ipaddress
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from sandbox.world import certificates
from sandbox.world import world as worlds
from sandbox.world.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Make a world that is not started."""
    return worlds.create(tmp_path / "world", "api", proxy_port=1)


def names(path: Path) -> x509.SubjectAlternativeName:
    """Read the names of a certificate."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_certificate_verifies_strictly(world: World) -> None:
    """OpenSSL's strict mode, which Python 3.13 uses by default, accepts certificate and authority."""
    crt, _ = certificates.issue(world, ["api.digitalocean.com", "*.nyc3.digitaloceanspaces.com"], world.run / "front")
    command = ["openssl", "verify", "-x509_strict", "-CAfile", str(world.ca / "ca.crt")]
    command += ["-verify_hostname", "bucket.nyc3.digitaloceanspaces.com", str(crt)]
    assert subprocess.run(command, check=False, capture_output=True, text=True).stdout == f"{crt}: OK\n"


def test_addresses_are_addresses(world: World) -> None:
    """An address among the names is not a DNS name."""
    crt, _ = certificates.issue(world, ["localhost", "127.0.0.1"], world.run / "local")
    assert names(crt).get_values_for_type(x509.DNSName) == ["localhost"]
    assert names(crt).get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]


def test_dots_in_a_path_are_kept(world: World) -> None:
    """`<path>.crt` is meant literally."""
    crt, key = certificates.issue(world, ["polls.example"], world.run / "polls.example")
    assert (crt.name, key.name) == ("polls.example.crt", "polls.example.key")


def test_keys_are_the_owners_only(world: World) -> None:
    """Nobody else on the machine can sign for the world."""
    _, key = certificates.issue(world, ["polls.example"], world.run / "site")
    for path in (world.ca / "ca.key", key):
        assert path.stat().st_mode & 0o777 == 0o600


def test_valid_certificate_is_kept(world: World) -> None:
    """Asking again changes nothing; other names or another authority do."""
    crt, _ = certificates.issue(world, ["a.example"], world.run / "site")
    first = crt.read_bytes()
    certificates.issue(world, ["a.example"], world.run / "site")
    assert crt.read_bytes() == first
    certificates.issue(world, ["a.example", "b.example"], world.run / "site")
    second = crt.read_bytes()
    assert second != first
    for path in world.ca.iterdir():
        path.unlink()
    certificates.issue(world, ["a.example", "b.example"], world.run / "site")
    assert crt.read_bytes() != second


def test_each_world_has_its_own_authority(world: World, tmp_path: Path) -> None:
    """Trust ends with the world."""
    other = worlds.create(tmp_path / "other", "api", proxy_port=1)
    assert certificates.ensure_ca(world).public_key() != certificates.ensure_ca(other).public_key()


def test_bundle_has_machine_world_and_extra(world: World) -> None:
    """Clients trust what this machine trusts, the world's authority, and the ACME server's."""
    extra = worlds.create(world.home.parent / "extra", "api", proxy_port=1)
    certificates.ensure_ca(extra)
    pem = (extra.ca / "ca.crt").read_text()
    bundle = certificates.write_bundle(world, [pem])
    text = bundle.read_text()
    machine = certificates.host_bundle().read_text()
    assert text.count("BEGIN CERTIFICATE") == machine.count("BEGIN CERTIFICATE") + 2
    assert pem in text
    context = ssl.create_default_context(cafile=str(bundle))
    assert context.cert_store_stats()["x509_ca"] > 0
