"""The order in which the official plugin sends what is a set to it: by a number made of each member's text.

The API keeps the order of rules and tags as it gets them, so a state has them in this order, too. Source: set.go,
serialize.go and hashcode.go of terraform-plugin-sdk v2, helper/schema, on which the official plugin is built.
"""

import zlib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T", str, int)


def code(text: str) -> str:
    """Return the key by which members are sorted, as text."""
    return str(zlib.crc32(text.encode()))


def members(values: Iterable[T] | None) -> list[T]:
    """Return texts or numbers in their order, each once."""
    return sorted(dict.fromkeys(values or ()), key=lambda value: code(f"{value};"))


def tags(names: Iterable[str] | None) -> list[str]:
    """Return tags in their order, each once: without case."""
    once = {name.lower(): name for name in names or ()}
    return [once[name] for name in sorted(once, key=code)]


def serialised(properties: Mapping[str, object]) -> str:
    """Return an object's text: its members by name, and sets of theirs in braces."""
    return "".join(f"{name}:{_value(properties[name])};" for name in sorted(properties))


def _value(value: object) -> object:
    return "{" + "".join(f"{item};" for item in value) + "}" if isinstance(value, list) else value
