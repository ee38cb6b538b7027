"""Releases: what one consists of, and which one is desired."""

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
    """desired.json: a release, and the number that tells a repeated wish from an answered one."""

    release: Release
    attempt: int

    @classmethod
    def parse(cls, document: object, source: str = DESIRED) -> Self:
        """Check every field; raises DocumentError."""
        found = checked_object(document, source)
        require_fields(found, source, _RULES, "attempt")
        attempt = found.pop("attempt", None)
        if type(attempt) is not int or attempt < 1:
            raise DocumentError(f"{source}.attempt: must be a whole number from 1, got {attempt!r}")
        return cls(release=Release(**found), attempt=attempt)

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**self.release.document(), "attempt": self.attempt}
