"""Answers: how much longer does a preview take than an empty program's.

The same command for both, by turns, in a world of its own at the depth `api`: `python -m benchmarks.preview [ROUNDS]`.
Neither root nor a running world is needed. The stack is previewed before its first `pulumi up`, and after it. On a
machine that does other things, too, the processor time says more than the clock.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.machine import CACHE, ROOT, publish, table

ROUNDS = 7
LIMIT = 2.35  # times the empty program
EMPTY = """\
name: empty
runtime: python
"""


class Took(NamedTuple):
    """Seconds of one command."""

    elapsed: float
    processor: float  # of all its processes


def run(*argv: str) -> Took:
    """Run one of the project's commands and return how long it took; all that it printed when it fails."""
    started, spent = time.monotonic(), processor()
    done = subprocess.run(
        argv,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}")
    return Took(time.monotonic() - started, processor() - spent)


def processor() -> float:
    """Return the seconds of processor time of all that ended so far below this process."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def by_turns(programs: dict[str, list[str]], rounds: int) -> dict[str, Took]:
    """Run each program once a round, so that the machine's moods meet all of them; return the medians."""
    found: dict[str, list[Took]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, argv in programs.items():
            found[name].append(run(*argv))
    return {name: Took(*map(median, zip(*took, strict=True))) for name, took in found.items()}


def main() -> None:
    """Measure in a new world and publish the medians; exit status 1 when a preview takes more than the limit."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else it compiles the project anew each time, and nothing else
    os.environ["PATH"] = os.pathsep.join([str(ROOT / ".venv/bin"), str(CACHE / "bin"), os.environ["PATH"]])
    with tempfile.TemporaryDirectory(prefix="preview-") as folder:
        home, empty = Path(folder) / "world", Path(folder) / "empty"
        os.environ["SANDBOX_HOME"] = str(home)
        empty.mkdir()
        (empty / "Pulumi.yaml").write_text(EMPTY)
        (empty / "__main__.py").write_text("")
        preview = ["sandbox", "exec", "pulumi", "preview", "--non-interactive"]
        programs = {
            "empty program": [*preview, "--cwd", str(empty), "--stack", "empty"],
            "stack local": [*preview, "--stack", "local", "--config-file", str(home / "pulumi/Pulumi.local.yaml")],
        }
        run("sandbox", "up", "--depth", "api", "--home", str(home))
        try:
            run("sandbox", "exec", "pulumi", "stack", "init", "empty", "--cwd", str(empty), "--non-interactive")
            run("scripts/stack", "local", "preview")  # makes the stack, its settings file and warm caches
            run(*programs["empty program"])
            found = {"not deployed": by_turns(programs, rounds)}
            run("scripts/stack", "local", "up", "--yes", "--skip-preview")
            found["deployed"] = by_turns(programs, rounds)
            again = by_turns(
                {"up": ["scripts/stack", "local", "up", "--yes", "--skip-preview", "--expect-no-changes"]}, 3
            )["up"]
        finally:
            run("sandbox", "down")
    rows: list[tuple[object, ...]] = []
    ratios: list[float] = []
    for state, took in found.items():
        for what, empty_program, stack in zip(Took._fields, took["empty program"], took["stack local"], strict=True):
            rows.append((state, what, f"{empty_program:.2f}", f"{stack:.2f}", f"{stack / empty_program:.2f}"))
        ratios.append(took["stack local"].elapsed / took["empty program"].elapsed)
    publish(
        "preview",
        "How much longer does a preview take than an empty program's?",
        f"Medians of {rounds} previews each, by turns, the whole command's time (`sandbox exec` included): elapsed, "
        f"and the processor's in all its processes. The aim is at most {LIMIT} times, elapsed.\n\n"
        + table(("stack local", "time", "empty program, s", "stack local, s", "times"), rows)
        + f"\n\n`pulumi up` of the deployed stack, with nothing to change: {again.elapsed:.1f} s (median of 3).",
    )
    sys.exit(max(ratios) > LIMIT)


if __name__ == "__main__":
    main()
