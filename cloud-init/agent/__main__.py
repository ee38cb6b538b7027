"""Starts the agent: python3 -m agent."""

import fcntl
import functools
import json
import sys
from pathlib import Path

from agent.config import Config
from agent.health import health
from agent.machine import Machine, log, metadata
from agent.spaces import Spaces, SpacesError


def main() -> int:
    """One run. Spaces not answering is no failed unit; the next run tries again."""
    config = Config(**json.loads(Path("/etc/release-agent/config.json").read_bytes()))
    machine = Machine()
    with (machine.state.parent / "lock").open("w") as lock:  # systemd starts one; a person may start another
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            Agent(
                machine=machine,
                spaces=Spaces(config),
                config=config,
                droplet_id=functools.partial(metadata, "id"),
                health=functools.partial(health, config.domain),
            ).run()
        except SpacesError as error:
            log(f"Spaces: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
