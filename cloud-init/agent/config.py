"""What cloud-init tells the agent."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Config:
    """/etc/release-agent/config.json, written by cloud-init."""

    region: str
    endpoint: str
    domain: str
    releases_bucket: str
    state_bucket: str
    assets_bucket: str
    access_key: str
    secret_key: str
