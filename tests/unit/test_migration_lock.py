"""The lock for migrations: programs as two Droplets have them, and a real PostgreSQL."""

import itertools
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from agent.app.migration_lock import PROGRAM, migration_lock
from tests.api_client import until
from tests.postgres_server import HOST, PostgresServer, postgres_server

NUMBERS = itertools.count(1)
PASSWORD = "migrator-secret"
SECONDS = 60  # for a busy machine


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Run one PostgreSQL for this file."""
    with postgres_server() as running:
        yield running


@dataclass(frozen=True)
class Site:
    """A database, and the role that migrates it."""

    server: PostgresServer
    name: str  # of both

    @property
    def url(self) -> str:
        """The migrator's, as a release's environment has it."""
        return f"postgresql://{self.name}:{PASSWORD}@{HOST}:{self.server.port}/{self.name}?sslmode=require"

    def sessions(self) -> set[int]:
        """The server's processes for connections that the migrator has now."""
        with self.server.as_superuser() as operator:
            rows = operator.execute("SELECT pid FROM pg_stat_activity WHERE usename = %s", [self.name]).fetchall()
        return {pid for (pid,) in rows}

    def counted_sessions(self) -> int:
        """How many connections to this database were counted: at their end, at the latest."""
        with self.server.as_superuser() as operator:
            [row] = operator.execute("SELECT sessions FROM pg_stat_database WHERE datname = %s", [self.name]).fetchall()
        return int(row[0])


@pytest.fixture
def site(server: PostgresServer) -> Site:
    """One that no other test has."""
    site = Site(server, f"site{next(NUMBERS)}")
    server.create_database(site.name)
    server.create_role(site.name, PASSWORD)
    return site


@contextmanager
def droplet(environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The program that takes the lock, as one Droplet runs it."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-I", str(PROGRAM)]
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[bytes], seconds: float = SECONDS) -> str:
    """What a program says within this time; "" for nothing."""
    assert process.stdout
    ready = select.select([process.stdout], [], [], seconds)[0]
    return os.read(process.stdout.fileno(), 65536).decode() if ready else ""


def end_input(process: subprocess.Popen[bytes]) -> None:
    """What the agent does when it has migrated, or gives up."""
    assert process.stdin
    process.stdin.close()


def test_who_waits_holds_no_connection(site: Site) -> None:
    """A plan has few, and many Droplets may wait: each try has one of its own, which ends with it."""
    with droplet({"DATABASE_URL": site.url}) as first:
        assert said(first) == "locked\n"
        held = site.sessions()
        assert len(held) == 1
        before = site.counted_sessions()
        with droplet({"DATABASE_URL": site.url}) as second:
            until(site.counted_sessions, lambda count: count >= before + 2, SECONDS)
            until(site.sessions, lambda sessions: sessions == held, SECONDS)
            assert (said(second, 0), second.poll()) == ("", None)


@pytest.mark.parametrize("end", [end_input, subprocess.Popen.kill], ids=["its input ends", "it is killed"])
def test_the_lock_passes_on_when_the_first_ends(site: Site, end: Any) -> None:  # noqa: ANN401 - of any process
    """However it ends: the next one has it then, and not before."""
    with droplet({"DATABASE_URL": site.url}) as first:
        assert said(first) == "locked\n"
        with droplet({"DATABASE_URL": site.url}) as second:
            until(site.counted_sessions, lambda count: count >= 2, SECONDS)
            assert said(second, 0) == ""
            end(first)
            assert said(second) == "locked\n"
            assert first.wait(SECONDS) in {0, -9}
            until(site.sessions, lambda sessions: len(sessions) == 1, SECONDS)


def test_who_waits_can_be_told_to_stop(site: Site) -> None:
    """When the agent gives up, say; the first one goes on."""
    with droplet({"DATABASE_URL": site.url}) as first:
        assert said(first) == "locked\n"
        with droplet({"DATABASE_URL": site.url}) as second:
            until(site.counted_sessions, lambda count: count >= 2, SECONDS)
            end_input(second)
            assert (second.wait(SECONDS), said(second)) == (0, "")
        assert first.poll() is None
        assert len(site.sessions()) == 1


def test_without_a_database_there_is_no_lock() -> None:
    """The app has none, and nothing to migrate."""
    with droplet({}) as only:
        assert (said(only), only.wait(SECONDS)) == ("no lock\n", 0)


def popen(
    command: list[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    **options: Any,  # noqa: ANN401 - subprocess.Popen's
) -> subprocess.Popen[bytes]:
    """Start a program, as this user."""
    return subprocess.Popen(command, cwd=directory, env=environment, **options)


def test_who_has_the_lock_learns_what_a_migration_waits_for(site: Site, tmp_path: Path) -> None:
    """The table, and whose session keeps it; nothing is left when it is released."""
    with site.server.as_superuser(site.name) as operator:
        operator.execute("CREATE TABLE votes (id int)")
        operator.execute(sql.SQL("ALTER TABLE votes OWNER TO {}").format(sql.Identifier(site.name)))
        environment = {"DATABASE_URL": site.url}
        with migration_lock(popen, Path(sys.executable), tmp_path, environment, lambda: None) as lock:
            assert lock.last_wait() == ""
            with operator.transaction(), closing(psycopg.connect(site.url)) as migration:
                operator.execute("SET LOCAL application_name TO 'a report'")
                operator.execute("SELECT * FROM votes")
                migration.pgconn.send_query(b"ALTER TABLE votes ADD COLUMN choice text")
                wait = until(lock.last_wait, bool, SECONDS)
            pid = operator.info.backend_pid
            assert wait == f"AccessExclusiveLock on votes, which process {pid} of postgres (a report) keeps"
    until(site.sessions, lambda sessions: sessions == set(), SECONDS)
