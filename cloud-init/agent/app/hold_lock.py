"""Holds the lock under which the database is migrated, until its standard input ends: `migration_lock.py` starts it.

It runs in the app's own Python, with the app's own driver, and prints `locked` or `no lock`, then who lets a migration
wait. While another Droplet has the lock no connection is open: a plan has few.
"""

import importlib.util
import os
import select
import sys
import time
from typing import Any

KEY = 0x646A616E676F  # "django": any number, the same on every Droplet
PAUSE = 1.0  # seconds
LOOK = 0.25  # seconds between two looks at who waits

# Of other roles PostgreSQL shows no more than this (pg_stat_get_activity).
WAITS = """
SELECT waiting.mode, waiting.relation::regclass::text, blocker.pid, blocker.usename, blocker.application_name
FROM pg_stat_activity AS migration
JOIN pg_locks AS waiting ON waiting.pid = migration.pid AND NOT waiting.granted
CROSS JOIN LATERAL unnest(pg_blocking_pids(migration.pid)) AS blocking (pid)
JOIN pg_stat_activity AS blocker ON blocker.pid = blocking.pid
WHERE migration.usename = current_user AND migration.pid <> pg_backend_pid()
"""


def say(text: str) -> None:
    """Tell the agent."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def connect(url: str) -> Any:  # noqa: ANN401 - psycopg's, or psycopg2's
    """Connect with the driver that is there; None without one."""
    drivers = [name for name in ("psycopg", "psycopg2") if importlib.util.find_spec(name)]
    if not drivers:
        return None
    connection = importlib.import_module(drivers[0]).connect(url)
    connection.autocommit = True
    return connection


def ask(connection: Any, statement: str) -> list[tuple[Any, ...]]:  # noqa: ANN401
    """Return the rows of a statement."""
    cursor = connection.cursor()
    cursor.execute(statement)
    rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def ended(seconds: float) -> bool:
    """Wait for the end of the input; whether it came."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def main() -> None:
    """Take the lock, then watch."""
    url = os.environ.get("DATABASE_URL", "")
    while True:
        connection = connect(url) if url else None
        if connection is None:
            say("no lock")
            return
        if ask(connection, f"SELECT pg_try_advisory_lock({KEY})")[0][0]:
            break
        connection.close()
        if ended(PAUSE):
            return
    say("locked")
    last = ""
    while not ended(LOOK):
        rows = ask(connection, WAITS)
        waits = [
            f"{mode} on {table or 'something'}, which process {pid} of {role} ({name or 'no application_name'}) keeps"
            for mode, table, pid, role, name in rows
        ]
        if waits and waits[0] != last:
            last = waits[0]
            say(f"{time.strftime('%H:%M:%S')} {last}")


if __name__ == "__main__":
    main()
