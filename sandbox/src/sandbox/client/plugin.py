"""Which plugin Pulumi's engine talks to DigitalOcean with: the sandbox's own or the official one, chosen by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sandbox.world.world import WorldError

CHOICE = "SANDBOX_PLUGIN"  # the variable that a person sets
CHOICES = ("auto", "own", "official")
_PACKAGED = Path(__file__).parents[1] / "provider"  # where a wheel has it (pyproject.toml)
OWN = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[3] / "provider"


@dataclass(frozen=True, slots=True)
class Plugin:
    """A provider plugin, and why it is this one."""

    official: bool
    reason: str

    def __str__(self) -> str:
        """Say it in one line."""
        name = "the sandbox's own" if not self.official else f"the official {_version() or 'one'}"
        return f"provider plugin: {name}, {self.reason}"


def choose(base: Mapping[str, str]) -> Plugin:
    """Choose by the variables of a command: what is named, else the official plugin where it is installed."""
    choice = base.get(CHOICE) or "auto"
    if choice not in CHOICES:
        raise WorldError(f'{CHOICE}: must be one of {", ".join(CHOICES)}, got "{choice}"')
    if _version() is None:  # a sandbox by itself, without what its own plugin is made with
        if choice == "own":
            raise WorldError(f"{CHOICE}: the sandbox's own plugin needs the extra `program`, which is not installed")
        return Plugin(official=True, reason="of the version that your program asks for: the sandbox has none installed")
    folder = _official(base)
    # The engine overlooks a folder with such a file beside it: its installation was interrupted.
    installed = folder.is_dir() and not folder.with_name(f"{folder.name}.partial").exists()
    if choice == "auto":
        if installed:
            return Plugin(official=True, reason=f"since it is installed ({CHOICE}=own is faster)")
        return Plugin(official=False, reason=f"since the official {_version()} is not installed")
    if choice == "official" and not installed:
        raise WorldError(
            f"{CHOICE}: the official plugin must be installed in {folder}, got nothing there; "
            f"`toolchain/install-plugin` installs it where Pulumi's server answers, {CHOICE}=own does without"
        )
    return Plugin(official=choice == "official", reason=f"chosen by {CHOICE}")


def pulumi_home(base: Mapping[str, str]) -> Path:
    """Return where Pulumi installs plugins: below $HOME, since the account may have no folder of its own."""
    return Path(base.get("PULUMI_HOME") or Path.home() / ".pulumi")


def _official(base: Mapping[str, str]) -> Path:
    return pulumi_home(base) / "plugins" / f"resource-digitalocean-v{_version()}"


def _version() -> str | None:
    """Return the SDK's version, or None without it: the engine takes a plugin of this very version, or one on PATH."""
    try:
        return version("pulumi-digitalocean")
    except PackageNotFoundError:
        return None
