"""A browser that trusts the world's authorities, so that certificates are verified as everywhere else."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.browser.visitor import Visitor, chromium

if TYPE_CHECKING:
    from tests.worlds import Deployment

HOST_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


@pytest.fixture(scope="session")
def trusting_home(deployed: Deployment) -> Iterator[Path]:
    """Make a home directory whose NSS database holds what the world adds to the machine's authorities."""
    home = Path(tempfile.mkdtemp(prefix="browser-"))
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    certutil = ["certutil", "-d", f"sql:{database}"]
    subprocess.run([*certutil, "-N", "--empty-password"], check=True, timeout=30)
    known = set(CERTIFICATE.findall(HOST_BUNDLE.read_text()))
    added = [pem for pem in CERTIFICATE.findall(deployed.world.bundle.read_text()) if pem not in known]
    assert added, f"{deployed.world.bundle}: must hold the world's authority, got nothing but the machine's own"
    for number, pem in enumerate(added):
        subprocess.run(
            [*certutil, "-A", "-n", f"world {number}", "-t", "C,,"], input=pem, text=True, check=True, timeout=30
        )
    yield home
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """Start Playwright's driver once."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright: Playwright, deployed: Deployment, trusting_home: Path) -> Iterator[Browser]:
    """Start the browser once."""
    with chromium(playwright, home=trusting_home, proxy_port=deployed.world.proxy_port) as started:
        yield started


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """Open a window without a past; at the end, nothing may have gone wrong in it."""
    context = browser.new_context(color_scheme="light", locale="en-GB")
    visitor = Visitor(context.new_page())
    yield visitor
    context.close()
    assert visitor.problems == []
