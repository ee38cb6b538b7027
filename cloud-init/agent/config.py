"""What cloud-init tells the agent: /etc/release-agent/config.json."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

CONFIG = Path("/etc/release-agent/config.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Where this Droplet's Spaces are, the key for them, and the name that it serves."""

    region: str
    endpoint: str
    domain: str
    acme_email: str  # empty: no account's contact
    releases_bucket: str
    state_bucket: str
    assets_bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    package: str  # SHA-256 of the agent's own package

    @classmethod
    def read(cls, path: Path = CONFIG) -> Self:
        """Read the file; a field too many or too few is an error."""
        return cls(**json.loads(path.read_bytes()))
