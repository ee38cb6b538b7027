"""Runs on the client Droplet, by its own Python: counts connections, runs pgbench, makes checkpoints.

`python3 on_client.py` reads one JSON document from standard input and answers with another one. Passwords are in
~/.pg_service.conf, so none is in an argument. It needs nothing but Debian's python3-psycopg and postgresql-17.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

Answer = dict[str, Any]

PGBENCH = "/usr/lib/postgresql/17/bin/pgbench"
MEMORY = "/dev/shm"  # noqa: S108 a disk would take its time; the folder in it has a name of its own
QUIET = 60.0  # seconds until what was closed is gone, and what was made answers
PAUSE = 0.1  # seconds
OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
SETTINGS = [
    *("server_version", "max_connections", "shared_buffers", "max_wal_size", "checkpoint_timeout"),
    *("synchronous_commit", "fsync", "data_checksums"),
]
# doadmin may not CHECKPOINT everywhere, but may create a database; by this strategy that is preceded by a checkpoint:
# https://www.postgresql.org/docs/17/sql-createdatabase.html
CHECKPOINT = (
    "DROP DATABASE IF EXISTS checkpoint",
    "CREATE DATABASE checkpoint TEMPLATE template0 STRATEGY file_copy",
    "DROP DATABASE checkpoint",
)


def quiet() -> Answer:
    """Wait until the server has no other connection of this user: those that were closed end a moment later."""
    deadline = time.monotonic() + QUIET
    while True:
        try:
            with psycopg.connect("service=direct", autocommit=True) as session:
                others = session.execute(OTHERS).fetchone() or (0,)
            if others == (0,):
                return {}
            last = f"{others[0]} other connections"
        except psycopg.OperationalError as error:  # no slot is free, until they have ended
            last = str(error)
        if time.monotonic() > deadline:
            sys.exit(f"service direct: must have no other connection within {QUIET:.0f} s, has: {last}")
        time.sleep(PAUSE)


def checkpoint() -> Answer:
    """Write everything to disk, with no other connection open."""
    quiet()
    with psycopg.connect("service=direct", autocommit=True) as session:
        for statement in CHECKPOINT:
            session.execute(statement)
    return quiet()


def answers(service: str) -> Answer:
    """Wait until a service answers a query."""
    deadline = time.monotonic() + QUIET
    while True:
        try:
            with psycopg.connect(f"service={service}", prepare_threshold=None) as session:
                session.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                sys.exit(f"service {service}: must answer within {QUIET:.0f} s: {error}")
        else:
            return {}
        time.sleep(PAUSE)


def settings() -> Answer:
    """Return what the server is, and those of its settings that figures depend on."""
    with psycopg.connect("service=direct", autocommit=True) as session:
        found = session.execute("SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", [SETTINGS])
        return dict(found.fetchall())


def connect(service: str, clients: int) -> Answer:
    """Open so many connections at once; return how many were accepted, what others were told, and how long it took."""
    began = time.monotonic()
    sessions: list[psycopg.Connection] = []
    refusals: list[str] = []
    for _ in range(clients):
        try:
            sessions.append(psycopg.connect(f"service={service}"))
        except psycopg.OperationalError as error:
            refusals.append(str(error).strip())
    took = time.monotonic() - began
    for session in sessions:
        session.close()
    if service == "direct":
        quiet()
    return {"accepted": len(sessions), "refusals": refusals, "took_s": took}


def pgbench(arguments: list[str], sampling: float) -> Answer:
    """Run pgbench; return what it says, the latency of a part of its transactions, and the CPUs that it took."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        log = ["--log", f"--log-prefix={folder}/log", f"--sampling-rate={sampling}"] if sampling else []
        before, began, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.time(), time.monotonic()
        done = subprocess.run([PGBENCH, *log, *arguments], capture_output=True, text=True, check=False)
        wall = time.monotonic() - wall
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Of each transaction: client, number, microseconds, script, time; "failed" instead of a number.
        lines = (line.split() for file in Path(folder).iterdir() for line in file.open())
        latencies = sorted(int(line[2]) for line in lines if line[2].isdigit())
    return {
        "status": done.returncode,
        "output": done.stdout,
        "errors": done.stderr,
        "p99_us": latencies[len(latencies) * 99 // 100] if latencies else None,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "wall_s": wall,
        "began": began,
        "cores": len(os.sched_getaffinity(0)),
    }


COMMANDS = {one.__name__: one for one in (answers, checkpoint, connect, pgbench, settings)}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps(COMMANDS[asked.pop("command")](**asked)))  # noqa: T201 the answer
