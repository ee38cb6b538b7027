"""Look for secrets: in a text, and in every file that a user of a machine may read."""

import base64
from collections.abc import Mapping
from urllib.parse import quote

from sandbox.machines.machine import Machine

Secrets = Mapping[str, str]  # name -> value

# Prints path:match for each pattern in each file. The patterns are in the environment, because stdin has the paths.
SEARCH = """
find / /run /run/credentials/* /dev/shm /tmp -xdev -type f -readable -print0 2>/dev/null |
    xargs -0 sh -c 'printenv PATTERNS | grep -aoHF -f - -- "$@"' grep
true
"""


def forms(secret: str) -> set[str]:
    """How a secret may be written: as it is, in a URL, in Base64 at any place of a longer text."""
    whole = {secret, quote(secret, safe="")}
    for before in range(3):
        encoded = base64.b64encode(b"x" * before + secret.encode()).decode().rstrip("=")
        # What depends on the neighbours is left out: characters that hold bits of them.
        whole.add(encoded[(before * 8 + 5) // 6 : len(encoded) - 1])
    return whole


def found_in(text: str, secrets: Secrets) -> set[str]:
    """Names of the secrets that are in a text, in any form."""
    return {name for name, secret in secrets.items() if any(form in text for form in forms(secret))}


def found_on(here: Machine, user: str, secrets: Secrets) -> dict[str, set[str]]:
    """Names of the secrets in files that a user of the machine can read, and in which ones."""
    named = {form: name for name, secret in secrets.items() for form in forms(secret)}
    command = [*as_user(user), "sh", "-c", SEARCH]
    lines = here.run(command, environment={"PATTERNS": "\n".join(named)}).stdout.splitlines()
    found: dict[str, set[str]] = {}
    for path, _, form in (line.partition(":") for line in lines):
        found.setdefault(named[form], set()).add(path)
    return found


def as_user(user: str) -> list[str]:
    """Prefix a command so that it runs as a user without any other group."""
    return ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]
