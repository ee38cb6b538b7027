"""A secret made on the runner, kept in the stack's state, encrypted."""

import secrets
import string
from typing import Any

from provider.actions import CheckResult, CreateResult, DiffResult, ResourceProvider, checked, differing, is_unknown

# Safe in a URL, a shell, an environment file and YAML without quoting: 6 bits a character.
ALPHABET = string.ascii_letters + string.digits + "-_"
MIN_LENGTH = 16
MAX_LENGTH = 1024


def generate(length: int) -> str:
    """Return random text of `length` characters; it starts with a letter, so that no program takes it for an option."""
    return secrets.choice(string.ascii_letters) + "".join(secrets.choice(ALPHABET) for _ in range(length - 1))


class SecretProvider(ResourceProvider):
    """Make the value once; only another length makes another one."""

    secrets = ("value",)

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse a length that makes no secret."""
        length = news.get("length")
        fits = is_unknown(length) or (
            isinstance(length, int | float) and length == int(length) and MIN_LENGTH <= length <= MAX_LENGTH
        )
        problem = f"secret.length: must be a whole number from {MIN_LENGTH} to {MAX_LENGTH} characters, got {length!r}"
        return checked(news, [] if fits else [problem])

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Replace the value when another length is asked for."""
        replaces = differing(olds, news, ["length"])
        return DiffResult(changes=bool(replaces), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make the value."""
        length = int(props["length"])
        return CreateResult(secrets.token_hex(8), {"length": length, "value": generate(length)})
