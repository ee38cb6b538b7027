"""What runs on the benchmark's client, with a real PostgreSQL: refusals are counted, and nothing is left open."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from operations.benchmark import on_client
from tests.postgres_server import HOST, PostgresServer, postgres_server

SLOTS = 10


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One with few connections."""
    with postgres_server() as running:
        running.create_database("benchmark")
        with running.as_superuser() as operator:
            operator.execute("ALTER ROLE doadmin CREATEDB")
            operator.execute(f"ALTER ROLE doadmin CONNECTION LIMIT {SLOTS}")
        yield running


@pytest.fixture(autouse=True)
def service(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that the client has it from."""
    file = tmp_path / "services"
    file.write_text(
        f"[direct]\nhost={HOST}\nport={server.port}\ndbname=benchmark\nuser=doadmin\npassword={server.admin_password}\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(file))


def test_each_refusal_is_counted_with_the_servers_words() -> None:
    """As many connections as there are clients, all at once; afterwards they are gone."""
    found = on_client.connect("direct", SLOTS + 4)
    assert found["accepted"] == SLOTS
    assert ["FATAL:" in refusal for refusal in found["refusals"]] == [True] * 4
    assert on_client.quiet() == {}


def test_one_that_is_left_open_is_waited_for(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be missed by a direct client."""
    monkeypatch.setattr(on_client, "QUIET", 0.2)
    with server.as_role("doadmin", server.admin_password, "benchmark"), pytest.raises(SystemExit, match="has: 1 other"):
        on_client.quiet()


def test_a_checkpoint_needs_no_right_but_to_create_a_database(server: PostgresServer) -> None:
    """It is one: the log's place of the last checkpoint moves. What was created for it is gone."""

    def last() -> object:
        with server.as_superuser() as operator:
            return operator.execute("SELECT checkpoint_lsn FROM pg_control_checkpoint()").fetchone()

    before = last()
    on_client.checkpoint()
    assert last() != before
    with server.as_superuser() as operator:
        assert operator.execute("SELECT FROM pg_database WHERE datname = 'checkpoint'").fetchone() is None


def test_it_tells_what_figures_depend_on() -> None:
    """By the server's own names."""
    found = on_client.settings()
    assert found.keys() == set(on_client.SETTINGS)
    assert found["max_connections"].isdecimal()


def test_a_service_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not waited for without end."""
    monkeypatch.setattr(on_client, "QUIET", 0.2)
    with pytest.raises(SystemExit, match="service pool: must answer within 0 s"):
        on_client.answers("pool")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect("service=pool")
