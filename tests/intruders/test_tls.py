"""The site's TLS by a scanner that others keep: https://github.com/nabla-c0d3/sslyze."""

import sys
from urllib.parse import urlsplit

import pytest

from tests.worlds import Deployment

pytestmark = pytest.mark.full

# Protocols, ciphers, curves, certificate and its chain, and known attacks, against a configuration of Mozilla's.
SCAN = '"$0" -m sslyze --certinfo_ca_file="$SSL_CERT_FILE" --mozilla_config="$1" "$2"'


def scan(deployed: Deployment, configuration: str) -> tuple[int, str]:
    """Exit status, 0 without a finding, and report."""
    host = urlsplit(deployed.url).hostname
    done = deployed.exec("sh", "-c", SCAN, sys.executable, configuration, str(host), check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_scanner_finds_nothing(deployed: Deployment) -> None:
    """The site follows Mozilla's intermediate configuration, and has none of the known holes."""
    status, report = scan(deployed, "intermediate")
    assert (status, "OK - Compliant" in report) == (0, True), report
    assert "VULNERABLE" not in report
    assert "Error when running" not in report


def test_the_scanner_can_find_something(deployed: Deployment) -> None:
    """The control: by the modern configuration TLS 1.2 is one version too many."""
    status, report = scan(deployed, "modern")
    assert status != 0
    assert "tls_versions" in report
