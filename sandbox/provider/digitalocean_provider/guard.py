"""The provider serves sandboxes only: it must never be the one that touches a real account."""

import json
import os
from pathlib import Path

REAL_TOKEN_PREFIX = "dop_v1_"  # noqa: S105 -- how tokens of real accounts begin, docs.digitalocean.com


def refusal_of_token(token: str) -> str | None:
    """Say why a token is not a sandbox's, or None."""
    if token.startswith(REAL_TOKEN_PREFIX):
        return (
            f'DIGITALOCEAN_TOKEN: must be a sandbox\'s token, got one of a real account ("{REAL_TOKEN_PREFIX}…"); '
            "cloud stacks need the official plugin: take sandbox/provider off PATH"
        )
    home = os.environ.get("SANDBOX_HOME")
    if not home:
        return "SANDBOX_HOME: must name a sandbox's directory, got nothing; run the command with `sandbox exec`"
    world = Path(home) / "world.json"
    try:
        expected = json.loads(world.read_text()).get("token")
    except (OSError, ValueError) as error:
        return f"SANDBOX_HOME: no readable sandbox in {home} ({error}); start one with `sandbox up`"
    if not token or token != expected:
        return f"DIGITALOCEAN_TOKEN: must be the token of the sandbox in {home}; run the command with `sandbox exec`"
    return None


def refusal() -> str | None:
    """Say why this process is not inside a sandbox, or None."""
    return refusal_of_token(os.environ.get("DIGITALOCEAN_TOKEN", ""))
