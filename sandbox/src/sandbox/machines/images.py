"""Base images of machines: built once by mmdebstrap into the user's cache, named by the hash of their recipe."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sandbox.machines import inherited
from sandbox.world.world import WorldError

Report = Callable[[str], None]

MINIMAL = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "locales",
    "netbase",
    "procps",
    "systemd",
    "systemd-sysv",
    "udev",
)
# A bare Debian as a Droplet has it before cloud-init: no web server, no certbot, no uv, no application.
BARE = (*MINIMAL, "cloud-init", "curl", "iputils-ping", "openssh-server", "python3", "sudo")
# The hooks run on this machine with the image's root as $1.
FIRST_BOOT = (
    # Identity belongs to a machine, not to its image.
    ': > "$1/etc/machine-id"; rm -f "$1"/etc/ssh/ssh_host_*_key* "$1/var/lib/dbus/machine-id"',
    # cloud-init renders for networkd; nothing waits for it, because a container's links are up before it starts.
    'chroot "$1" systemctl enable systemd-networkd.service',
    'chroot "$1" systemctl mask systemd-networkd-wait-online.service',
    # The journal is read from outside, also of a machine that is off.
    'mkdir -p "$1/var/log/journal"',
    'rm -f "$1/etc/hostname" "$1/etc/resolv.conf"',
)


class ImageError(WorldError):
    """An image could not be built; the text ends with what mmdebstrap said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What an image is made of. Hooks are mmdebstrap's: before and after the packages are installed."""

    suite: str
    packages: tuple[str, ...]
    newer: tuple[str, ...] = ()  # source packages taken from NEWER, with what else only NEWER has for them
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def version(self) -> str:
        """Name of this content: the same recipe is never built twice, a changed one never meets an old image."""
        fields = asdict(self) | {"newer": (NEWER, *self.newer)}
        if not self.newer:
            del fields["newer"]  # such an image is what it was before there was this field, and is not built again
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


def _postgres(version: str, *newer: str) -> Recipe:
    """Make the recipe of a database cluster's machine; PgBouncer is always NEWER's: docs/security.md says why."""
    return Recipe(
        suite="trixie",
        packages=(*MINIMAL, "pgbouncer", f"postgresql-{version}", "util-linux"),
        newer=("pgbouncer", *newer),
        before=(
            # The cluster is made at a machine's first start, with that cluster's own settings.
            'mkdir -p "$1/etc/postgresql-common"',
            'echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"',
        ),
        after=(
            # The locale of DigitalOcean's databases.
            'echo "en_US.UTF-8 UTF-8" >> "$1/etc/locale.gen"; chroot "$1" locale-gen',
            # Both are enabled once their configuration is written.
            'chroot "$1" systemctl disable postgresql.service pgbouncer.service',
            *FIRST_BOOT,
        ),
    )


# Single packages only, never all of a suite: its systemd (258 and newer) starts nowhere where control groups are v1.
NEWER = "forky"
RECIPES = {
    "base": Recipe(suite="trixie", packages=BARE, after=FIRST_BOOT),
    "postgres": _postgres("17"),
    # Built against NEWER's C library, whose packages are of one version.
    "postgres-18": _postgres("18", "postgresql-18", "glibc"),
}
DROPLETS = {"debian-13-x64": "base"}  # image for each of DigitalOcean's slugs that machines can have
POSTGRES = {"17": "postgres", "18": "postgres-18"}  # image for each major version
FIRST = ("base", "postgres")  # what `sandbox up` builds; the others are built when they are first asked for


def folder() -> Path:
    """Where images are kept; $XDG_CACHE_HOME is honoured."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "django-do" / "images"


def path_of(name: str) -> Path:
    """Where an image is, or will be once built."""
    return folder() / f"{name}-{RECIPES[name].version()}"


def ensure(name: str, report: Report, way: Sequence[str] = ()) -> Path:
    """Build an image unless it is there, reporting progress line by line; one builder at a time.

    The way to the mirrors is a prefix of the builder's command, for a caller in a network namespace that has none.
    """
    image = path_of(name)
    if image.is_dir():
        return image
    folder().mkdir(parents=True, exist_ok=True)
    with _lock(folder() / f".{name}.lock", lambda: report(f"image {name}: another process builds it, waiting")):
        if image.is_dir():
            return image
        for leftover in folder().glob(f".{name}-*.part"):
            shutil.rmtree(leftover)
        part = folder() / f".{image.name}.part"
        started = time.monotonic()
        _build(name, RECIPES[name], part, report, way)
        part.rename(image)  # from here on it counts as built
        _remove_older(name)
        report(f"image {name}: built in {time.monotonic() - started:.0f} s, {_mebibytes(image)} MiB in {image}")
    return image


def _remove_older(name: str) -> None:
    """Remove an image's other versions, but for those that the disk of a running machine lies on."""
    mounts = Path("/proc/self/mountinfo").read_text()
    for old in folder().glob(f"{name}-{'[0-9a-f]' * 12}"):  # not postgres-18-… for postgres
        if old != path_of(name) and str(old) not in mounts:
            shutil.rmtree(old)


def preferences(recipe: Recipe) -> str:
    """Write which packages apt takes from NEWER (apt_preferences(5)): the named ones, and what no other suite has."""
    pin = f"Pin: release n={NEWER}\nPin-Priority:"
    named = " ".join(f"src:{package}" for package in recipe.newer)
    return f"Package: *\n{pin} 100\n\nPackage: {named}\n{pin} 990\n"


def _build(name: str, recipe: Recipe, target: Path, report: Report, way: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        options = Path(temporary) / "options"
        options.write_text("\n".join(inherited.apt_options()) + "\n")
        hooks: list[str] = []
        sources = inherited.debian_sources(recipe.suite)
        if recipe.newer:
            pins = Path(temporary) / "preferences"
            pins.write_text(preferences(recipe))
            hooks = [
                '--setup-hook=mkdir -p "$1/etc/apt/preferences.d"',
                f'--setup-hook=cp "{pins}" "$1/etc/apt/preferences.d/newer"',
            ]
            sources = [*sources, inherited.source_of_testing(NEWER)]
        command = [
            *way,
            "mmdebstrap",
            "--mode=root",
            "--format=directory",
            "--variant=minbase",
            '--aptopt=Acquire::Languages "none"',
            f"--aptopt={options}",
            "--dpkgopt=force-confold",  # the files of `before` win over the packages'
            f"--include={','.join(recipe.packages)}",
            *hooks,
            *(f"--essential-hook={hook}" for hook in recipe.before),
            *(f"--customize-hook={hook}" for hook in recipe.after),
            recipe.suite,
            str(target),
            *sources,
        ]
        environment = os.environ | {"LC_ALL": "C.UTF-8", "TMPDIR": temporary}
        last: list[str] = []
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, errors="replace"
        ) as process:
            for line in process.stdout or ():
                last = [*last, line.rstrip()][-15:]
                if line.startswith("I: ") and "-hook" not in line:
                    report(f"image {name}: {line[3:].rstrip()}")
        if process.returncode:
            shutil.rmtree(target, ignore_errors=True)
            raise ImageError(
                f"image {name}: mmdebstrap failed with {process.returncode}; its mirrors are this machine's "
                "(/etc/apt): fix what it says and run the command again; nothing of the image is left\n"
                + "\n".join(last)
            )


@contextlib.contextmanager
def _lock(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _mebibytes(path: Path) -> int:
    done = subprocess.run(["du", "-sm", str(path)], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[0])
