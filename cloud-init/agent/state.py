"""What this machine knows from one start of the agent to the next: state.json."""

from dataclasses import dataclass, field

from protocol.node import NodeReport


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What was last reported, and what it was the answer to."""

    droplet: str = ""  # whose memory this is: a machine made from a snapshot has another one's
    release: str = ""  # none yet
    attempt: int = 0
    phase: str = "waiting"
    healthy: bool = False
    error: str | None = None
    at: str = ""
    notes: list[str] = field(default_factory=list)
    good: str = ""  # the release that was last found healthy here
    before: str = ""  # the one that served before it, while there is one to go back to
    since: float = 0  # seconds since 1970; when it took its place
    etag: str = ""  # of the desired.json that this is the answer to; empty while the answer is not complete
    reported: bool = False

    def report(self) -> NodeReport:
        """Return what the runner is told."""
        return NodeReport(
            release=self.release,
            attempt=self.attempt,
            phase=self.phase,
            healthy=self.healthy,
            error=self.error,
            at=self.at,
            notes=self.notes,
        )
