"""A release beside the one that serves: confined as Gunicorn's own unit is, with what memory there is, and ended."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.app import memory
from agent.app.confined import CANDIDATE, EXAMINATION, OTHERWISE, TooLittleMemory, require_memory
from agent.errors import AgentError
from agent.machine import Machine
from tests.commands import ROOT

UNITS = ROOT / "cloud-init/units"
# What a short life beside another release asks for; all else of the two units holds for it.
STATED = ["Type", "NotifyAccess", "LoadCredential", "ExecStart", "Restart", "RestartSec", "SyslogIdentifier"]
EXPECTED = {"wsgi": "mysite.wsgi:application", "domain": "polls.example"}
FREE = 300 * 2**20  # bytes
KILLED = (
    "gunicorn-candidate.service: Main process exited, code=killed, status=9/KILL",
    "gunicorn-candidate.service: Failed with result 'oom-kill'.",
    "[2026-12-01 03:05:07 +0000] [612] [ERROR] Worker (pid:614) was sent SIGKILL! Perhaps out of memory?",
)


class Recording(Machine):
    """A machine whose programs are recorded, and fail where they are told to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root=root)
        self.gunicorn_service = UNITS / "gunicorn.service"
        self.gunicorn_socket = UNITS / "gunicorn.socket"
        self.asked: list[list[str]] = []
        self.behaviour: Callable[[str], str] = lambda _program: '{"found": [], "problem": ""}'
        self.printed = ""  # to the errors
        self.free = FREE
        self.journals: dict[str, str] = {}

    def system(self, *command: str, errors: int = subprocess.STDOUT) -> str:
        """Record it."""
        self.asked.append([*command])
        if errors != subprocess.STDOUT:
            os.write(errors, self.printed.encode())
        return self.behaviour(" ".join(command[:2]))

    def journal(self, name: str = "gunicorn") -> str:
        """Say what a unit has said."""
        return self.journals.get(name, "")

    def free_memory(self) -> int:
        """Say what is free."""
        return self.free

    @property
    def options(self) -> list[str]:
        """What systemd-run was asked."""
        [asked] = [command for command in self.asked if command[0] == "systemd-run"]
        return asked[1:]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    """A Droplet of 472 MiB."""
    (tmp_path / "meminfo").write_text("MemTotal:  483328 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    return Recording(tmp_path)


def start(machine: Machine) -> None:
    """Start a candidate."""
    machine.start_candidate(Path("/srv/app/releases/1"))


def examine(machine: Machine) -> None:
    """Examine a release."""
    machine.examine(Path("/srv/app/releases/1"), EXPECTED)


def lines(name: str, section: str) -> list[str]:
    """The lines of a unit's section, comments left out."""
    text = (UNITS / name).read_text().partition(f"[{section}]\n")[2].partition("\n[")[0]
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def broken(*programs: str) -> Callable[[str], str]:
    """A behaviour that fails at these programs."""

    def behave(program: str) -> str:
        if program.startswith(programs):
            raise AgentError(f"`{program}` ended with status 255\n")
        return ""

    return behave


@pytest.mark.parametrize(("act", "name"), [(start, CANDIDATE), (examine, EXAMINATION)])
def test_all_that_gunicorns_unit_forbids_is_forbidden(
    machine: Recording, act: Callable[[Machine], None], name: str
) -> None:
    """Line by line and in its order; what is otherwise is named here, and nothing else is added that could allow it."""
    service = [line for line in lines("gunicorn.service", "Service") if line.partition("=")[0] not in STATED]
    assert len(service) > 30
    act(machine)
    found = [option.removeprefix("--property=") for option in machine.options if option.startswith("--property=")]
    assert found[: len(service)] == service
    assert found[len(service) :] == [
        "LoadCredential=environment:/srv/app/releases/1/environment.json",
        f"SyslogIdentifier={name}",
        f"MemoryMax={FREE - 32 * 2**20}",
        "OOMScoreAdjust=1000",
        "KillSignal=SIGKILL",
        "BindsTo=release-agent.service",
        *(["NotifyAccess=main"] if act is start else []),
    ]
    assert f"--unit={name}" in machine.options
    assert {*STATED, "ListenStream"} == OTHERWISE


def test_a_candidate_is_gunicorn_with_one_worker_behind_a_socket_of_its_own(machine: Recording) -> None:
    """Which nobody may open who may not open Gunicorn's."""
    start(machine)
    socket = [line for line in lines("gunicorn.socket", "Socket") if not line.startswith("ListenStream=")]
    assert "SocketMode=0660" in socket
    options, command = machine.options[: machine.options.index("--")], machine.options[machine.options.index("--") :]
    assert [option for option in options if option.startswith("--socket-property=")] == [
        f"--socket-property={line}" for line in [*socket, "ListenStream=/run/gunicorn-candidate.sock"]
    ]
    assert "--setenv=GUNICORN_CMD_ARGS=--workers=1" in options
    assert "--service-type=notify" in options
    assert [" ".join(command[1:])] == [
        line.removeprefix("ExecStart=") for line in lines("gunicorn.service", "Service") if line.startswith("ExecStart")
    ]
    # What is left of an earlier one goes first; then systemd says whether it came up.
    assert [" ".join(asked[:2]) for asked in machine.asked] == [
        "systemctl stop",
        f"systemd-run --unit={CANDIDATE}",
        "systemctl start",
    ]


@pytest.mark.parametrize(
    ("free", "most"),
    [(FREE, 268), (97 * 2**20, 65), (96 * 2**20, 64), (40 * 2**20, 64), (0, 64)],
)
def test_what_is_free_but_a_reserve_is_the_limit_of_its_memory(machine: Recording, free: int, most: int) -> None:
    """Never so little that no Python starts: then it is the first that the kernel ends."""
    machine.free = free
    start(machine)
    assert [option for option in machine.options if "MemoryMax" in option] == [f"--property=MemoryMax={most * 2**20}"]


@pytest.mark.parametrize("said", KILLED)
def test_a_unit_that_was_killed_had_too_little_memory(machine: Recording, said: str) -> None:
    """However that is said: by systemd with a memory controller or without one, or by Gunicorn of a worker."""
    machine.journals[CANDIDATE] = f"Listening at: unix:/run/gunicorn-candidate.sock\n{said}\n"
    with pytest.raises(TooLittleMemory, match=r"^gunicorn-candidate\.service: was killed for lack of memory: .* 472 M"):
        machine.candidate_fits()
    machine.behaviour = broken("systemctl start")
    with pytest.raises(TooLittleMemory):
        start(machine)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "[2026-12-01 03:05:07 +0000] [612] [INFO] Booting worker with pid: 614",
        "[2026-12-01 03:05:07 +0000] [612] [ERROR] Worker (pid:614) exited with code 3",
        "gunicorn-candidate.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED",
        "gunicorn-candidate.service: Failed with result 'exit-code'.",
        "MemoryError",
    ],
)
def test_another_end_is_not_for_lack_of_memory(machine: Recording, said: str) -> None:
    """It is an error with the candidate's own words; and the journal of another unit counts for nothing."""
    machine.journals = {CANDIDATE: said, "gunicorn": KILLED[0], EXAMINATION: KILLED[0]}
    machine.candidate_fits()
    machine.behaviour = broken("systemctl start")
    with pytest.raises(AgentError, match=re.escape(f"ended with status 255\n\n{said}")) as refused:
        start(machine)
    assert not isinstance(refused.value, TooLittleMemory)


def test_what_is_left_is_ended_whether_it_is_there_or_not(machine: Recording) -> None:
    """The socket, too: what is not there has ended."""
    machine.behaviour = broken("systemctl")
    machine.end_candidate()
    assert machine.asked == [["systemctl", "stop", f"{CANDIDATE}.socket", f"{CANDIDATE}.service"]]


def test_what_an_examination_finds_is_returned(machine: Recording) -> None:
    """With what the import has printed, where that failed."""
    machine.behaviour = lambda _program: '{"found": [["DEBUG: must be False", "debug"]], "problem": "ImportError: x"}'
    machine.printed = "a warning\n"
    found = machine.examine(Path("/srv/app/releases/1"), EXPECTED)
    assert found == ([("DEBUG: must be False", "debug")], "ImportError: x\na warning\n")
    assert {"--pipe", "--wait", "--service-type=exec"} <= {*machine.options}
    machine.behaviour = lambda _program: '{"found": [], "problem": ""}'
    machine.asked.clear()
    assert machine.examine(Path("/srv/app/releases/1"), EXPECTED) == ([], "")


EXITED = "gunicorn-examination.service: Main process exited, code={}, status={}\n"


@pytest.mark.parametrize(
    ("journal", "printed", "said"),
    [
        (
            EXITED.format("dumped", "31/SYS"),
            "",
            "code=dumped, status=31/SYS; it made a system call that an app may not make (SystemCallFilter= of gunicorn",
        ),
        (EXITED.format("exited", "3/NOTIMPLEMENTED"), "bye\n", "code=exited, status=3/NOTIMPLEMENTED\nbye\n"),
        (
            EXITED.format("dumped", "6/ABRT"),
            "LLVM ERROR: Unable to allocate section memory!\n",
            "code=dumped, status=6/ABRT; an app may not execute memory that it writes, as just-in-time compilers",
        ),
    ],
)
def test_an_examination_that_gives_no_answer_says_how_it_ended(
    machine: Recording, journal: str, printed: str, said: str
) -> None:
    """By its status, what it has printed and what systemd says: a program that was killed says nothing itself."""
    machine.behaviour = broken("systemd-run")
    machine.journals[EXAMINATION] = journal
    machine.printed = printed
    with pytest.raises(AgentError) as refused:
        examine(machine)
    assert str(refused.value).startswith(f"`import mysite.wsgi:application` ended before its time, with {said}")
    assert str(refused.value).endswith(f"{printed}\n{journal}".strip())
    assert machine.asked[-1] == ["systemctl", "stop", f"{EXAMINATION}.socket", f"{EXAMINATION}.service"]


def test_an_examination_that_ends_well_without_an_answer_is_an_error(machine: Recording) -> None:
    """An import that ends the program, with status 0: systemd finds nothing wrong with it."""
    machine.behaviour = lambda _program: ""
    with pytest.raises(AgentError, match=r"^`import mysite\.wsgi:application` ended before its time\n"):
        examine(machine)


def test_an_examination_that_was_killed_lacked_memory(machine: Recording) -> None:
    """Then nothing of its settings is wrong."""
    machine.behaviour = broken("systemd-run")
    machine.journals[EXAMINATION] = EXITED.format("killed", "9/KILL")
    with pytest.raises(TooLittleMemory, match=r"^gunicorn-examination\.service: was killed for lack of memory"):
        examine(machine)
    with pytest.raises(TooLittleMemory):
        require_memory(machine, EXAMINATION)
