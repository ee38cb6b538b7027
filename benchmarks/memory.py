"""Answers: what does a release of a heavy app do to the one that serves, on the smallest Droplets.

Every worker takes 250 MiB with its first request, and so does each process that checks the project. A visitor asks five
times a second all the while: `python -m benchmarks.memory`. It needs root, and a machine without a full world.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import yaml

from benchmarks.machine import publish, table
from sandbox import machine
from sandbox import world as worlds

ROOT = Path(__file__).parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "django-do"
SIZES = ("s-1vcpu-512mb-10gb", "s-1vcpu-1gb")
RELEASES = 3
WEIGHT = 250  # MiB
HEAVY = f'\nWEIGHT = b"x" * ({WEIGHT} * 2**20)  # in each process that has read the URLs\n'
VISITOR = (
    'while [ ! -e "$2" ]; do curl --silent --max-time 20 --output /dev/null --write-out "%{http_code}\\n" "$1"; '
    "sleep 0.2; done"
)
LATE = "looked at only once visitors had it"


def command(*argv: str) -> list[str]:
    """Return a command as scripts/up runs it."""
    return [str(ROOT / argv[0]) if argv[0].startswith("scripts/") else argv[0], *argv[1:]]


def settings(world: worlds.World, folder: Path, size: str) -> Path:
    """Write the settings of the stack "local", with the app of `folder` on a Droplet of this size."""
    subprocess.run(command("scripts/stack", "local", "stack"), cwd=ROOT, check=True, capture_output=True)
    made = yaml.safe_load((world.pulumi / "project/Pulumi.local.yaml").read_text())
    document = made | yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())
    document["config"]["django-do:web"] = {"size": size}
    document["config"]["django-do:app"]["path"] = str(folder)
    file = folder.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(document))
    return file


def up(file: Path) -> str:
    """Deploy; return what was printed, with "failed" before it when it failed."""
    argv = command("scripts/stack", "local", "up", "--yes", "--skip-preview", "--config-file", str(file))
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    return ("failed\n" if done.returncode else "") + done.stdout + done.stderr


def outcome(printed: str) -> str:
    """Say in a few words how a release ended."""
    if printed.startswith("failed"):
        return "refused: " + " ".join(re.findall(r"(?m)^.*lack of memory.*$", printed)[:1] or [printed[-300:]]).strip()
    return "made, looked at after the switch, which the report says" if LATE in printed else "made"


def killed(droplet: machine.Machine, unit: str) -> int:
    """How many processes of a unit the kernel has ended."""
    return len(re.findall(r"Perhaps out of memory|status=9/KILL|oom-kill", droplet.journal(f"--unit={unit}")))


def measure(size: str) -> list[tuple[object, ...]]:
    """Deploy the heavy app in a new world, release it again and again; a row for each of these releases."""
    subprocess.run(command("sandbox", "up", "--depth", "full"), cwd=ROOT, check=True, stdout=sys.stderr)
    world = worlds.load(Path(os.environ["SANDBOX_HOME"]))
    rows: list[tuple[object, ...]] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            app, stop = Path(folder) / "app", Path(folder) / "stop"
            shutil.copytree(ROOT / "app", app, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
            with (app / "mysite/urls.py").open("a") as urls:
                urls.write(HEAVY)
            file = settings(world, app, size)
            first = up(file)
            if first.startswith("failed"):
                sys.exit(f"{size}: the first release failed\n{first}")
            [name] = [name for name in machine.names(world) if name.startswith("d")]
            droplet = machine.load_machine(world, name)
            for number in range(RELEASES):
                (app / "polls/release.py").write_text(f"NUMBER = {number}\n")
                stop.unlink(missing_ok=True)
                before = killed(droplet, "gunicorn"), killed(droplet, "gunicorn-candidate")
                asks = command("sandbox", "exec", "sh", "-c", VISITOR, "visitor", "https://polls.example/", str(stop))
                visitor = subprocess.Popen(asks, cwd=ROOT, stdout=subprocess.PIPE, text=True)
                printed = up(file)
                stop.touch()
                answers, _ = visitor.communicate(timeout=60)
                served = Counter(answers.split())
                after = killed(droplet, "gunicorn"), killed(droplet, "gunicorn-candidate")
                shown = ", ".join(f"{count} x {status}" for status, count in served.most_common())
                rows.append((size, outcome(printed), shown, after[0] - before[0], after[1] - before[1]))
    finally:
        subprocess.run(command("sandbox", "down"), cwd=ROOT, check=True, stdout=sys.stderr)
    return rows


def main() -> None:
    """Measure each size and publish; exit status 1 when a visitor was not served, or what serves lost a process."""
    os.environ["PATH"] = os.pathsep.join([str(ROOT / ".venv/bin"), str(CACHE / "bin"), os.environ["PATH"]])
    os.environ["SANDBOX_HOME"] = str(worlds.default_home("full").with_name("benchmark"))
    rows = [row for size in SIZES for row in measure(size)]
    publish(
        "memory",
        "What does a release of a heavy app do to the one that serves?",
        f"An app of {WEIGHT} MiB for each worker, released {RELEASES} times while a visitor asks five times a second."
        "\n\n" + table(("Droplet", "release", "answers", "killed of what serves", "killed of the candidate"), rows),
    )
    sys.exit(any(row[3] or {part.split()[2] for part in str(row[2]).split(", ")} != {"200"} for row in rows))


if __name__ == "__main__":
    main()
