"""Processes that a test started, and what came of them."""

import contextlib
from pathlib import Path


def session(leader: int) -> dict[int, str]:
    """Processes of a session, with their command lines: Pulumi, the program and the plugins."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # gone meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                line = stat.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(stat.parent.name)] = line.strip()
    return found


def plugins(leader: int) -> list[str]:
    """Command lines of the plugins of a session."""
    return [line for line in session(leader).values() if "-m provider" in line or "-m digitalocean_provider" in line]
