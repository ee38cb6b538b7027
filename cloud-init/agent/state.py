"""What this machine knows from one start of the agent to the next."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class State:
    """What this machine knows from one run to the next: state.json."""

    release: str = ""  # none yet
    attempt: int = 0
    phase: str = "waiting"
    healthy: bool = False
    error: str | None = None
    at: str = ""
    good: str = ""  # the release that was last found healthy here
    etag: str = ""  # of the desired.json that this is the answer to; empty while the answer is not complete
    reported: bool = False

    def report(self) -> dict[str, Any]:
        """Return the document nodes/<droplet id>.json."""
        return {name: value for name, value in asdict(self).items() if name not in {"good", "etag", "reported"}}
