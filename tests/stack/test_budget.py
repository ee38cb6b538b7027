"""The connection budget of the preview is what runs: clients, backends and the reserve, counted under load."""

import json
import re
import subprocess
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from operations.preview import events
from tests.commands import environment
from tests.pulumi_stack import PulumiStack
from tests.stack.test_site import cluster, droplet, pooler
from tests.worlds import Deployment

pytestmark = pytest.mark.full

VISITS = 600
AT_ONCE = 60  # more than there are threads
WITHIN = 180  # seconds
EXTRA = 5  # clients that the pool has no backend for

# Run on the Droplet: takes every backend of the pool and more clients than that, then connects past it until refused.
HOARD = """
import json, os, threading, time
import psycopg
given = json.load(open(0))
os.environ.update(PGSSLMODE="verify-full", PGSSLROOTCERT=given["ca"])
served, finish, counted = [], threading.Event(), threading.Lock()
def client():
    with psycopg.connect(given["pool"], prepare_threshold=None) as session:
        pid = session.execute("SELECT pg_backend_pid()").fetchone()[0]
        with counted:
            served.append(pid)
        finish.wait(60)
threads = [threading.Thread(target=client) for _ in range(given["clients"])]
for thread in threads:
    thread.start()
deadline = time.monotonic() + 30
while len(set(served)) < given["backends"] and time.monotonic() < deadline:
    time.sleep(0.1)
time.sleep(1)  # for one too many to show itself; those that got a backend keep it, the others wait
held = len(set(served))
direct, refusal, deadline = [], "", time.monotonic() + 15
while len(direct) < given["clients"]:
    try:
        direct.append(psycopg.connect(given["url"]))
    except psycopg.OperationalError as error:
        refusal = str(error)
        # The pooler's own connection, by which it looks up passwords, takes one for a second.
        if len(direct) >= given["direct"] or time.monotonic() > deadline:
            break
        time.sleep(0.2)
for session in direct:
    session.close()
finish.set()
for thread in threads:
    thread.join()
print(json.dumps({"held": held, "direct": len(direct), "refusal": refusal, "served": len(served)}))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """The most of each that was there at one moment."""

    clients: int  # of the pool, waiting ones included
    servers: int  # the pool's connections to PostgreSQL
    backends: int  # PostgreSQL's own count of the application's role


def counted(deployed: Deployment) -> Counted:
    """Ask PgBouncer and PostgreSQL once."""
    [pool] = [row for row in pooler(deployed, "SHOW POOLS") if row["user"] == "app"]
    question = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"
    argv = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "psql", "-At", "-c", question]
    return Counted(
        clients=int(pool["cl_active"]) + int(pool["cl_waiting"]),
        servers=sum(int(pool[f"sv_{state}"]) for state in ("active", "idle", "used", "tested", "login")),
        backends=int(cluster(deployed).run(argv).stdout),
    )


@pytest.fixture
def budget(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> dict[str, int | str]:
    """The budget as a preview shows it."""
    monkeypatch.setenv("PULUMI_ENABLE_STREAMING_JSON_PREVIEW", "true")
    preview = events.read(PulumiStack(deployed.world).run("preview", "--json").stdout.splitlines())
    shown: dict[str, int | str] = preview.after["connection_budget"]
    return shown


def visited(deployed: Deployment) -> list[Counted]:
    """Visit the site more often at once than it has threads, and count meanwhile."""
    # Named once: the name server is not what is counted here.
    options = ["--resolve", f"{urlsplit(deployed.url).hostname}:443:{deployed.outputs['ip_address']}"]
    options += ["--parallel", "--parallel-immediate", "--parallel-max", str(AT_ONCE), "--http1.1"]
    options += ["--no-progress-meter", "--output", "/dev/null", "--write-out", "%{http_code}\n"]
    # What is counted is who is served at once. On a busy machine a handshake may take longer than Nginx waits.
    options += ["--retry", "10", "--retry-all-errors", "--retry-delay", "1"]
    seen = []
    with subprocess.Popen(
        ["sandbox", "exec", "curl", *options, f"{deployed.url}/?n=[1-{VISITS}]"],
        env=environment(deployed.world.home),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what was tried again
        text=True,
    ) as visits:
        while visits.poll() is None:
            seen.append(counted(deployed))
        assert visits.stdout is not None
        assert visits.stdout.read().split() == ["200"] * VISITS
    return seen


def test_under_load_there_are_as_many_clients_and_backends_as_the_preview_says(
    deployed: Deployment, budget: dict[str, int | str]
) -> None:
    """Each thread of Gunicorn is a client; the pool answers them with no more backends than it has."""
    of_this_droplet = int(budget["clients"]) // 2  # it, and the one that takes its place
    # A busy machine counts seldom, and may miss the moment in which all threads are at work: then once more.
    seen, deadline = visited(deployed), time.monotonic() + WITHIN
    while max((found.clients for found in seen), default=0) < of_this_droplet and time.monotonic() < deadline:
        seen += visited(deployed)
    assert max(found.clients for found in seen) == of_this_droplet
    assert 1 < max(found.servers for found in seen) <= int(budget["pool_size"])
    assert 1 < max(found.backends for found in seen) <= int(budget["pool_size"])


def test_the_plan_has_the_backends_that_the_preview_says(deployed: Deployment, budget: dict[str, int | str]) -> None:
    """A full pool has `pool_size`, the direct ones are left beside it, and the next one meets the reserve."""
    text = PulumiStack(deployed.world).resources()["environment"]["inputs"]["document"]["plaintext"]
    document = json.loads(json.loads(text))
    pool, direct = document["env"]["DATABASE_URL"], document["release_env"]["DATABASE_URL"]
    clients = int(budget["pool_size"]) + EXTRA
    given = {"pool": pool, "url": direct, "ca": document["env"]["PGSSLROOTCERT"]}
    direct_connections = int(re.findall(r"direct (\d+)", str(budget["supply"]))[0])
    given |= {"backends": budget["pool_size"], "clients": clients, "direct": direct_connections}
    done = droplet(deployed).run(["/srv/app/current/venv/bin/python", "-c", HOARD], input=json.dumps(given))
    found = json.loads(done.stdout)
    assert found["held"] == budget["pool_size"]
    assert found["direct"] == direct_connections
    assert "remaining connection slots are reserved" in found["refusal"]
    assert found["served"] == clients
