"""A throw-away PostgreSQL with TLS and the roles as DigitalOcean makes them: doadmin is not a superuser."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.certificates import Authority

HOST = "127.0.0.1"
LISTENING_WITHIN = "30"  # seconds


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    """A running server: TLS on `port` of 127.0.0.1, its CA as PEM, a superuser on the socket in `directory`."""

    directory: Path
    port: int
    ca: str
    admin_password: str = "admin-secret"

    def admin_uri(self) -> str:
        """Return doadmin's URI, of the shape that the API answers."""
        return f"postgresql://doadmin:{self.admin_password}@{HOST}:{self.port}/defaultdb?sslmode=require"

    def as_superuser(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Connect as the operator of the cluster does."""
        return psycopg.connect(
            host=str(self.directory), port=self.port, user="postgres", dbname=database, autocommit=True
        )

    def as_role(self, role: str, password: str, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect as the app does."""
        return psycopg.connect(
            host=HOST, port=self.port, user=role, password=password, dbname=database, sslmode="require", autocommit=True
        )

    def create_role(self, name: str, password: str) -> None:
        """Make a role as the API does: by a superuser, so that doadmin does not administer it."""
        with self.as_superuser() as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(password))
            )

    def create_database(self, name: str) -> None:
        """Make a database as the API does: doadmin owns it."""
        with self.as_superuser() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER doadmin").format(sql.Identifier(name)))


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server until the end of the block."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not programs:
        raise FileNotFoundError("/usr/lib/postgresql/*/bin: must be there, found none; `apt-get install postgresql`")
    bin_directory = programs[-1]
    # The server refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    directory = Path(tempfile.mkdtemp(prefix="django-do-postgres-"))
    try:
        port = _free_port()
        authority = Authority("test CA")
        authority.issue(HOST, directory / "server")
        if user:
            for path in (directory, *directory.iterdir()):
                shutil.chown(path, user)
        data = directory / "data"
        _run(
            user, bin_directory / "initdb", "-D", data, "-U", "postgres", "--no-sync", "--locale=C.UTF-8", "-A", "trust"
        )
        (data / "pg_hba.conf").write_text("local all postgres trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.write(
                f"listen_addresses = '{HOST}'\nport = {port}\nunix_socket_directories = '{directory}'\n"
                f"ssl = on\nssl_cert_file = '{directory}/server.crt'\nssl_key_file = '{directory}/server.key'\n"
                "fsync = off\nautovacuum = off\nmax_connections = 25\n"
            )
        log = directory / "log"
        _run(user, bin_directory / "pg_ctl", "-D", data, "-l", log, "-w", "-t", LISTENING_WITHIN, "start")
        try:
            server = PostgresServer(directory=directory, port=port, ca=authority.pem)
            with server.as_superuser() as connection:
                connection.execute(
                    sql.SQL("CREATE ROLE doadmin LOGIN CREATEDB CREATEROLE PASSWORD {}").format(
                        sql.Literal(server.admin_password)
                    )
                )
            yield server
        finally:
            _run(user, bin_directory / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(directory)


def _run(user: str | None, *argv: str | Path) -> None:
    """Run a program of PostgreSQL as the user that may."""
    done = subprocess.run(
        [str(part) for part in argv],
        user=user,
        group=user,
        extra_groups=[] if user else None,
        cwd="/",
        stdin=subprocess.DEVNULL,
        # Not a pipe: the server keeps its standard output open, and reading would never end.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{argv[0]}: exit status {done.returncode}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
