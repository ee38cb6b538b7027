"""A world: one directory that holds everything a sandbox is made of, from its CA to its disks."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Depth = Literal["full", "api"]

# Addresses inside a full world. 198.51.100.0/24 is TEST-NET-2 (RFC 5737); see docs/adr for why not 203.0.113.0/24.
PUBLIC_RANGE = "198.51.100.0/24"
GATEWAY = "198.51.100.1"  # router, DNS, and the front of every DigitalOcean host name
INTERNET_SIDE = "198.51.100.2"  # where `sandbox exec` runs
RESOLVER = "67.207.67.2"  # the resolver that Droplets use (docs: digitalocean.com, "DNS resolvers")
METADATA = "169.254.169.254"

API_HOST = "api.digitalocean.com"
CLOUD_HOST = "cloud.digitalocean.com"  # of which the world has what `doctl auth init` asks
ACME_HOST = "acme-v02.api.letsencrypt.org"
SPACES_DOMAIN = "digitaloceanspaces.com"
DATABASE_DOMAIN = "db.ondigitalocean.com"

WORLD_FILE = "world.json"
PART = "world.part"  # what becomes world.json: all that a full disk may leave
# Every name that a world may have in its home: what else is in a directory belongs to somebody.
CONTENTS = frozenset(
    {
        *(WORLD_FILE, PART, "api.sqlite", "api.sqlite-shm", "api.sqlite-wal"),
        *("acme", "balancers", "ca", "clusters", "front", "layers", "logs", "machines", "pulumi", "run", "spaces"),
    }
)


class WorldError(Exception):
    """A world can't be used as asked; the text says why and how to fix it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Where a world lives and what its parts agree on. Ports are on loopback."""

    home: Path
    depth: Depth
    clone: str  # the checkout that started it, for messages
    token: str
    spaces_access_key: str
    spaces_secret_key: str
    proxy_port: int

    @property
    def ca(self) -> Path:
        """Folder of the world's certificate authority: ca.crt, ca.key (0600), bundle.crt (what clients trust)."""
        return self.home / "ca"

    @property
    def bundle(self) -> Path:
        """Trust bundle for clients: the machine's authorities, the world's, and the ACME server's root."""
        return self.ca / "bundle.crt"

    @property
    def database(self) -> Path:
        """The API's SQLite store."""
        return self.home / "api.sqlite"

    @property
    def logs(self) -> Path:
        """One log per process."""
        return self.home / "logs"

    @property
    def run(self) -> Path:
        """Sockets, pid files and generated configuration of the world's processes."""
        return self.home / "run"

    @property
    def pulumi(self) -> Path:
        """Pulumi's backend, passphrase and stack settings of this world."""
        return self.home / "pulumi"

    @property
    def file(self) -> Path:
        """What makes a directory a world: the first file that is made in it, and the last that goes."""
        return self.home / WORLD_FILE

    def save(self) -> None:
        """Write world.json whole or not at all, readable by its owner only."""
        part = self.file.with_name(PART)
        fields = asdict(self) | {"home": str(self.home)}
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(fields, file, indent=2)
        part.rename(self.file)


def default_home(depth: Depth) -> Path:
    """$SANDBOX_HOME, else a folder per depth under the user's state directory."""
    if configured := os.environ.get("SANDBOX_HOME"):
        return Path(configured)
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "django-do" / depth


def load(home: Path) -> World:
    """Read world.json of an existing world."""
    path = home / WORLD_FILE
    if not path.exists():
        raise WorldError(f"{home}: no world here; start one with `sandbox up`")
    try:
        fields = json.loads(path.read_text())
        return World(**(fields | {"home": Path(fields["home"])}))
    except (ValueError, TypeError, KeyError) as error:
        raise WorldError(f"{path}: must describe a world, got something else ({error}); remove {home}") from error


def new(home: Path, depth: Depth, *, proxy_port: int) -> World:
    """Describe a new world with fresh credentials; nothing is made on disk."""
    return World(
        home=home,
        depth=depth,
        clone=str(Path.cwd()),
        token="sandbox_v1_" + secrets.token_hex(32),
        spaces_access_key="DO00" + secrets.token_hex(8).upper(),
        spaces_secret_key=secrets.token_urlsafe(32),
        proxy_port=proxy_port,
    )


def establish(world: World) -> None:
    """Make the directory of a world, or what is missing of it."""
    world.home.mkdir(parents=True, exist_ok=True)
    world.home.chmod(0o700)  # also one that existed: machines' disks and keys are in it
    world.save()
    for folder in (world.ca, world.logs, world.run, world.pulumi):
        folder.mkdir(mode=0o700, exist_ok=True)


def create(home: Path, depth: Depth, *, proxy_port: int) -> World:
    """Make the directory of a new world with fresh credentials."""
    world = new(home, depth, proxy_port=proxy_port)
    establish(world)
    return world


def is_leftover(home: Path) -> bool:
    """Whether a directory holds nothing but remains of a world that was not wholly made or removed.

    `up` removes such remains, so every name in it must be a world's, and either `run` is among them, which every world
    has from its beginning, or there is no file at all but the one that becomes world.json.
    """
    if home.is_symlink() or not home.is_dir() or (home / WORLD_FILE).exists():
        return False
    names = {path.name for path in home.iterdir()}
    files = (path for path in home.rglob("*") if path.is_file() and path.name != PART)
    return names <= CONTENTS and ("run" in names or not any(files))


def has_other_files(home: Path) -> bool:
    """Whether a directory holds something that does not belong to a world, so that no world may be made in it."""
    if (home / WORLD_FILE).exists() or not home.exists():
        return False
    return not home.is_dir() or (any(home.iterdir()) and not is_leftover(home))
