"""Serves the pack to the engine; the CLI starts it, by policy/run or as the folder `policy`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the SDK runs this folder, as a program of its own

from pulumi_policy import PolicyPack

from policy.pack import NAME, policies

if __name__ == "__main__":
    PolicyPack(NAME, policies())
