"""What a full world could leave on this machine, listed before and after."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from sandbox.machines import cgroups, inotify
from sandbox.network import forwarding, namespaces

OURS = re.compile(f"{namespaces.HOST_TABLE}|{forwarding.COMMENT}")
SETTINGS = ("/proc/sys/net/ipv4/conf/all/forwarding", "/proc/sys/net/ipv4/conf/{}/forwarding", str(inotify.LIMIT))


def traces(home: Path) -> dict[str, set[str]]:
    """List processes, mounts, namespaces, groups, links, routes, rules, settings and files of a world in this home."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    device, _ = namespaces.host_uplink()
    return {
        "processes": set(_commands(str(home))),
        "mounts": {line for line in mounts if str(home) in line or namespaces.ROUTER in line},
        "namespaces": set(namespaces.namespaces()),
        "resolvers": {str(path) for path in Path("/etc/netns").glob(f"{namespaces.ROUTER}*")},
        "groups": {str(path) for root in cgroups.hierarchies() if (path := root / cgroups.TOP).exists()},
        "links": {link["ifname"] for link in _ip("link") if link["ifname"].startswith(namespaces.ROUTER)},
        "routes": {str(route) for route in _ip("route", "show", "table", "all") if namespaces.ROUTER in str(route)},
        "rules": {line for line in _run("nft", "list", "ruleset").splitlines() if OURS.search(line)},
        "settings": {f"{name} {Path(name.format(device)).read_text().strip()}" for name in SETTINGS},
        "files": {str(home)} if home.exists() else set(),
    }


def _commands(home: str) -> Iterator[str]:
    """Command lines of processes that name the home; the tests' own are not meant."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if home in command and "pytest" not in command:
            yield command


def _ip(*words: str) -> list[dict[str, object]]:
    answer: list[dict[str, object]] = json.loads(_run("ip", "-j", "-4", *words) or "[]")
    return answer


def _run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
