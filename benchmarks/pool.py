"""Answers: which statements of DigitalOcean's pool tutorial hold here.

`python -m operations benchmark pool`, in a world of its own, with cores for server and client: `make benchmark-pool`,
or `python -m benchmarks.pool --seconds 5 --rounds 1` with that command's options. It needs root, two cores, and a
machine without a full world.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.machine import RESULTS, ROOT, machine
from benchmarks.own_world import inside, own_world, pin, share, watched
from operations.benchmark.pgbench import MIB_PER_SCALE, SCALE, scale_that_fits

PLAN_CORES = 2  # of db-s-2vcpu-4gb, and of s-2vcpu-4gb
MAKING = 90  # seconds until cluster and client are there
BUFFERS = (
    "`shared_buffers` is PostgreSQL's own: DigitalOcean documents its range (20 to 60 % of the memory), but no "
    "default. The cluster's machine has the memory of its plan; client and server have one kernel and one disk, and "
    "the network between them takes no time."
)


def scaled(cores: int) -> Iterator[str]:
    """Say what of the tutorial's machines there is, and what is not run for lack of cores."""
    server = min(PLAN_CORES, cores - 1)
    if server < PLAN_CORES:
        yield (
            f"**Scaled:** the cluster's machine (PostgreSQL and PgBouncer, as on DigitalOcean) has {server} core, the "
            f"client another. Not run: the plan's {PLAN_CORES} cores for the server and one for the client: needs "
            f"{PLAN_CORES + 1} cores, has {cores}."
        )


def scale() -> int:
    """Return the tutorial's scale, or the largest whose data fits into half of the free memory, and on the disk."""
    [available] = re.findall(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    memory = int(available) // 1024
    disk = shutil.disk_usage(ROOT).free // 2**30
    return scale_that_fits(min(SCALE, memory // 2 // MIB_PER_SCALE), disk)


def main(options: list[str]) -> None:
    """Run the command in a world, and keep its result."""
    cores = os.sched_getaffinity(0)
    shares = share(cores, PLAN_CORES, PLAN_CORES)
    if shares is None:
        sys.exit("benchmarks/pool: must have two cores, one for the server and one for the client, has one")
    notes = [machine(), *scaled(len(cores)), BUFFERS]
    with own_world() as world, watched(lambda: pin(world, shares)):
        argv = ["python", "-m", "operations", "benchmark", "pool", "--yes", f"--to={RESULTS}", f"--making={MAKING}"]
        argv += [f"--scale={scale()}", *(f"--note={note}" for note in notes), *options]
        inside(*argv)


if __name__ == "__main__":
    main(sys.argv[1:])
