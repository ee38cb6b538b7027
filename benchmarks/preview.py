"""Answers: how much longer does a preview take than an empty program's.

The same command for both, by turns, in a world of its own at the depth `api`: `python -m benchmarks.preview [ROUNDS]`.
Neither root nor a running world is needed. The stack is previewed before its first `pulumi up`, and after it.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.machine import publish, table

ROOT = Path(__file__).parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "django-do"
ROUNDS = 7
LIMIT = 2.5  # times the empty program
EMPTY = """\
name: empty
runtime: python
"""


def run(*argv: str) -> float:
    """Run one of the project's commands and return how long it took, in seconds; all that it printed when it fails."""
    started = time.monotonic()
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
    return time.monotonic() - started


def by_turns(programs: dict[str, list[str]], rounds: int) -> dict[str, float]:
    """Run each program once a round, so that the machine's moods meet all of them; return the medians in seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, argv in programs.items():
            seconds[name].append(run(*argv))
    return {name: median(values) for name, values in seconds.items()}


def main() -> None:
    """Measure in a new world and publish the medians; exit status 1 when a preview takes more than the limit."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
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
    ratios = {state: seconds["stack local"] / seconds["empty program"] for state, seconds in found.items()}
    rows: list[tuple[object, ...]] = [
        (state, f"{seconds['empty program']:.2f}", f"{seconds['stack local']:.2f}", f"{ratios[state]:.2f}")
        for state, seconds in found.items()
    ]
    publish(
        "preview",
        "How much longer does a preview take than an empty program's?",
        f"Medians of {rounds} previews each, by turns, the whole command's time (`sandbox exec` included). "
        f"The aim is at most {LIMIT} times.\n\n"
        + table(("stack local", "empty program, s", "stack local, s", "times"), rows)
        + f"\n\n`pulumi up` of the deployed stack, with nothing to change: {again:.1f} s (median of 3).",
    )
    sys.exit(max(ratios.values()) > LIMIT)


if __name__ == "__main__":
    main()
