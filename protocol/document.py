"""What all documents have in common: JSON, always the same bytes, and what is wrong with one that isn't valid."""

import json
import re
from collections.abc import Mapping
from typing import Any

DIGEST = "[0-9a-f]{64}"  # SHA-256


class DocumentError(ValueError):
    """A document breaks the protocol: path, rule and value."""


def json_bytes(document: object) -> bytes:
    """Return a document as it is stored: equal documents are equal bytes."""
    return (json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def json_object(body: bytes, source: str) -> dict[str, Any]:
    """Read a JSON object; `source` names it in errors."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{source}: must be JSON, {error}") from None
    return checked_object(document, source)


def checked_object(document: object, source: str) -> dict[str, Any]:
    """Refuse what is JSON, but not an object."""
    if not isinstance(document, dict):
        raise DocumentError(f"{source}: must be a JSON object, got {type(document).__name__}")
    return document


def require_fields(document: Mapping[str, object], source: str, rules: Mapping[str, str], *others: str) -> None:
    """Refuse fields that are not known, and texts that don't match their rule (a regular expression)."""
    if unknown := document.keys() - {*rules, *others}:
        raise DocumentError(f"{source}: has unknown fields: {', '.join(sorted(unknown))}")
    for name, rule in rules.items():
        value = document.get(name)
        if not isinstance(value, str) or not re.fullmatch(rule, value):
            raise DocumentError(f"{source}.{name}: must match {rule}, got {value!r}")
