"""What rules look at: the engine's resources as plain values, in which the unknown is a value of its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pulumi_policy.proxy import UnknownValueError


class Unknown:
    """A value that only exists after `pulumi up`; there is one, UNKNOWN."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


def plain(value: Any) -> Any:  # noqa: ANN401 -- property values have any shape
    """Turn the engine's property values, which raise where something is unknown, into plain ones with UNKNOWN."""
    if isinstance(value, Mapping):
        return {key: _item(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_item(value, index) for index in range(len(value))]
    # The wire has one kind of number.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _item(container: Any, key: object) -> Any:  # noqa: ANN401 -- property values have any shape
    try:
        return plain(container[key])
    except UnknownValueError:
        return UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One resource: its properties by their names on the wire, and the options that rules ask about."""

    urn: str
    kind: str  # the type without its package, such as "DatabaseCluster"
    name: str
    properties: Mapping[str, Any]
    protect: bool = False
    secret_outputs: tuple[str, ...] = ()
    uses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # property: URNs of what it is made from

    def get(self, name: str) -> Any:  # noqa: ANN401 -- property values have any shape
        """Return a property: None when it is not set, UNKNOWN when it can't be known yet."""
        return self.properties.get(name)

    def items(self, name: str) -> Iterator[tuple[str, Any]]:
        """Path and value of each known item of a list; nothing of a list that is not set or unknown."""
        yield from items(name, self.get(name))


def items(path: str, values: object) -> Iterator[tuple[str, Any]]:
    """Path and value of each known item of a list."""
    if isinstance(values, list):
        for index, value in enumerate(values):
            if value is not UNKNOWN:
                yield f"{path}[{index}]", value


def is_missing(value: object) -> bool:
    """Tell whether a property is known to be empty."""
    return value is None or value in ("", [], {})


def is_known(value: object) -> bool:
    """Tell whether no part of a value is unknown."""
    if isinstance(value, Mapping):
        return all(is_known(item) for item in value.values())
    if isinstance(value, list):
        return all(is_known(item) for item in value)
    return value is not UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """All resources of a stack; their properties are what the program asks for and, beside it, what there is."""

    resources: tuple[Resource, ...]

    def of(self, *kinds: str) -> list[Resource]:
        """Resources of these kinds, in the order of their names."""
        return sorted((found for found in self.resources if found.kind in kinds), key=lambda found: found.urn)

    @property
    def accepted(self) -> tuple[str, ...]:
        """The settings by which the user of the stack has accepted something; nothing where the stack does not say."""
        for root in self.of("Stack"):
            said = root.get("accepted")
            return tuple(said) if isinstance(said, list) else ()
        return ()

    @property
    def production(self) -> bool | None:
        """The stack's own word on whether it is production; None when it says nothing."""
        for root in self.of("Stack"):
            said = root.get("production")
            return said if isinstance(said, bool) else None
        return None
