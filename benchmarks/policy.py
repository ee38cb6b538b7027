"""Answers: how much longer does a preview take with the policy pack than without.

Both previews of the stack `local`, by turns, in a world of its own at the depth `api`: `python -m benchmarks.policy
[ROUNDS]`. Neither root nor a running world is needed. The stack is previewed before its first `pulumi up`, and after.
"""

import os
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import CACHE, ROOT, publish, table
from benchmarks.preview import by_turns, run

ROUNDS = 7
LIMIT = 2.0  # seconds more than without the pack


def main() -> None:
    """Measure in a new world and publish the medians; exit status 1 when the pack costs more than the limit."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    os.environ["PATH"] = os.pathsep.join([str(ROOT / ".venv/bin"), str(CACHE / "bin"), os.environ["PATH"]])
    with tempfile.TemporaryDirectory(prefix="policy-") as folder:
        home = Path(folder) / "world"
        os.environ["SANDBOX_HOME"] = str(home)
        settings = str(home / "pulumi/Pulumi.local.yaml")
        preview = [
            "sandbox",
            "exec",
            "pulumi",
            "preview",
            "--non-interactive",
            "-s",
            "local",
            "--config-file",
            settings,
        ]
        programs = {"without": preview, "with": [*preview, "--policy-pack", "policy/run"]}
        run("sandbox", "up", "--depth", "api", "--home", str(home))
        try:
            run("scripts/stack", "local", "preview")  # makes the stack, its settings file and warm caches
            run(*programs["with"])
            found = {"not deployed": by_turns(programs, rounds)}
            run("scripts/stack", "local", "up", "--yes", "--skip-preview")
            found["deployed"] = by_turns(programs, rounds)
        finally:
            run("sandbox", "down")
    elapsed = {state: {name: one.elapsed for name, one in took.items()} for state, took in found.items()}
    added = {state: seconds["with"] - seconds["without"] for state, seconds in elapsed.items()}
    rows: list[tuple[object, ...]] = [
        (
            state,
            f"{seconds['without']:.2f}",
            f"{seconds['with']:.2f}",
            f"{added[state]:.2f}",
            f"{seconds['with'] / seconds['without']:.2f}",
        )
        for state, seconds in elapsed.items()
    ]
    publish(
        "policy",
        "How much longer does a preview take with the policy pack?",
        f"Medians of {rounds} previews each, by turns, the whole command's time (`sandbox exec` included). "
        f"The aim is at most {LIMIT:.0f} s more.\n\n"
        + table(("stack local", "without, s", "with, s", "more, s", "times"), rows),
    )
    sys.exit(max(added.values()) > LIMIT)


if __name__ == "__main__":
    main()
