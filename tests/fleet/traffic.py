"""Visitors who come at a constant rate while something happens to the site, and what of theirs was lost.

Half of them over connections that are new each time, half over kept ones; they read a question and vote.
"""

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.web.load import VEGETA, Answer, install, timeline
from benchmarks.web.pages import QUESTION, votes
from sandbox.machines.machine import Machine
from sandbox.model.store import Store
from sandbox.parts.databases import clusters
from sandbox.parts.databases.clusters import Clusters
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import World
from tests.commands import ROOT, environment, run

RATE = 50  # requests a second
LATE = 5.0  # seconds after which an answer is as good as none
LONGEST = 900  # seconds; they stop by themselves


@dataclass(kw_only=True)
class Traffic:
    """What came of it."""

    began: float = 0  # by the monotonic clock; about when the first one asked
    answers: list[Answer] = field(default_factory=list)
    votes: int = 0  # that were answered with success
    counted: int = 0  # in the database

    @property
    def lost(self) -> list[Answer]:
        """Failed, late, or an error of the server."""
        return [one for one in self.answers if not 200 <= one.status < 500 or one.after > LATE]

    def __str__(self) -> str:
        kinds: dict[str, int] = {}
        for one in self.lost:
            kind = one.error or f"{one.status} after {one.after:.1f} s"
            kinds[kind] = kinds.get(kind, 0) + 1
        said = ", ".join(f"{count} x {kind}" for kind, count in kinds.items()) or "none"
        when = f", from {self.lost[0].at:.1f} to {self.lost[-1].at:.1f} s" if self.lost else ""
        lost = f"{len(self.answers)} requests, {len(self.lost)} lost ({said}){when}"
        return f"{lost}; {self.votes} votes answered with success, {self.counted} counted"


def nothing_lost(seen: Traffic) -> None:
    """Every visitor was served, and every vote that was answered with success is counted."""
    assert not seen.lost, str(seen)
    assert seen.votes == seen.counted, str(seen)


def primary(world: World) -> Machine:
    """The machine of the node of the site's database that is written to."""
    [cluster] = Store(world.database, read_only=True).list("database")
    return Clusters(world, Supervisor(world)).machine(cluster.id)


def votes_in_database(world: World) -> int:
    """Sum of all votes."""
    psql = ["psql", "-At", "-p", str(clusters.PORT), "-U", "postgres", "-d", "app", "-c"]
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    statement = "SELECT sum(votes) FROM polls_choice"
    return int(primary(world).run([*as_postgres, *psql, statement]).stdout.strip() or 0)


@contextlib.contextmanager
def traffic(world: World) -> Iterator[Traffic]:
    """Let visitors come while the block runs; what became of them is known after it."""
    install()
    found = Traffic()
    before = votes_in_database(world)
    with tempfile.TemporaryDirectory(prefix="traffic-") as name:
        folder = Path(name)
        curl = run("sandbox", "exec", "curl", "--silent", "--show-error", "--include", QUESTION, home=world.home)
        targets = [{"method": "GET", "url": QUESTION}, *votes(curl.stdout)[:1]]
        (folder / "targets.json").write_text("".join(json.dumps(target) + "\n" for target in targets))
        found.began = time.monotonic()
        visitors = [attack(world, folder, kept=kept) for kept in (False, True)]
        time.sleep(1)  # both are at work
        try:
            yield found
        finally:
            time.sleep(2)  # what happens late is theirs, too
            for visitor in visitors:
                visitor.terminate()
            for visitor in visitors:
                visitor.wait(timeout=LATE + 30)
        for kept in (False, True):
            encoded = subprocess.run(
                [VEGETA, "encode", "-to=csv", str(folder / f"{kept}.bin")], capture_output=True, text=True, check=True
            )
            found.answers += timeline(encoded.stdout)
    found.votes = sum(one.status == 302 for one in found.answers)  # the page after a vote
    found.counted = votes_in_database(world) - before


def attack(world: World, folder: Path, *, kept: bool) -> subprocess.Popen[bytes]:
    """Start one half of the visitors."""
    argv = ["sandbox", "exec", str(VEGETA), "attack", "-format=json", f"-targets={folder / 'targets.json'}"]
    argv += [f"-output={folder / f'{kept}.bin'}", f"-rate={RATE // 2}", f"-duration={LONGEST}s", "-timeout=30s"]
    # By itself it would ask the name server once, and never again.
    argv += [f"-keepalive={'true' if kept else 'false'}", "-redirects=-1", "-max-body=0", "-dns-ttl=1s"]
    return subprocess.Popen(argv, cwd=ROOT, env=environment(world.home), stdin=subprocess.DEVNULL)
