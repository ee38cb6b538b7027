"""A release as Gunicorn's own unit would run it, beside the one that serves: its settings examined, then a candidate.

Units of systemd-run get the properties that gunicorn.service and gunicorn.socket have on this machine, so whatever
these forbid is forbidden here, too.
"""

import contextlib
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

from agent.app.memory import too_little
from agent.app.remedies import forbidden
from agent.errors import AgentError

if TYPE_CHECKING:
    from agent.machine import Machine

CANDIDATE = "gunicorn-candidate"
EXAMINATION = "gunicorn-examination"
PROGRAM = Path(__file__).resolve().with_name("examine.py")
# What another release, another socket and a short life ask for. All else is as Gunicorn has it.
OTHERWISE = {"Type", "NotifyAccess", "LoadCredential", "ExecStart", "Restart", "RestartSec", "SyslogIdentifier"} | {
    "ListenStream"
}
ENDED = re.compile(r"(?<=Main process exited, )code=\w+, status=\S+")
RESERVE = 32 * 2**20  # bytes of the memory that is free, kept for what serves
LEAST = 64 * 2**20  # bytes; with less no Python starts


class TooLittleMemory(AgentError):  # noqa: N818 - a fact about the machine
    """There is no room for the release beside the one that serves."""


def properties(unit: str, section: str) -> list[str]:
    """Return a section of a unit, line by line, without what is otherwise here."""
    found, current = [], ""
    for line in unit.splitlines():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            current = heading[1]
        elif current == section and re.match(r"\w+=", line) and line.partition("=")[0] not in OTHERWISE:
            found.append(line)
    return found


def confinement(machine: "Machine", folder: Path, name: str) -> list[str]:
    """Return systemd-run's options for a program of the release in `folder`.

    It may have the memory that is free; where that is not enough it is the first to go, and what serves stays.
    """
    memory = max(LEAST, machine.free_memory() - RESERVE)
    lines = [
        *properties(machine.gunicorn_service.read_text(), "Service"),
        f"LoadCredential=environment:{folder / 'environment.json'}",
        f"SyslogIdentifier={name}",
        f"MemoryMax={memory}",
        "OOMScoreAdjust=1000",
        "KillSignal=SIGKILL",  # nobody waits for its answers any more
        "BindsTo=release-agent.service",  # an agent that ends by accident leaves nothing behind
    ]
    return [f"--unit={name}", "--quiet", "--collect", *(f"--property={line}" for line in lines)]


def command(machine: "Machine", *arguments: str) -> list[str]:
    """Return Gunicorn's own command, with arguments."""
    [start] = re.findall(r"(?m)^ExecStart=(.*)$", machine.gunicorn_service.read_text())
    return ["--", *start.split(), *arguments]


def examine(machine: "Machine", folder: Path, expected: Mapping[str, str]) -> tuple[list[tuple[str, str]], str]:
    """Import the app as Gunicorn will; return its findings, and the traceback of an import that fails, else ""."""
    options = [*confinement(machine, folder, EXAMINATION), "--service-type=exec", "--pipe", "--wait"]
    with tempfile.TemporaryFile() as printed:
        try:
            answer = machine.system(
                "systemd-run", *options, *command(machine, str(PROGRAM), json.dumps(expected)), errors=printed.fileno()
            )
            found = json.loads(answer)
        except (AgentError, ValueError) as error:
            require_memory(machine, EXAMINATION)
            # Of its end systemd alone knows.
            said = f"{text_of(printed)}\n{machine.journal(EXAMINATION)}"
            end(machine, EXAMINATION)
            raise AgentError(f"`import {expected['wsgi']}` {ended(said)}\n{said.strip()}") from error
        problem = f"{found['problem']}\n{text_of(printed)}" if found["problem"] else ""
        return [(str(text), str(name)) for text, name in found["found"]], problem


def ended(said: str) -> str:
    """Say how a program ended that gave no answer, by what it and systemd have printed."""
    status = ENDED.search(said)
    how = f"ended before its time, with {status[0]}" if status else "ended before its time"
    why = forbidden(said)
    return f"{how}; {why}" if why else how


def text_of(file: IO[bytes]) -> str:
    """Read a file from its start."""
    file.seek(0)
    return file.read().decode(errors="replace")


def start(machine: "Machine", folder: Path) -> None:
    """Start the release as a candidate: one worker, behind a socket of its own that only Nginx and root can open."""
    end(machine, CANDIDATE)
    socket = [*properties(machine.gunicorn_socket.read_text(), "Socket"), f"ListenStream=/run/{CANDIDATE}.sock"]
    options = [*confinement(machine, folder, CANDIDATE), "--service-type=notify", "--property=NotifyAccess=main"]
    options += ["--setenv=GUNICORN_CMD_ARGS=--workers=1", *(f"--socket-property={line}" for line in socket)]
    machine.system("systemd-run", *options, *command(machine))
    try:
        machine.systemctl("start", f"{CANDIDATE}.service")
    except AgentError as error:
        require_memory(machine, CANDIDATE)
        raise AgentError(f"{error}\n{machine.journal(CANDIDATE)}") from error


def require_memory(machine: "Machine", name: str) -> None:
    """Raise TooLittleMemory if the kernel has ended a process of a unit.

    Without a memory controller systemd knows of the signal only; nobody else has sent that one so far.
    """
    if re.search("result 'oom-kill'|status=9/KILL|Perhaps out of memory", machine.journal(name)):
        raise TooLittleMemory(f"{name}.service: was killed {too_little()}")


def end(machine: "Machine", name: str) -> None:
    """End what is left of a unit, at once; what is not there has ended."""
    with contextlib.suppress(AgentError):
        machine.systemctl("stop", f"{name}.socket", f"{name}.service")
