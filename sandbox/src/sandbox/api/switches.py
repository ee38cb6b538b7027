"""What DigitalOcean does to one account and not to another, or what nobody knows yet: each can be played both ways."""

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from sandbox.model.store import Store
from sandbox.world.world import WorldError

_KIND = "switches"
_ID = "world"
_WORDS = {"on": True, "off": False}


class Switches(BaseModel):
    """How the account and the unknown behave; a new world has the defaults."""

    model_config = ConfigDict(extra="forbid", strict=True)

    old_clusters: bool = Field(
        default=False,
        description="the account may go on creating Standard clusters with more than one node or more than 4 GiB",
    )
    advanced_pools: bool = Field(default=True, description="Advanced clusters have connection pools")
    advanced_ca: Literal["none", "empty", "own"] = Field(
        default="none",
        description="what is answered to who asks for an Advanced cluster's authority: "
        "404, an empty certificate, or the one that signs it here",
    )
    droplet_limit: Literal["90", "3", "300"] = Field(
        default="90", description="how many Droplets the account may have at once"
    )
    rate_limit: bool = Field(
        default=False,
        description="the API takes 250 calls a minute and 5,000 an hour, and says in headers how many are left",
    )

    @property
    def droplets(self) -> int:
        """The Droplet limit as a number."""
        return int(self.droplet_limit)


def read(store: Store) -> Switches:
    """Return how a world's switches are."""
    found = store.get(_KIND, _ID)
    return Switches.model_validate(found.body if found else {})


def change(store: Store, fields: dict[str, Any]) -> Switches:
    """Set those that are named; raises pydantic's ValidationError for a name or a value that is none."""
    changed = Switches.model_validate(read(store).model_dump() | fields)
    store.put(_KIND, _ID, changed.model_dump())
    return changed


def reset(store: Store) -> Switches:
    """Set all as in a new world."""
    store.delete(_KIND, _ID)
    return read(store)


def parsed(name: str, value: str) -> dict[str, Any]:
    """Return one switch as a user writes it, such as `old-clusters on`; raises WorldError for what is none."""
    words = {field.replace("_", "-"): _words(field) for field in Switches.model_fields}
    if name not in words:
        raise WorldError(f'switch: must be one of {", ".join(words)}, got "{name}"')
    if value not in words[name]:
        raise WorldError(f'{name}: must be one of {", ".join(words[name])}, got "{value}"')
    return {name.replace("-", "_"): words[name][value]}


def table(store: Store) -> list[str]:
    """Return a line per switch: its name, its value, the others that it may have, and what it means."""
    now = read(store).model_dump()
    lines = []
    for field, info in Switches.model_fields.items():
        words = _words(field)
        word = next(word for word, value in words.items() if value == now[field])
        others = " or ".join(other for other in words if other != word)
        lines.append(f"{field.replace('_', '-'):<15} {word:<6} (or {others}): {info.description}")
    return lines


def _words(field: str) -> dict[str, Any]:
    annotation = Switches.model_fields[field].annotation
    return _WORDS if annotation is bool else {word: word for word in get_args(annotation)}
