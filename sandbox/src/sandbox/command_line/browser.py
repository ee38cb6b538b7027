"""The command that opens a world's site in the user's own browser, with a throw-away profile.

The browser accepts the keys of this world's authorities only, and only in that profile; nothing is installed on the
machine. Chromium looks for the keys among the certificates that a server sends, so the ACME server's intermediates are
named, not its roots. All the profile's connections go through the world's proxy, which leads nowhere else.
"""

import shlex
import shutil

from cryptography import x509

from sandbox.model.store import Store
from sandbox.model.topology_of import topology
from sandbox.parts import acme
from sandbox.world import certificates
from sandbox.world.world import World, WorldError

# Chromium, and those made of it; the first that is there. All know the same flags.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "brave-browser", "microsoft-edge")


def command(world: World, urls: tuple[str, ...]) -> str:
    """Write the shell command; it holds no secret and needs no root. Without addresses it opens the world's sites."""
    found = next((name for name in BROWSERS if shutil.which(name)), BROWSERS[0])
    options = [
        '--user-data-dir="$(mktemp -d)"',
        "--no-first-run",
        f"--proxy-server=http://127.0.0.1:{world.proxy_port}",
        f"--ignore-certificate-errors-spki-list={','.join(_keys(world))}",
    ]
    return " ".join([found, *options, *(shlex.quote(url) for url in urls or _sites(world))])


def _keys(world: World) -> list[str]:
    authorities = [(world.ca / "ca.crt").read_text(), *acme.intermediates(world)]
    return [certificates.key_hash(x509.load_pem_x509_certificate(pem.encode())) for pem in authorities]


def _sites(world: World) -> tuple[str, ...]:
    """List the addresses of all names that lead to a machine."""
    store = Store(world.database, read_only=True)
    try:
        names = sorted({record.name for record in topology(store).records if record.type == "A"})
    finally:
        store.close()
    if not names:
        raise WorldError(f"{world.home}: no site in this world yet; run `scripts/stack local up`, or give an address")
    return tuple(f"https://{name}" for name in names)
