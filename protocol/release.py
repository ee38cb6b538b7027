"""Releases: what one consists of, which one is desired, and by whom."""

import re
from dataclasses import asdict, dataclass
from typing import Any, Self

from protocol.document import DIGEST, DocumentError, checked_object, require_fields

DESIRED = "desired.json"
GOOD = "good.json"
RECORDS = "releases/"  # the prefix of all releases that were ever rolled out

_RULES = {
    "release": "[0-9a-f]{8}-[0-9a-f]{8}",
    "artifact": rf"artifacts/{DIGEST}\.tar",
    "sha256": DIGEST,
    "environment": rf"environments/{DIGEST}\.json",
}


def artifact_key(sha256: str) -> str:
    """Return the key of an artifact's object."""
    return f"artifacts/{sha256}.tar"


def record_key(release: str) -> str:
    """Return the key of a release's record."""
    return f"{RECORDS}{release}.json"


def release_id(sha256: str, environment_hash: str) -> str:
    """Name a release by the digests of its artifact and of its environment."""
    return f"{sha256[:8]}-{environment_hash[:8]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """What a release consists of: releases/<release>.json and good.json."""

    release: str
    artifact: str
    sha256: str
    environment: str

    @classmethod
    def parse(cls, document: object, source: str) -> Self:
        """Check every field, since names in here become paths on a Droplet; raises DocumentError."""
        found = checked_object(document, source)
        require_fields(found, source, _RULES)
        return cls(**found)

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Desired:
    """desired.json: a release, the number that tells a repeated wish from an answered one, and whose turn it is.

    It is for `droplets`, who prepare it. `turns` are those that may let visitors have it, in the order in which they
    were let; the first one migrates the database. One that serves nothing yet serves `good`, and the release itself
    once that is `complete`. Those that are `leaving` send their visitors away.
    """

    release: Release
    attempt: int
    droplets: tuple[str, ...] = ()  # ids
    turns: tuple[str, ...] = ()  # Droplet ids
    complete: bool = False
    good: Release | None = None
    leaving: tuple[str, ...] = ()  # Droplet ids

    @classmethod
    def parse(cls, document: object, source: str = DESIRED) -> Self:
        """Check every field; raises DocumentError."""
        found = checked_object(document, source)
        require_fields(found, source, _RULES, "attempt", "droplets", "turns", "complete", "good", "leaving")
        attempt, complete, good = (found.get(name) for name in ("attempt", "complete", "good"))
        if type(attempt) is not int or attempt < 1:
            raise DocumentError(f"{source}.attempt: must be a whole number from 1, got {attempt!r}")
        if type(complete) is not bool:
            raise DocumentError(f"{source}.complete: must be true or false, got {complete!r}")
        return cls(
            release=Release(**{name: found[name] for name in _RULES}),
            attempt=attempt,
            droplets=_droplets(found.get("droplets"), f"{source}.droplets"),
            turns=_droplets(found.get("turns"), f"{source}.turns"),
            complete=complete,
            good=None if good is None else Release.parse(good, f"{source}.good"),
            leaving=_droplets(found.get("leaving"), f"{source}.leaving"),
        )

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            **self.release.document(),
            "attempt": self.attempt,
            "droplets": [*self.droplets],
            "turns": [*self.turns],
            "complete": self.complete,
            "good": self.good and self.good.document(),
            "leaving": [*self.leaving],
        }


def _droplets(value: object, source: str) -> tuple[str, ...]:
    """Check a list of Droplet ids."""
    if not isinstance(value, list) or not all(isinstance(one, str) and re.fullmatch("[0-9]+", one) for one in value):
        raise DocumentError(f"{source}: must be a list of Droplet ids, got {value!r}")
    return tuple(value)
