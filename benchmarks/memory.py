"""Answers: what does a release of a heavy app do to the one that serves, on the smallest Droplets.

Every worker takes 250 MiB with its first request; in one app so does each process that reads its URLs, which checks and
migrations do, in another a request alone. A visitor asks five times a second all the while: `benchmarks/run memory`. It
needs root, and a machine without a full world.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.machine import ROOT, command, publish, table
from benchmarks.own_world import own_world
from sandbox.machines import cgroups, machine
from sandbox.world import world as worlds

RELEASES = 2
WEIGHT = 250  # MiB
URLS, REQUEST = "with its URLs", "with a request"  # when a process takes so much
TAKE = f"""
from django.core.signals import request_started

WEIGHT = []


def take(**_signal):
    if not WEIGHT:
        WEIGHT.append(b"x" * ({WEIGHT} * 2**20))


request_started.connect(take)
"""
HEAVY = {URLS: ("mysite/urls.py", f'\nWEIGHT = b"x" * ({WEIGHT} * 2**20)\n'), REQUEST: ("mysite/wsgi.py", TAKE)}
# Size, Gunicorn's workers (what a Droplet of this size has by itself), when they take their memory.
DROPLETS = (
    ("s-1vcpu-512mb-10gb", 1, URLS),
    ("s-1vcpu-512mb-10gb", 1, REQUEST),
    ("s-1vcpu-1gb", 2, URLS),
    ("s-1vcpu-1gb", 2, REQUEST),
)
VISITOR = (
    'while [ ! -e "$2" ]; do curl --silent --max-time 20 --output /dev/null --write-out "%{http_code}\\n" "$1"; '
    "sleep 0.2; done"
)
CROWD = 'seq 40 | xargs -P 8 -I {} curl --silent --max-time 20 --output /dev/null "$1"'
CROWD_DEADLINE = 60  # seconds
LATE = "looked at only once visitors had it"
LACK = re.compile(r"`([^`]+)` was killed, most likely for lack of memory|(\S+\.service): was killed for lack of memory")
# What the kernel writes of a process that it ends for the memory of a control group.
KILL = re.compile(r"oom_memcg=/\S*?/(?P<name>\w+)(?:/[^,]*)?,task_memcg.*\n.*oom_score_adj:(?P<score>-?\d+)")
WHOSE = {
    1000: "candidate",
    950: "release's step",
    900: "release agent",
}  # by OOMScoreAdjust=; all else serves visitors, or is the system's


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A world with one Droplet, and the app that is released to it."""

    world: worlds.World
    workers: int
    folder: Path
    settings: Path

    @property
    def app(self) -> Path:
        """Where the app is."""
        return self.folder / "app"

    @property
    def droplet(self) -> machine.Machine:
        """The Droplet."""
        [name] = [name for name in machine.names(self.world) if name.startswith("d")]
        return machine.load_machine(self.world, name)

    def up(self) -> str:
        """Deploy; return what was printed, with "failed" before it when it failed."""
        argv = ["scripts/stack", "local", "up", "--yes", "--skip-preview", "--config-file", str(self.settings)]
        done = subprocess.run(command(*argv), cwd=ROOT, capture_output=True, text=True, check=False)
        return ("failed\n" if done.returncode else "") + done.stdout + done.stderr

    def warm(self) -> None:
        """Ask until every worker has had a request, and so has its memory."""
        deadline = time.monotonic() + CROWD_DEADLINE
        while (used := cgroups.memory(self.droplet.name)) < self.workers * WEIGHT * 2**20:
            if time.monotonic() > deadline:
                sys.exit(f"{self.workers} workers must have {WEIGHT} MiB each, the Droplet uses {used // 2**20}")
            subprocess.run(visit(CROWD), cwd=ROOT, check=False)

    def lost(self) -> int:
        """How many processes gunicorn.service has lost, by its journal."""
        said = self.droplet.journal("--unit=gunicorn.service")
        return len(re.findall(r"was sent SIGKILL|status=9/KILL|result 'oom-kill'", said))

    def killed(self) -> Counter[str]:
        """How many processes the kernel has ended for the Droplet's memory, by whose they were."""
        log = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
        kills = [kill for kill in KILL.finditer(log) if kill["name"] == self.droplet.name]
        return Counter(WHOSE.get(int(kill["score"]), "other") for kill in kills)


def visit(script: str, *arguments: str) -> list[str]:
    """Return a command for a stranger's requests to the site."""
    return command("sandbox", "exec", "sh", "-c", script, "visitor", "https://polls.example/", *arguments)


def settings(world: worlds.World, folder: Path, size: str, workers: int) -> Path:
    """Write the settings of the stack "local", with the app of `folder` on such a Droplet."""
    subprocess.run(command("scripts/stack", "local", "stack"), cwd=ROOT, check=True, capture_output=True)
    made = yaml.safe_load((world.pulumi / "project/Pulumi.local.yaml").read_text())
    document = made | yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())
    document["config"]["django-do:web"] = {"size": size, "workers": workers}
    document["config"]["django-do:app"]["path"] = str(folder / "app")
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def outcome(printed: str) -> str:
    """Say in a few words how a release ended."""
    if not printed.startswith("failed"):
        return "made; looked at after the switch, which the report says" if LATE in printed else "made"
    if found := LACK.search(printed):
        return f"refused, for lack of memory, at `{found[1] or found[2]}`"
    sys.exit(f"a release failed for another reason than memory\n{printed}")


def release(trial: Trial, number: int) -> tuple[object, ...]:
    """Release the app once more while a visitor asks; return what came of it, for both."""
    (trial.app / "polls/release.py").write_text(f"NUMBER = {number}\n")
    stop = trial.folder / f"stop-{number}"
    name = trial.droplet.name
    trial.warm()
    lost, killed, counted = trial.lost(), trial.killed(), cgroups.kills(name)
    available = cgroups.room(name).available // 2**20
    visitor = subprocess.Popen(visit(VISITOR, str(stop)), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        printed = trial.up()
    finally:
        stop.touch()
        answers, _ = visitor.communicate(timeout=60)
    shown = ", ".join(f"{count} x {status}" for status, count in Counter(answers.split()).most_common())
    ended = trial.killed() - killed
    if ended.total() != (counted := cgroups.kills(name) - counted):
        sys.exit(f"dmesg: must name each of the {counted} processes that the kernel has ended, names {ended.total()}")
    victims = ", ".join(f"{count} x {whose}" for whose, count in ended.items()) or "nothing"
    return f"{available} MiB", outcome(printed), shown, victims, trial.lost() - lost


def measure(size: str, workers: int, when: str) -> list[tuple[object, ...]]:
    """Deploy the heavy app in a new world, release it again and again; a row for each of these releases."""
    with own_world() as world, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copytree(ROOT / "app", folder / "app", ignore=shutil.ignore_patterns(".venv", "__pycache__"))
        name, code = HEAVY[when]
        with (folder / "app" / name).open("a") as module:
            module.write(code)
        file = settings(world, folder, size, workers)
        trial = Trial(world=world, workers=workers, folder=folder, settings=file)
        first = trial.up()
        if first.startswith("failed"):
            sys.exit(f"{size}: the first release failed\n{first}")
        return [(size, workers, when, *release(trial, number)) for number in range(RELEASES)]


def main() -> None:
    """Measure each Droplet and publish; exit status 1 when a visitor was not served, or what serves lost a process."""
    rows = [row for droplet in DROPLETS for row in measure(*droplet)]
    head = (
        "Droplet",
        "workers",
        "heavy",
        "available before",
        "release",
        "a visitor's answers",
        "ended by the kernel",
        "of Gunicorn",
    )
    publish(
        "memory",
        "What does a release of a heavy app do to the one that serves?",
        f"An app of {WEIGHT} MiB for each worker, released {RELEASES} times while a visitor asks five times a second. "
        "Of a VM the kernel keeps some 40 MiB for itself, which programs have in a machine of the sandbox."
        "\n\n" + table(head, rows),
    )
    served = all({part.split()[2] for part in str(row[5]).split(", ")} == {"200"} for row in rows)
    sys.exit(not served or any(row[7] or "other" in str(row[6]) for row in rows))


if __name__ == "__main__":
    main()
