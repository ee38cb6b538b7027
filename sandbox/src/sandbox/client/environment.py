"""The environment of `sandbox exec`: credentials, trust, Pulumi's backend and PATH; never another address."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from sandbox.client import plugin
from sandbox.machines.inherited import PROXIES, TRUST_VARIABLES
from sandbox.world.world import World

# The engine looks for a plugin on PATH first, unless this is set, and then among those that it installed.
IGNORE_AMBIENT = "PULUMI_IGNORE_AMBIENT_PLUGINS"
# They would win over the bundle, lead around the world, or hide the sandbox's own plugin.
REMOVED = (
    "SSL_CERT_DIR",
    *PROXIES,
    "DIGITALOCEAN_API_URL",
    "DIGITALOCEAN_CONTEXT",
    "SPACES_ENDPOINT_URL",
    "AWS_CA_BUNDLE",  # see TRUST_VARIABLES
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "PULUMI_ACCESS_TOKEN",
    "PULUMI_CONFIG_PASSPHRASE",
    IGNORE_AMBIENT,
)


def clients(world: World, base: Mapping[str, str]) -> dict[str, str]:
    """All variables of a client's command, from those it would have outside."""
    inherited = {name: value for name, value in base.items() if name not in REMOVED}
    cache = Path(base.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "django-do" / "bin"
    official = plugin.choose(base).official
    added = [str(folder) for folder in ([] if official else [plugin.OWN]) + [cache] if folder.is_dir()]
    variables = {
        **way(world),
        "PATH": os.pathsep.join([*added, base.get("PATH", os.defpath)]),
        "DIGITALOCEAN_TOKEN": world.token,
        # doctl's name of it, and its file: `doctl auth init` would write the token over the user's own.
        "DIGITALOCEAN_ACCESS_TOKEN": world.token,
        "DIGITALOCEAN_CONFIG": str(world.home / "doctl.yaml"),
        "SPACES_ACCESS_KEY_ID": world.spaces_access_key,
        "SPACES_SECRET_ACCESS_KEY": world.spaces_secret_key,
        "PULUMI_HOME": str(plugin.pulumi_home(base)),  # the CLI 3.276 asks the account, not $HOME
        "PULUMI_BACKEND_URL": f"file://{world.pulumi / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(world.pulumi / "passphrase"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "SANDBOX_HOME": str(world.home),
    }
    if official:
        variables[IGNORE_AMBIENT] = "true"
    return inherited | variables


def way(world: World) -> dict[str, str]:
    """Return what leads every program to the world's names, and lets it trust them; without what is in REMOVED."""
    trust = dict.fromkeys((*TRUST_VARIABLES, "NODE_EXTRA_CA_CERTS"), str(world.bundle))
    if world.depth == "api":
        return trust | proxies(world)
    # Debian 12's gateway knows no chunks with a checksum behind them, which AWS's clients send by themselves.
    sums = {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required", "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required"}
    return trust | sums


def proxies(world: World) -> dict[str, str]:
    """Return what leads programs outside the world's network to its names: by the proxy, which leads nowhere else."""
    # Upper case only: a lower-case http_proxy, the only one that curl takes for http, would lead gRPC, and so Pulumi's
    # engine, to the proxy.
    proxy = f"http://127.0.0.1:{world.proxy_port}"
    return {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "NO_PROXY": "localhost,127.0.0.1"}


def prepare_pulumi(world: World) -> None:
    """Make the folder of Pulumi's backend and the passphrase of its stacks, once."""
    (world.pulumi / "state").mkdir(parents=True, exist_ok=True, mode=0o700)
    passphrase = world.pulumi / "passphrase"
    if not passphrase.exists():
        descriptor = os.open(passphrase, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
