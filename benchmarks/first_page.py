"""Answers: how long is it from `make up` to the first page over HTTPS, and where does the time go.

Warm caches, nothing running: `python -m benchmarks.first_page`. It needs root, and a machine without a full world.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import CACHE, ROOT, command, publish, table
from sandbox.command_line import status
from sandbox.machines import machine
from sandbox.world import world as worlds

FIRST_PAGE = 'until curl --silent --fail --max-time 2 --output /dev/null "$1"; do sleep 0.05; done; date +%s.%N'


@dataclass(frozen=True, order=True)
class Event:
    """Something that happened, in seconds since `make up` began."""

    at: float
    where: str
    what: str


def world_events(began: float) -> list[Event]:
    """Start the world and read the times off its progress lines."""
    offset = time.time() - began
    done = subprocess.run(
        command("sandbox", "up", "--depth", "full"), cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = re.findall(r"^\[\s*([\d.]+) s\] (\S+)\s+(.*)$", done.stdout, re.MULTILINE)
    return [Event(offset + float(seconds), "world", part) for seconds, part, _ in lines]


def engine_events(log: Path, began: float) -> list[Event]:
    """Read when each resource was there from the engine's event log."""
    started: dict[str, float] = {}
    events = []
    for line in log.read_text().splitlines():
        event = json.loads(line)
        at = event["timestamp"] - began
        if "resourcePreEvent" in event:
            started[event["resourcePreEvent"]["metadata"]["urn"]] = at
        elif "resOutputsEvent" in event:
            urn = event["resOutputsEvent"]["metadata"]["urn"]
            kind, name = urn.split("::")[-2].split(":")[-1].split("$")[-1], urn.split("::")[-1]
            component = urn.split("::")[-2].rpartition("$")[2].startswith("django-do:")
            # What takes less than a second is not where the time goes; a component is the sum of its parts.
            if at - started.get(urn, at) >= 1 and not component and kind != "Stack":
                events.append(Event(at, "pulumi", f"{kind} {name} ({at - started[urn]:.1f} s)"))
    return events


def droplet_events(world: worlds.World, began: float) -> list[Event]:
    """Read boot, installation and release from the Droplet's journal."""
    [name] = [name for name in machine.names(world) if name.startswith("d")]
    droplet = machine.load_machine(world, name)
    wanted = {
        "cloud-init": re.compile(r"running '(init|modules:\w+)'|Cloud-init .* finished"),
        "release-agent": re.compile(r"(fetch|build|check|static|migrate|switch|health) [\d.]+ s"),
        "systemd[1]": re.compile(r"Started (nginx|certificate|release-agent)\.service"),
        "certificate[": re.compile(r"HTTPS is on"),
    }
    events = []
    for line in droplet.journal("--output=short-unix").splitlines():
        stamp, _, rest = line.partition(" ")
        for unit, pattern in wanted.items():
            if unit in rest and (found := pattern.search(rest)):
                events.append(Event(float(stamp) - began, "droplet", f"{unit.partition('[')[0]}: {found[0]}"))
    return events


def main() -> None:
    """Measure once and publish the timeline."""
    os.environ["PATH"] = os.pathsep.join([str(ROOT / ".venv/bin"), str(CACHE / "bin"), os.environ["PATH"]])
    home = worlds.default_home("full").with_name("benchmark")
    os.environ["SANDBOX_HOME"] = str(home)
    os.environ["PULUMI_DEBUG_COMMANDS"] = "true"  # or else the CLI has no --event-log
    began = time.time()
    try:
        events = world_events(began)
        world = worlds.load(home)
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "events.json"
            watch = subprocess.Popen(
                command("sandbox", "exec", "sh", "-c", FIRST_PAGE, "watch", "https://polls.example/"),
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            subprocess.run(
                command("scripts/stack", "local", "up", "--yes", "--skip-preview", f"--event-log={log}"),
                cwd=ROOT,
                stdout=sys.stderr,
                check=True,
            )
            events.append(Event(time.time() - began, "pulumi", "up has ended"))
            first, _ = watch.communicate(timeout=60)
            events.append(Event(float(first) - began, "visitor", "**first page over HTTPS**"))
            events += engine_events(log, began)
        events += droplet_events(world, began)
        memory = sum(row.memory_mib for row in status.rows(world))
        # Without the mounted disks, whose larger part is the shared image.
        disk = subprocess.run(["du", "-smx", home], capture_output=True, text=True, check=True).stdout.split()[0]
    finally:
        subprocess.run(command("sandbox", "down"), cwd=ROOT, check=True, stdout=sys.stderr)
    rows: list[tuple[object, ...]] = [(f"{event.at:.1f}", event.where, event.what) for event in sorted(events)]
    publish(
        "first_page",
        "How long is it from `make up` to the first page over HTTPS?",
        "Caches warm, nothing running. "
        f"The whole world with one Droplet has {memory} MiB in memory, {disk} MiB on disk.\n\n"
        + table(("seconds", "where", "what"), rows),
    )


if __name__ == "__main__":
    main()
