"""Errors as they may be shown: without secrets, and short."""

import contextlib
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping

from protocol.environment import Environment

TAIL = 6000  # characters of a failed program's output
# Variables whose values may be read in an error's text. Everything else is taken for a secret.
PUBLIC = re.compile(
    r"DJANGO_SETTINGS_MODULE|ALLOWED_HOSTS|CSRF_TRUSTED_ORIGINS|STATIC_(URL|ROOT)|RELEASE|AWS_STORAGE_BUCKET_NAME"
    r"|PGSSL(MODE|ROOTCERT)|AWS_S3_(CUSTOM_DOMAIN|ENDPOINT_URL|REGION_NAME)|AWS_(REQUEST|RESPONSE)_CHECKSUM_\w+|DJANGO_SUPERUSER_(USERNAME|EMAIL)"
)
SHORTEST_SECRET = 6  # characters; replacing shorter texts would make a message unreadable


def secrets(environment: Environment) -> dict[str, str]:
    """Return text that must not be shown -> what is shown in its place."""
    found: dict[str, str] = {}
    for name, value in [*environment.env.items(), *environment.release_env.items()]:
        if PUBLIC.fullmatch(name):
            continue
        # Line by line too: of a key in PEM an error may show a part.
        found |= dict.fromkeys([value, *value.splitlines()], f"[{name}]")
        with contextlib.suppress(ValueError):  # not a URL
            if password := urllib.parse.urlsplit(value).password:
                found[password] = found[urllib.parse.unquote(password)] = "[password]"
    return {text: shown for text, shown in found.items() if len(text) >= SHORTEST_SECRET}


def redacted(text: str, secrets: Mapping[str, str]) -> str:
    """Return the text without secrets; the longest first, because one may hold another."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, secrets[secret])
    return text


def brief(text: str) -> str:
    """Return the first line, which says what failed, and the last ones, where programs say why."""
    first, _, rest = text.strip().partition("\n")
    return f"{first}\n{rest[-TAIL:]}".rstrip()
