"""What systemd starts: python3 -I <the package> release|certificate."""

# Each program imports what it needs itself: the one that sleeps for weeks is to be small.
# ruff: noqa: PLC0415

import os
import sys

from agent.config import Config


def main() -> int:
    """Run what the first argument names."""
    config = Config.read()
    if sys.argv[1] == "certificate":
        from agent.tls.certificate import Keeper

        Keeper(config=config).keep()
        return 0
    from agent.follow import Follower
    from agent.machine import Machine

    Follower(machine=Machine(), config=config).follow()
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - no shell is the point
    return 0
