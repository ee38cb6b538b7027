"""Rules for user data: its size, and that no secret is in it but the release agent's key."""

import json
import re
from collections.abc import Iterator

from policy.resources import Resource, Stack
from policy.rule import Findings, Problems, ResourceRule, StackRule
from protocol.written import SHORTEST, holds
from sizing.plans import USER_DATA_LIMIT

AGENT_KEY = "-agent-key"  # ends the name of the one key that a Droplet is given

# What a secret looks like, by its issuer's own mark.
TOKENS = {
    "a DigitalOcean API token": re.compile(r"\bdo[opr]_v1_[0-9a-f]{16,}"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "a PostgreSQL URI with a password": re.compile(r"\bpostgres(?:ql)?://[^\s:/@]+:[^\s:/@]+@"),
}
# Variables of an environment whose values are secrets; the others (hosts, names) may well be in user data.
SECRET_VARIABLE = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|(?:^|_)KEY(?:_|$)|_DSN$", re.IGNORECASE)


def small(resource: Resource) -> Problems:
    """Refuse more than DigitalOcean takes."""
    text = resource.get("userData")
    if isinstance(text, str) and (size := len(text.encode())) > USER_DATA_LIMIT:
        yield f"userData: must have at most {USER_DATA_LIMIT} bytes, got {size}"


def no_tokens(resource: Resource) -> Problems:
    """Refuse what is a secret by its looks; the value is not shown."""
    text = resource.get("userData")
    if isinstance(text, str):
        for what, pattern in TOKENS.items():
            if pattern.search(text):
                yield f"userData: must hold no secret but the agent's key, got {what}"


def no_secrets(stack: Stack) -> Findings:
    """Find secrets of other resources, by their values; they are named and not shown."""
    known = sorted({(owner, value) for found in stack.resources for owner, value in secrets_of(found)})
    for droplet in stack.of("Droplet"):
        text = droplet.get("userData")
        if isinstance(text, str):
            for owner in sorted({owner for owner, value in known if holds(text, value)}):
                yield droplet, f"userData: must hold no secret but the agent's key, got {owner}"


def secrets_of(resource: Resource) -> Iterator[tuple[str, str]]:
    """Name and value of each known secret of a resource, the agent's own key left out."""
    if resource.kind == "SpacesKey" and resource.name.endswith(AGENT_KEY):
        return
    for name in resource.secret_outputs:
        value = resource.get(name)
        if isinstance(value, str) and len(value) >= SHORTEST:
            yield f"{resource.name}.{name}", value
    if resource.kind == "Environment":
        yield from _variables(resource)


def _variables(resource: Resource) -> Iterator[tuple[str, str]]:
    """Secrets of the environment's document, which are nowhere else when they come from the settings."""
    document = resource.get("document")
    if isinstance(document, str):
        content = json.loads(document)
        for section in ("env", "release_env"):
            for variable, value in content.get(section, {}).items():
                if SECRET_VARIABLE.search(variable) and len(value) >= SHORTEST:
                    yield f"{resource.name}.document.{section}.{variable}", value


RULES = (
    ResourceRule(
        name="user-data-size",
        kinds=("Droplet",),
        why="DigitalOcean refuses user data of more than 64 KiB, after the rest of the stack was changed.",
        fix="put what grows into the release, or into a Space",
        check=small,
    ),
    ResourceRule(
        name="user-data-no-tokens",
        kinds=("Droplet",),
        why="The metadata service hands user data to root and to whoever has the API token, for the Droplet's life.",
        fix="put it into the environment (app.secrets), which the agent fetches",
        check=no_tokens,
    ),
    StackRule(
        name="user-data-no-secrets",
        kinds=("Droplet",),
        why="A password in user data can be changed only by replacing every Droplet.",
        fix="put it into the environment (app.secrets), which the agent fetches",
        check=no_secrets,
    ),
)
