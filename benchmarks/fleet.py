"""Answers: how long do a first page and a release take on three Droplets, and what memory does their world have.

A release changes a variable, so that its dependencies stay: `benchmarks/run fleet`. It needs root, and a machine
without a full world.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from benchmarks.machine import ROOT, command, publish, table
from benchmarks.own_world import own_world
from protocol.node import NODES
from protocol.release import DESIRED
from sandbox.machines import cgroups, machine
from sandbox.world import world as worlds

DROPLETS, RELEASES = 3, 5
PROMISED_SEEN, PROMISED_RELEASE = 3, 20  # seconds
# Prints each new document of the releases, with the time at which it was read first, until a file is there.
WATCH = """
import json, pathlib, sys, time
import boto3
from botocore.config import Config
given = json.loads(sys.argv[1])
config = Config(s3={"addressing_style": "virtual"})
s3 = boto3.client("s3", region_name="us-east-1", endpoint_url=given["endpoint"], config=config,
                  aws_access_key_id=__import__("os").environ["SPACES_ACCESS_KEY_ID"],
                  aws_secret_access_key=__import__("os").environ["SPACES_SECRET_ACCESS_KEY"])
last = {}
while not pathlib.Path(given["stop"]).exists():
    for bucket, key in given["keys"]:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
        if last.get(key) != body:
            last[key] = body
            print(json.dumps([time.time(), key, json.loads(body)]), flush=True)
    time.sleep(0.05)
"""


@dataclass(frozen=True, kw_only=True)
class Release:
    """What became of one, in seconds; a document is looked at ten times a second."""

    whole: float  # from the start of `pulumi up` to its end
    seen: list[float]  # by each Droplet, after it was desired
    served: list[float]  # by each Droplet, after it was desired


def settings(world: worlds.World, folder: Path, mark: str) -> Path:
    """Write the settings of the stack "local" behind a load balancer, with a variable of the app."""
    made = yaml.safe_load((world.pulumi / "project/Pulumi.local.yaml").read_text())
    document = made | yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())
    document["config"].setdefault("django-do:web", {}).update(loadBalancer=True, count=DROPLETS)
    document["config"]["django-do:app"].setdefault("env", {})["MARK"] = mark
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def up(file: Path) -> float:
    """Deploy; return how long it took."""
    began = time.time()
    argv = ["scripts/stack", "local", "up", "--yes", "--skip-preview", "--config-file", str(file)]
    subprocess.run(command(*argv), cwd=ROOT, check=True, stdout=sys.stderr)
    return time.time() - began


def outputs() -> dict[str, Any]:
    """Return the stack's outputs."""
    argv = command("scripts/stack", "local", "stack", "output", "--json")
    found: dict[str, Any] = json.loads(subprocess.run(argv, cwd=ROOT, check=True, capture_output=True).stdout)
    return found


def release(world: worlds.World, folder: Path, number: int, given: dict[str, Any]) -> Release:
    """Make a release, and watch the documents by which runner and Droplets agree."""
    stop = folder / f"stop-{number}"
    argv = ["sandbox", "exec", sys.executable, "-c", WATCH, json.dumps(given | {"stop": str(stop)})]
    watching = subprocess.Popen(command(*argv), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        whole = up(settings(world, folder, f"release-{number}"))
    finally:
        stop.touch()
        said, _ = watching.communicate(timeout=60)
    events = [json.loads(line) for line in said.splitlines()]
    wishes = [(at, body["release"]) for at, key, body in events if key == DESIRED]
    desired, wanted = next((at, name) for at, name in wishes if name != wishes[0][1])
    seen: dict[str, float] = {}
    served: dict[str, float] = {}
    for at, key, body in events:
        if key != DESIRED and body["release"] == wanted:
            seen.setdefault(key, at - desired)
            if body["phase"] == "done":
                served.setdefault(key, at - desired)
    return Release(whole=whole, seen=[*seen.values()], served=[*served.values()])


def memory(world: worlds.World) -> list[tuple[object, ...]]:
    """Return what each machine holds, and all of them, in MiB."""
    held = {name: cgroups.memory(name) / 2**20 for name in machine.names(world)}
    rows: list[tuple[object, ...]] = [(name, f"{size:.0f}") for name, size in held.items()]
    return [*rows, ("all machines", f"{sum(held.values()):.0f}")]


def main() -> None:
    """Deploy, release, and publish."""
    with own_world() as world, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        subprocess.run(command("scripts/stack", "local", "stack"), cwd=ROOT, check=True, capture_output=True)
        first = up(settings(world, folder, "first"))
        made = outputs()
        keys = [[made["buckets"]["releases"], DESIRED]]
        keys += [[made["buckets"]["state"], f"{NODES}{one}.json"] for one in made["droplet_ids"]]
        given = {"endpoint": "https://nyc3.digitaloceanspaces.com", "keys": keys}
        releases = [release(world, folder, number, given) for number in range(RELEASES)]
        held = memory(world)
    seen = [each for one in releases for each in one.seen]
    rows = [
        (f"{one.whole:.1f} s", ", ".join(f"{each:.1f}" for each in one.seen), f"{max(one.served):.1f} s")
        for one in releases
    ]
    wholes = [one.whole for one in releases]
    holds = max(seen) <= PROMISED_SEEN and median(wholes) <= PROMISED_RELEASE
    body = (
        f"The first page of the whole stack with {DROPLETS} Droplets: {first:.0f} s after `pulumi up` began.\n\n"
        + table(("`pulumi up` of a release", "seen by each Droplet after, s", "all serve it after"), rows)
        + f"\n\nPromised: seen within {PROMISED_SEEN} s, a release within {PROMISED_RELEASE} s: "
        + ("holds.\n\n" if holds else "does not hold.\n\n")
        + table(("Machine", "memory that it holds, MiB"), held)
    )
    publish("fleet", "How long are a first page and a release on three Droplets?", body)


if __name__ == "__main__":
    main()
