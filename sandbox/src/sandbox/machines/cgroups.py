"""Control groups of a full world: limits of machines, and a list of every process to sweep; version 1 and 2."""

import contextlib
import errno
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from sandbox.world.waiting import until
from sandbox.world.world import WorldError

ROOT = Path("/sys/fs/cgroup")
TOP = "django-do"  # every group of a full world lies below it
CONTROLLERS = ("memory", "cpu", "pids")
CPU_PERIOD = 100_000  # microseconds
PIDS_MAX = 4096
KILL_DEADLINE = 10.0  # seconds
EXEC_LEAF = "exec"  # on version 2, where commands from outside go: inner nodes hold no processes there


class CgroupError(WorldError):
    """The machine's control groups can't be used; the text says what is missing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """What a group has of its memory's limit, in bytes."""

    limit: int
    free: int  # what nothing uses
    files: int  # what holds parts of files, and can be dropped
    available: int  # what its programs can still have: free, files, and what the kernel can drop of its own


def is_unified(root: Path = ROOT) -> bool:
    """Whether this machine has version 2 only."""
    return (root / "cgroup.controllers").exists()


def hierarchies(root: Path = ROOT) -> list[Path]:
    """Every hierarchy that a group must be made in: one on version 2, else one per controller and systemd's own."""
    if is_unified(root):
        return [root]
    # Where version 2 is mounted beside version 1, systemd-nspawn makes its groups at the same place in both.
    hybrid = ["unified"] if (root / "unified" / "cgroup.procs").exists() else []
    return [root / name for name in (*CONTROLLERS, "systemd", *hybrid)]


def check(root: Path = ROOT) -> None:
    """Raise CgroupError unless groups with limits can be made here."""
    if is_unified(root):
        missing = [name for name in CONTROLLERS if name not in (root / "cgroup.controllers").read_text().split()]
    else:
        missing = [path.name for path in hierarchies(root) if not (path / "cgroup.procs").exists()]
    if missing:
        raise CgroupError(
            f"{root}: control groups {', '.join(missing)} are not mounted; "
            "a container needs them writable (docker run --privileged --cgroupns=host)"
        )


def create(name: str, *, memory_mib: int | None = None, vcpus: int | None = None, root: Path = ROOT) -> None:
    """Make a group below the world's and set its limits; existing ones get the new limits."""
    for hierarchy in hierarchies(root):
        (hierarchy / TOP / name).mkdir(parents=True, exist_ok=True)
    if is_unified(root):
        for parent in (root, root / TOP):
            (parent / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in CONTROLLERS))
    if memory_mib is not None:
        limit = "memory.max" if is_unified(root) else "memory.limit_in_bytes"
        (_group("memory", name, root) / limit).write_text(str(memory_mib * 1024 * 1024))
    if vcpus is not None:
        quota = min(vcpus, os.cpu_count() or 1) * CPU_PERIOD
        if is_unified(root):
            (_group("cpu", name, root) / "cpu.max").write_text(f"{quota} {CPU_PERIOD}")
        else:
            (_group("cpu", name, root) / "cpu.cfs_period_us").write_text(str(CPU_PERIOD))
            (_group("cpu", name, root) / "cpu.cfs_quota_us").write_text(str(quota))
    if memory_mib is not None or vcpus is not None:
        (_group("pids", name, root) / "pids.max").write_text(str(PIDS_MAX))


def join(name: str, pid: int = 0, root: Path = ROOT) -> None:
    """Move a process into a group; 0 is the caller. What it starts later stays there."""
    for hierarchy in hierarchies(root):
        (hierarchy / TOP / name / "cgroup.procs").write_text(str(pid))


def exec_files(name: str, root: Path = ROOT) -> list[Path]:
    """List the files that a command writes its pid to so that it counts against a running machine's limits."""
    if is_unified(root):
        leaf = root / TOP / name / EXEC_LEAF
        leaf.mkdir(exist_ok=True)
        return [leaf / "cgroup.procs"]
    return [hierarchy / TOP / name / "cgroup.procs" for hierarchy in hierarchies(root)]


def pids(name: str = "", root: Path = ROOT) -> set[int]:
    """List the processes of a group and all groups below it; of the whole world by default."""
    found: set[int] = set()
    for hierarchy in hierarchies(root):
        for path in (hierarchy / TOP / name).rglob("cgroup.procs"):
            with contextlib.suppress(FileNotFoundError):  # a machine removes its own groups meanwhile
                found.update(int(line) for line in path.read_text().split())
    return found - {0}  # 0 stands for processes of another pid namespace


def memory(name: str, root: Path = ROOT) -> int:
    """Memory that a group holds without caches that can be dropped, in bytes; 0 when there is no such group."""
    folder = _group("memory", name, root)
    try:
        stat = _numbers((folder / "memory.stat").read_text())
    except FileNotFoundError:
        return 0
    return stat["anon"] if is_unified(root) else stat["total_rss"]


def room(name: str, root: Path = ROOT, meminfo: Path = Path("/proc/meminfo")) -> Room:
    """Return what a group has of its memory's limit; FileNotFoundError when there is no such group."""
    folder = _group("memory", name, root)
    stat = _numbers((folder / "memory.stat").read_text())
    if is_unified(root):
        limit, used = (int((folder / file).read_text()) for file in ("memory.max", "memory.current"))
        files = stat["inactive_file"] + stat["active_file"]
        kernel = stat["slab_reclaimable"]
    else:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.kmem.usage_in_bytes")
        limit, used, kernel = (int((folder / file).read_text()) for file in names)
        files = stat["total_inactive_file"] + stat["total_active_file"]
        # Version 1 does not say how much of the kernel's part can be dropped: as much, say, as of all that is here.
        whole = _numbers(meminfo.read_text().replace(":", ""))
        kernel = kernel * whole["SReclaimable"] // (whole["Slab"] + whole["KernelStack"] + whole["PageTables"])
    free = max(0, limit - used)
    return Room(limit=limit, free=free, files=files, available=min(limit, free + files + kernel))


def kills(name: str, root: Path = ROOT) -> int:
    """How many processes of a group the kernel has ended for the group's memory."""
    file = "memory.events" if is_unified(root) else "memory.oom_control"
    return _numbers((_group("memory", name, root) / file).read_text())["oom_kill"]


def _numbers(text: str) -> dict[str, int]:
    """Read lines of a name and a number."""
    return {words[0]: int(words[1]) for words in map(str.split, text.splitlines())}


def kill(name: str = "", root: Path = ROOT) -> None:
    """End every process of a group at once, and wait until they are gone."""

    def missing() -> str | None:
        remaining = pids(name, root) - {os.getpid()}
        for pid in remaining:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return str(sorted(remaining)) if remaining else None

    until(
        missing,
        KILL_DEADLINE,
        lambda last: CgroupError(f"processes {last} of group {TOP}/{name} survive SIGKILL; see `ps -fp`"),
    )


def remove(name: str = "", root: Path = ROOT) -> None:
    """Remove a group and those below it; it must have no processes."""
    for hierarchy in hierarchies(root):
        top = hierarchy / TOP / name
        folders = sorted((path for path in top.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
        for folder in [*folders, top]:
            _remove_folder(folder)


def _remove_folder(folder: Path) -> None:
    def missing() -> str | None:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EBUSY:  # the kernel holds a group a moment longer than its last process
                raise
            return str(error)
        return None

    until(missing, KILL_DEADLINE, lambda last: CgroupError(f"{folder}: can't be removed: {last}"))


def _group(controller: str, name: str, root: Path) -> Path:
    return (root if is_unified(root) else root / controller) / TOP / name
