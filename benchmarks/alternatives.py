"""Answers: which other way to run the app serves more than ours, and by how much.

The vote page of each alternative, by turns with ours on the same Droplet: `python -m benchmarks.alternatives [ROUNDS
[NAME…]]`. It needs root, and a machine without a full world. On a machine that does other things, too, the processor
time of a request says more than the rate.
"""

import sys
from collections import defaultdict
from statistics import median
from typing import NamedTuple

from benchmarks.machine import publish, table
from benchmarks.web import load
from benchmarks.web.pages import Page, pages
from benchmarks.web.setups import CONF, NGINX, OURS, PROXY, SETTINGS, UNIT, Setup, apply, started
from benchmarks.web.site import Site, deployed
from sandbox.machines import cgroups
from sandbox.parts.databases import clusters

ROUNDS, SECONDS, WARM = 3, 3.0, 1.0
CONNECTIONS = 16
BUILD = ("gcc", "libc6-dev", "libpq-dev", "python3-dev")  # what a Droplet hasn't
LONG = {"max requests 1000": 10.0, "max requests 0": 10.0}  # what shows itself after thousands of requests only
SOCKET = "server unix:/run/gunicorn.sock fail_timeout=0;"
DATABASE = 'DATABASES["default"]'


def gunicorn(name: str, text: str) -> Setup:
    """Return ours with other settings of Gunicorn."""
    return Setup(name=name, says=f"`{text}`", appended={CONF: f"\n{text}\n"})


def django(name: str, text: str, *packages: str) -> Setup:
    """Return ours with other settings of Django."""
    return Setup(name=name, says=f"`{text}`", appended={SETTINGS: f"\n{text}\n"}, packages=packages)


def shape(workers: int, threads: int) -> Setup:
    """Return ours with other numbers of workers and threads."""
    text = f"workers, threads, worker_connections = {workers}, {threads}, {2 * threads}"
    return Setup(name=f"{workers}x{threads}", says=f"{workers} workers of {threads} threads", appended={CONF: text})


def server(name: str, *argv: str, packages: tuple[str, ...], written: dict[str, str] | None = None) -> Setup:
    """Return another server, which has no socket of systemd's: requests are lost while it restarts."""
    here = (SOCKET, "server unix:/run/other/socket fail_timeout=0;")
    texts = started(*argv)
    return Setup(
        name=name,
        says="not confined; loses requests at each release",
        written={**texts, **(written or {})},
        replaced={NGINX: (here,)},
        packages=packages,
    )


ALTERNATIVES = (
    *(shape(*numbers) for numbers in ((1, 2), (1, 4), (1, 8), (2, 1), (2, 2), (3, 1), (3, 4))),
    gunicorn("sync", 'worker_class, workers, threads = "sync", 3, 1'),
    gunicorn("not frozen", "when_ready = lambda server: None"),
    gunicorn("gc threshold", 'post_fork = lambda server, worker: __import__("gc").set_threshold(20000, 20, 20)'),
    gunicorn("gc off", 'post_fork = lambda server, worker: __import__("gc").disable()'),
    gunicorn("switch interval", 'post_fork = lambda server, worker: __import__("sys").setswitchinterval(0.05)'),
    gunicorn("max requests 1000", "max_requests, max_requests_jitter = 1000, 100"),
    gunicorn("max requests 0", "max_requests = 0"),
    Setup(
        name="h1c",
        says="Gunicorn's parser in C, built on the Droplet",
        packages=("gunicorn-h1c==0.6.10",),
        debian=BUILD,
    ),
    Setup(
        name="keepalive",
        says="kept connections between Nginx and Gunicorn",
        replaced={
            NGINX: ((SOCKET, f"{SOCKET} keepalive 8; keepalive_timeout 1s;"),),
            PROXY: (("proxy_http_version 1.1;", 'proxy_http_version 1.1; proxy_set_header Connection "";'),),
        },
    ),
    Setup(name="no gzip", says="pages are not compressed", replaced={NGINX: (("gzip on;", "gzip off;"),)}),
    Setup(
        name="batch",
        says="`CPUSchedulingPolicy=batch`",
        replaced={UNIT: (("Restart=on-failure\n", "Restart=on-failure\nCPUSchedulingPolicy=batch\n"),)},
    ),
    Setup(
        name="optimize",
        says="`PYTHONOPTIMIZE=1`",
        replaced={UNIT: (("Restart=on-failure\n", "Restart=on-failure\nEnvironment=PYTHONOPTIMIZE=1\n"),)},
    ),
    Setup(
        name="no system call filter",
        says="less confined",
        replaced={UNIT: (("SystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources\n", ""),)},
    ),
    django("no health checks", f'{DATABASE}["CONN_HEALTH_CHECKS"] = False'),
    django("CONN_MAX_AGE 0", f'{DATABASE}["CONN_MAX_AGE"] = 0'),
    django("server-side binding", f'{DATABASE}["OPTIONS"]["server_side_binding"] = True'),
    django("prepared statements", f'{DATABASE}["OPTIONS"] |= {{"server_side_binding": True, "prepare_threshold": 2}}'),
    django(
        "psycopg pool",
        f'{DATABASE}["CONN_MAX_AGE"] = 0; {DATABASE}["OPTIONS"]["pool"] = {{"min_size": 4, "max_size": 4}}',
        "psycopg-pool==3.3.3",
    ),
    django("direct endpoint", f'{DATABASE} |= {{"PORT": {clusters.PORT}, "NAME": "app"}}'),
    django("no translation", "USE_I18N = False"),
    Setup(
        name="psycopg in C",
        says="psycopg[c], built on the Droplet",
        packages=("psycopg-c==3.3.9",),
        debian=BUILD,
    ),
    server(
        "granian",
        *("granian", "--interface", "wsgi", "--uds", "/run/other/socket", "--workers", "2"),
        *("--blocking-threads", "4", "--no-ws", "mysite.wsgi:application"),
        packages=("granian==2.8.7",),
    ),
    server(
        "uvicorn",
        *("uvicorn", "--uds", "/run/other/socket", "--workers", "2", "--no-access-log", "mysite.asgi:application"),
        packages=("uvicorn[standard]==0.54.0",),
        written={
            SETTINGS.replace("settings", "asgi"): "from django.core.asgi import get_asgi_application\n"
            "application = get_asgi_application()\n"
        },
    ),
)


class Result(NamedTuple):
    """One round of one set-up."""

    served: float  # a second
    p99: float  # seconds
    cost: float  # milliseconds a request: the Droplet's programs
    memory: int  # MiB of the Droplet's programs


def look(site: Site, page: Page, seconds: float) -> Result:
    """Ask as fast as the answers come."""
    load.attack(page.targets, 0, WARM, connections=CONNECTIONS)
    before = site.processor()
    report = load.attack(page.targets, 0, seconds, connections=CONNECTIONS)
    after = site.processor()
    if report.success < 1:
        sys.exit(f"an alternative must serve every request, did not: {report.statuses} {report.errors}")
    spent = sum(after[name] - before.get(name, 0) for name in after if name in {"nginx", "gunicorn"})
    memory = cgroups.memory(site.droplet.name) // 2**20
    return Result(report.served, report.p99, 1000 * spent / report.requests, memory)


def measure(site: Site, chosen: list[Setup], rounds: int) -> dict[str, list[tuple[Result, Result]]]:
    """Look at each alternative right after ours, once a round."""
    found: dict[str, list[tuple[Result, Result]]] = defaultdict(list)
    with pages(site) as asked:
        for _ in range(rounds):
            for setup in chosen:
                pair = []
                for one in (OURS, setup):
                    apply(site.droplet, one)
                    site.wait()
                    pair.append(look(site, asked["vote page"], LONG.get(setup.name, SECONDS)))
                found[setup.name].append((pair[0], pair[1]))
    return found


def rows(chosen: list[Setup], found: dict[str, list[tuple[Result, Result]]]) -> list[tuple[object, ...]]:
    """Rows of how many times ours each serves, and spends."""
    shown: list[tuple[object, ...]] = []
    for setup in chosen:
        pairs = found[setup.name]
        served = load.ratio([other.served for _, other in pairs], [ours.served for ours, _ in pairs])
        cost = load.ratio([other.cost for _, other in pairs], [ours.cost for ours, _ in pairs])
        p99 = load.ratio([other.p99 for _, other in pairs], [ours.p99 for ours, _ in pairs])
        more = median(other.memory - ours.memory for ours, other in pairs)
        shown.append((setup.name, setup.says, served, cost, p99, f"{more:+.0f}"))
    return shown


def main() -> None:
    """Measure and publish."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    names = sys.argv[2:] or [setup.name for setup in ALTERNATIVES]
    chosen = [setup for setup in ALTERNATIVES if setup.name in names]
    load.install()
    with deployed() as site:
        site.wait()
        site.pin()
        found = measure(site, chosen, rounds)
    head = ("alternative", "what differs", "served, times ours", "processor time", "p99", "memory, MiB")
    publish(
        "alternatives",
        "Which other way to run the app serves more than ours?",
        f"The vote page on one vCPU, {CONNECTIONS} connections that ask as fast as they are answered, {SECONDS:g} s "
        f"each, {rounds} round{'s' if rounds > 1 else ''}, each right after ours: the middle (least to most) of the "
        "rounds, in times ours.\n\n" + table(head, rows(chosen, found)),
    )


if __name__ == "__main__":
    main()
