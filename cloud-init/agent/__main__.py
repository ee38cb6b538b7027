"""What systemd starts: python3 -I <the package> release|certificate."""

import sys

from agent import certificate
from agent.config import Config
from agent.follow import Follower
from agent.machine import Machine


def main() -> int:
    """Run what the first argument names."""
    config = Config.read()
    if sys.argv[1] == "certificate":
        certificate.Keeper(config=config).keep()
    else:
        Follower(machine=Machine(), config=config).follow()
    return 0
