"""What a Droplet says of itself: nodes/<droplet id>.json in the Space `state`."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

PHASES = (
    "bootstrap",
    "waiting",
    "fetch",
    "build",
    "check",
    "static",
    "examine",
    "prepared",
    "migrate",
    "look",
    "switch",
    "health",
    "done",
    "failed",
    "leaving",
    "left",
)


NODES = "nodes/"  # the prefix of all reports


def node_key(droplet_id: object) -> str:
    """Return the key of a Droplet's report."""
    return f"{NODES}{droplet_id}.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeReport:
    """Which attempt at which release a Droplet is busy with, and how far it is.

    `bootstrap` stands before all releases: the Droplet can't start its agent, and `error` says why. `prepared` is a
    Droplet that could serve the release, and waits for its turn; one that has `left` gets no visitors any more. `notes`
    is what a person should know of a release that serves.
    """

    release: str
    attempt: int
    phase: str
    healthy: bool
    error: str | None
    at: str  # RFC 3339, UTC
    notes: list[str] = field(default_factory=list)

    @classmethod
    def parse(cls, document: object) -> Self | None:
        """Read one, None when it is not valid: an agent's mistake must not end the wait for the others."""
        types = {"release": str, "attempt": int, "phase": str, "healthy": bool, "error": str | None, "at": str}
        if not isinstance(document, dict):
            return None
        if not all(isinstance(document.get(name), kind) for name, kind in types.items()):
            return None
        if document["phase"] not in PHASES:
            return None
        notes = document.get("notes", [])
        if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
            return None
        return cls(**{name: document[name] for name in types}, notes=notes)

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """Say where the Droplet is."""
        return f"release {self.release}, attempt {self.attempt}: {self.phase} since {self.at}"
