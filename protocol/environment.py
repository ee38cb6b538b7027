"""A release's environment: what the app is started with, one immutable object per content."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from protocol.document import DocumentError, json_bytes, json_object

_TEXTS = ("wsgi", "database", "health_path")
_LISTS = ("health_status", "allow")
_OPTIONAL_TEXTS = ("database_ca", "python")
_MAPPINGS = ("env", "release_env")
_OPTIONAL_LISTS = ("secrets",)

# What a Droplet refuses unless `allow` names it: settings that are not what was given, and a first page elsewhere.
ALLOWANCES = (
    "debug",
    "insecure-cookies",
    "insecure-requests",
    "other-database",
    "other-secret-key",
    "redirect-elsewhere",
    "startup-options",
)


def content_hash(text: str) -> str:
    """Return the SHA-256 of a document as it is stored."""
    return hashlib.sha256(text.encode()).hexdigest()


def environment_key(content: str) -> str:
    """Return the object's key for a hash."""
    return f"environments/{content}.json"


def canonical(document: Mapping[str, Any]) -> str:
    """Return the document as it is stored; all of its problems are reported together, by path and without values."""
    if problems := _problems(document):
        raise DocumentError("\n".join(f"environment.{problem}" for problem in problems))
    return json_bytes(document).decode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """The document; `release_env` is for migrations only and never reaches the disk."""

    wsgi: str = ""
    database: str = ""  # what the app must connect to: user@host:port/name
    health_path: str = ""  # of the page that a release is judged by
    health_status: list[str] = field(default_factory=list)  # codes and ranges that it may answer with
    allow: list[str] = field(default_factory=list)  # among ALLOWANCES
    env: Mapping[str, str] = field(default_factory=dict)
    release_env: Mapping[str, str] = field(default_factory=dict)
    database_ca: str = ""
    python: str = ""  # a version for uv to find or download; none: the Droplet's own
    # Variables that no error's text may show, beside those whose name says so.
    secrets: Sequence[str] = ()

    @classmethod
    def parse(cls, body: bytes, key: str) -> Self:
        """Check that it is the document that the release was made with; raises DocumentError."""
        if key != environment_key(hashlib.sha256(body).hexdigest()):
            raise DocumentError(f"{key}: its content does not have this hash; upload it again with `pulumi up`")
        document = json_object(body, key)
        if problems := _problems(document):
            raise DocumentError("\n".join(f"{key}: {problem}" for problem in problems))
        # One that does not say which are secret is older than the field: any of them may be.
        document.setdefault("secrets", sorted({*document["env"], *document["release_env"]}))
        return cls(**document)


def _problems(document: Mapping[str, Any]) -> list[str]:
    """Say what breaks the protocol, never by value: values are secrets."""
    known = (*_TEXTS, *_LISTS, *_MAPPINGS, *_OPTIONAL_TEXTS, *_OPTIONAL_LISTS)
    problems = [f"{name}: unknown, the document has {', '.join(known)}" for name in sorted(document.keys() - {*known})]
    for name in (*_TEXTS, *(name for name in _OPTIONAL_TEXTS if name in document)):
        value = document.get(name)
        if not isinstance(value, str) or not value:
            got = "an empty one" if value == "" else type(value).__name__
            problems.append(f"{name}: must be a non-empty text, got {got}")
    for name in (*_LISTS, *(name for name in _OPTIONAL_LISTS if name in document)):
        texts = document.get(name)
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            problems.append(f"{name}: must be a list of texts, got {type(texts).__name__}")
    for name in _MAPPINGS:
        mapping = document.get(name)
        if not isinstance(mapping, Mapping):
            problems.append(f"{name}: must be a mapping of texts, got {type(mapping).__name__}")
            continue
        problems += [
            f"{name}.{variable}: {rule}"
            for variable, value in sorted(mapping.items())
            for rule in _broken_rules(variable, value)
        ]
    return problems


def _broken_rules(variable: str, value: object) -> list[str]:
    rules = []
    if not variable or "=" in variable or not variable.isprintable():
        rules.append("must be a name without `=`; rename the variable")
    if not isinstance(value, str):
        rules.append(f"must be a text, got {type(value).__name__}; put it in quotes")
    elif "\0" in value:
        rules.append("must not hold a NUL character, no process could get it; encode the value")
    return rules
