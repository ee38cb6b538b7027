"""Errors as they may be shown: without secrets, and readable for all that is none."""

import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping

from protocol.environment import Environment
from protocol.written import forms

# The value of such a variable is a secret, whoever has set it. Rather too many names than one too few.
SECRET_NAME = re.compile(r"(?i)SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|(KEYS?|PASS|PWD|DSN)\d*(?![A-Z0-9])")
# Shorter texts, and words that messages have anyway, are replaced where they stand alone: a message must stay readable.
SHORT = 6  # characters
COMMON = {"default", "django", "localhost", "password", "postgres", "postgresql", "production", "secret", "testing"}
# Nobody's secret.
SHORTEST = 3  # characters
TRIVIAL = {"true", "false", "yes", "off", "none", "null"}

_USER_INFO = re.compile(r"(?P<scheme>[\w+.-]*)://(?P<user>[^/?#\s:@]*)(?::(?P<password>[^/?#\s]*))?@")
# Alone is also what follows an escape: "\nsecret" in a repr, "%20secret" in a URL.
_ALONE = r"(?:(?<![0-9A-Za-z_])|(?<=\\[abfnrtv])|(?<=%[0-9A-Fa-f]{{2}})){}(?![0-9A-Za-z_])"


def secrets(environment: Environment) -> dict[str, str]:
    """Return text that must not be shown -> what is shown in its place."""
    variables = [*environment.env.items(), *environment.release_env.items()]
    named = [(name, value) for name, value in variables if name in environment.secrets or SECRET_NAME.search(name)]
    found: dict[str, str] = {}
    for _, value in variables:
        for part in _in_addresses(value):
            found |= dict.fromkeys(written(part), "[password]")
    # Last, because these names say more.
    for name, value in named:
        for part in (value, *_lines(value), *_leaves(value)):
            found |= dict.fromkeys(written(part), f"[{name}]")
    return found


def written(secret: str) -> set[str]:
    """Return how a secret may be written in an error's text; nothing for what is none."""
    if len(secret) < SHORTEST or secret.lower() in TRIVIAL:
        return set()
    # Of a short one, its pieces in Base64 may be in any text.
    return {secret, *(form for form in forms(secret) if len(form) >= SHORT)}


def redacted(text: str, secrets: Mapping[str, str]) -> str:
    """Return the text without secrets. Of those that overlap the longest is named, and none is left in part."""
    spans = sorted((start, start + len(secret), secret) for secret in secrets for start in _places(text, secret))
    joined: list[tuple[int, int, str]] = []
    for start, end, secret in spans:
        if joined and start < joined[-1][1]:
            first, last, other = joined.pop()
            joined.append((first, max(last, end), max(other, secret, key=len)))
        else:
            joined.append((start, end, secret))
    shown, position = [], 0
    for start, end, secret in joined:
        shown += [text[position:start], secrets[secret]]
        position = end
    return "".join([*shown, text[position:]])


def _places(text: str, secret: str) -> Iterator[int]:
    """Yield where a secret stands, also where it overlaps itself."""
    if len(secret) < SHORT or secret.lower() in COMMON:
        yield from (match.start() for match in re.finditer(_ALONE.format(re.escape(secret)), text))
        return
    start = text.find(secret)
    while start >= 0:
        yield start
        start = text.find(secret, start + 1)


def _in_addresses(value: str) -> Iterator[str]:
    """Yield the passwords in the URLs of a value, as they are written and decoded."""
    for address in _USER_INFO.finditer(value):
        user, password = address["user"], address["password"]
        if password is None and address["scheme"].startswith("http"):
            password = user  # a token, as package indexes and Git have it
        if password:
            yield password
            yield urllib.parse.unquote(password)
    try:
        urllib.parse.urlsplit(value).port  # noqa: B018 - reading it is the check
    except ValueError:  # a password that was not quoted, such as `postgres://app:sword/fish@db.example/app`
        yield value.partition("://")[2].rpartition("@")[0].partition(":")[2]
    _, _, query = value.partition("?")
    for name, password in urllib.parse.parse_qsl(query) if "://" in value else ():
        if SECRET_NAME.search(name):
            yield password


def _lines(value: str) -> Iterator[str]:
    """Yield the lines of a value: of a key in PEM an error may show a part."""
    lines = value.splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= SHORT)


def _leaves(value: str) -> Iterator[str]:
    """Yield what a document has under such names, a service's account say: programs show the values alone."""
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return
    if isinstance(document, dict):
        yield from (leaf for name, leaf in document.items() if isinstance(leaf, str) and SECRET_NAME.search(name))
