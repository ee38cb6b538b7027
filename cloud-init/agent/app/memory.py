"""The Droplet's memory, and the error of a program that failed, which says whether that was short."""

import contextlib
import re
import signal
from pathlib import Path

from agent.errors import AgentError

MEMINFO = Path("/proc/meminfo")
SCORE = 950  # between those of release-agent.service and of a candidate
KILLED = {-signal.SIGKILL, 128 + signal.SIGKILL}  # by itself, and as a shell says it of its child
# What uv says of a build backend, and gcc of its compiler.
ANOTHER_KILLED = re.compile(r"signal: 9 \(SIGKILL\)|Killed signal terminated program")


def memory(name: str) -> int:
    """Return a value of /proc/meminfo in bytes: MemTotal, or MemAvailable, which programs can have without swapping."""
    [kibibytes] = re.findall(rf"(?m)^{name}: +([0-9]+) kB$", MEMINFO.read_text())
    return int(kibibytes) * 1024


def goes_first(process: int) -> None:
    """Let the kernel end a process, and what it starts, before the agent, which may be larger, and has to report it."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        Path(f"/proc/{process}/oom_score_adj").write_text(str(SCORE))


def too_little() -> str:
    """Say what a program lacked that the kernel has ended, and what to do."""
    return f"for lack of memory: the Droplet has {memory('MemTotal') // 2**20} MiB; choose a larger web.size"


def failed(name: str, status: int, output: str, *, how: str = "") -> AgentError:
    """Return the error of a program that did not end well: what failed, and why if something killed it; its output.

    Nobody but the kernel kills what a release starts: what is late has an error of its own.
    """
    if status in KILLED:
        return AgentError(f"`{name}` was killed, most likely {too_little()}\n{output}")
    if ANOTHER_KILLED.search(output):
        return AgentError(f"`{name}` failed: a program that it needs was killed, most likely {too_little()}\n{output}")
    return AgentError(f"`{name}` ended with status {status}{how}\n{output}")
