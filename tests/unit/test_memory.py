"""The Droplet's memory, and what the error of a program says that did not get enough of it."""

import subprocess
from pathlib import Path

import pytest

from agent.app import memory
from agent.errors import AgentError
from agent.machine import Machine
from protocol.failure import shortened
from tests.commands import ROOT

MEMINFO = "MemTotal:         483328 kB\nMemFree:           20480 kB\nMemAvailable:     102400 kB\nSwapTotal:  0 kB\n"
LACK = "most likely for lack of memory: the Droplet has 472 MiB; choose a larger web.size"
BACKEND = (
    "  \u00d7 Failed to build `heavy==1.0`\n"
    "  ╰─▶ Call to `setuptools.build_meta.build_wheel` failed (signal: 9 (SIGKILL))"
)
COMPILER = "gcc: fatal error: Killed signal terminated program cc1\ncompilation terminated."


@pytest.fixture(autouse=True)
def meminfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest Droplet, of which the kernel has taken a share."""
    (tmp_path / "meminfo").write_text(MEMINFO)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")


def test_memory_is_read_in_bytes(tmp_path: Path) -> None:
    """What programs can have is not what nobody uses."""
    assert memory.memory("MemTotal") == 472 * 2**20
    assert Machine(root=tmp_path).free_memory() == 100 * 2**20


@pytest.mark.parametrize("end", ["kill -9 $$", "exit 137"])
def test_a_program_that_was_killed_lacked_memory(tmp_path: Path, end: str) -> None:
    """The first line, which is shown whatever the program printed, has the cause and what to do."""
    with pytest.raises(AgentError) as refused:
        Machine(root=tmp_path).system("sh", "-c", f"echo 'error: last words'; {end}")
    assert shortened(str(refused.value)).startswith(f"`sh -c echo 'error: last words'; {end}` was killed, {LACK}\n")
    assert str(refused.value).endswith("\nerror: last words\n")


@pytest.mark.parametrize("said", [BACKEND, COMPILER])
def test_a_program_whose_own_was_killed_says_so(said: str) -> None:
    """A build ends with its own status when its compiler is killed."""
    error = memory.failed("uv sync", 1, said)
    assert str(error) == f"`uv sync` failed: a program that it needs was killed, {LACK}\n{said}"


@pytest.mark.parametrize(("status", "said"), [(1, "Killed: no such migration"), (-15, ""), (-11, "")])
def test_another_end_says_nothing_of_memory(status: int, said: str) -> None:
    """Who looks for memory that was there looks in vain."""
    assert str(memory.failed("migrate", status, said)) == f"`migrate` ended with status {status}\n{said}"


def test_what_the_agent_runs_is_ended_before_the_agent() -> None:
    """With what it starts, and after a candidate; what has ended already is no error."""
    go = 'read go; cat /proc/self/oom_score_adj; sh -c "cat /proc/self/oom_score_adj"'
    with subprocess.Popen(["sh", "-c", go], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        memory.goes_first(process.pid)
        assert process.communicate(b"\n", timeout=10)[0] == b"950\n950\n"
    memory.goes_first(process.pid)
    unit = (ROOT / "cloud-init/units/release-agent.service").read_text()
    assert int(unit.partition("OOMScoreAdjust=")[2].partition("\n")[0]) < 950
