"""What a machine's /proc/meminfo says: the memory of its plan, as a VM's kernel says it, and not all that is here.

One program of the world writes a file for each machine, which the machine has mounted there (by /etc/fstab of the world
layer). It writes in place, so it may be killed and started again. A FUSE file system (lxcfs) would say it at the moment
of the question, but a machine would lose the file with it, and on version 1 it takes caches of the kernel for used.
"""

import os
import sys
import time
from pathlib import Path

import click

from sandbox.machines import cgroups
from sandbox.world import program
from sandbox.world.supervisor import Program, Supervisor
from sandbox.world.world import World, load

PROGRAM = "meminfo"
EVERY = 0.1  # seconds
INSIDE = "/run/sandbox/meminfo"  # where systemd-nspawn puts a machine's file: it can't reach the machine's /proc
FSTAB = f"{INSIDE} /proc/meminfo none bind,ro 0 0\n"


def start(world: World, supervisor: Supervisor) -> None:
    """Start to write for all machines of the world, those to come too."""
    command = [sys.executable, "-m", "sandbox.machines.meminfo", "--home", str(world.home)]
    supervisor.put(Program(name=PROGRAM, command=command, priority=400))


def file_of(folder: Path) -> Path:
    """Where the file is that is written for the machine in this folder."""
    return folder / "meminfo"


def write(folder: Path, root: Path = cgroups.ROOT) -> None:
    """Write down what the machine in this folder has now; FileNotFoundError without its file or its control group."""
    room = cgroups.room(folder.name, root)
    values = {
        "MemTotal": room.limit,
        "MemFree": room.free,
        "MemAvailable": room.available,
        "Buffers": 0,
        "Cached": room.files,
        "SwapCached": 0,
        "SwapTotal": 0,
        "SwapFree": 0,
    }
    # Always as long: who reads meanwhile sees whole lines.
    text = "".join(f"{name + ':':<16}{size // 1024:>8} kB\n" for name, size in values.items())
    descriptor = os.open(file_of(folder), os.O_WRONLY)
    try:
        os.pwrite(descriptor, text.encode(), 0)
    finally:
        os.close(descriptor)


def run(home: Path) -> None:
    """Write again and again. Runs under supervisord."""
    world = load(home)
    while True:
        for path in world.home.glob("machines/*/meminfo"):
            try:
                write(path.parent)
            except FileNotFoundError:  # it is being removed
                continue
        time.sleep(EVERY)


@click.command()
@program.home_option
def main(home: Path) -> None:
    """Write what machines of the world in HOME see as their memory, again and again."""
    run(home)


if __name__ == "__main__":
    main()
