"""The release's packages, by uv: an index that can't be reached is tried again, and is no fault of the release."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agent.app.remedies import explained
from agent.errors import AgentError

if TYPE_CHECKING:
    from agent.machine import Machine

PAUSES = (5, 15, 30, 0)  # seconds after each try; uv itself tries four times
# What uv says of a network that fails, and of a server that does (reqwest's words).
UNREACHABLE = re.compile(
    r"error sending request for url|dns error|[Cc]onnection (refused|reset)|operation timed out"
    r"|HTTP status server error \(5\d\d"
)


def install(machine: "Machine", command: list[str], directory: Path, environment: Mapping[str, str]) -> None:
    """Run a command of uv; raises AgentError, which says so when the network was at fault."""
    for pause in PAUSES:
        try:
            machine.run(command, directory=directory, environment=environment)
        except AgentError as error:
            if not UNREACHABLE.search(str(error)):
                raise AgentError(explained(str(error))) from error
            if not pause:
                what, _, output = str(error).partition("\n")
                text = f"{what}: a package index could not be reached, which is no fault of the release"
                raise AgentError(f"{text}; run `pulumi up` again later\n{output}") from error
            end = time.monotonic() + pause
            while time.monotonic() < end:
                machine.alive()
                time.sleep(min(1, pause))
        else:
            return
