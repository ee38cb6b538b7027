"""What the database's roles may do beyond their work, tried with their own passwords from the Droplet's place."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.machines.machine import Machine
from sandbox.network import namespaces
from sandbox.parts.databases import clusters
from tests.intruders.hunt import as_user

pytestmark = pytest.mark.full

# Runs each statement, undone unless PostgreSQL wants it outside of a transaction; prints SQL states, "" for success.
TRY = """
import json, psycopg, sys
url, statements = sys.argv[1], json.load(sys.stdin)
answers = {}
with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
    for statement in statements:
        if not statement.startswith(("CREATE DATABASE", "ALTER SYSTEM")):
            connection.execute("BEGIN")
        try:
            connection.execute(statement)
            answers[statement] = ""
        except psycopg.Error as error:
            answers[statement] = error.sqlstate
        connection.execute("ROLLBACK")
json.dump(answers, sys.stdout)
"""
DENIED = "42501"  # insufficient_privilege
ALLOWED = ""

# Nobody but doadmin, or nobody at all.
ADMINISTRATION = (
    "CREATE ROLE intruder",
    "CREATE DATABASE intruder",
    "CREATE SCHEMA intruder",
    "CREATE TEMPORARY TABLE intruder (id int)",
    "CREATE EXTENSION file_fdw",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER CREATEROLE",
    "ALTER ROLE doadmin PASSWORD 'intruder'",
    "SET ROLE doadmin",
    "SET SESSION AUTHORIZATION doadmin",
    "GRANT doadmin TO CURRENT_USER",
    "SELECT rolpassword FROM pg_authid",
    "SELECT passwd FROM pg_shadow",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('.')",
    "SELECT lo_import('/etc/passwd')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "ALTER SYSTEM SET log_statement = 'all'",
    "ALTER DATABASE app OWNER TO CURRENT_USER",
)
# The migrator's work.
DEFINITIONS = (
    "CREATE TABLE intruder (id int)",
    "ALTER TABLE polls_choice ADD COLUMN intruder int",
    "CREATE INDEX ON polls_choice (votes)",
    "TRUNCATE polls_choice",
    "DROP TABLE polls_choice",
    "ALTER TABLE polls_choice DISABLE TRIGGER USER",
    "ALTER TABLE polls_choice OWNER TO CURRENT_USER",
    "CREATE FUNCTION intruder() RETURNS int LANGUAGE sql AS 'SELECT 1'",
)
ROWS = (
    "SELECT * FROM polls_choice",
    "UPDATE polls_choice SET votes = votes",
    "DELETE FROM django_session",
)


def url_at(url: str, address: str, *, port: int | None = None, database: str | None = None) -> str:
    """Change a DATABASE_URL so that this machine's libpq can use it, for another port or database if given."""
    head, _, rest = url.partition("?")[0].rpartition(":")
    return f"{head}:{port or rest.split('/')[0]}/{database or rest.split('/')[1]}?sslmode=require&hostaddr={address}"


def attempt(web: Machine, url: str, *statements: str) -> dict[str, str]:
    """Try statements from the web Droplet's place in the network, by this machine's client."""
    argv = namespaces.in_namespace(namespaces.machine_namespace(web.name), [sys.executable, "-c", TRY, url])
    done = subprocess.run(argv, input=json.dumps(statements), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    answers: dict[str, str] = json.loads(done.stdout)
    return answers


@pytest.fixture(scope="module")
def app_url(environment: dict[str, Any], cluster: Machine) -> str:
    """The app's way: the pool."""
    return url_at(environment["env"]["DATABASE_URL"], cluster.hardware.private_ip)


@pytest.fixture(scope="module")
def migrator_url(environment: dict[str, Any], cluster: Machine) -> str:
    """The release step's way: PostgreSQL itself."""
    return url_at(environment["release_env"]["DATABASE_URL"], cluster.hardware.private_ip)


def test_app_has_rows_and_nothing_else(web: Machine, app_url: str) -> None:
    """Through the pool: no definition, no administration, nothing of the migrator's."""
    others = ("SET ROLE migrator", "ALTER ROLE migrator PASSWORD 'intruder'", "GRANT migrator TO CURRENT_USER")
    forbidden = (*ADMINISTRATION, *DEFINITIONS, *others)
    assert attempt(web, app_url, *forbidden, *ROWS) == {
        **dict.fromkeys(forbidden, DENIED),
        **dict.fromkeys(ROWS, ALLOWED),
    }


def test_app_is_no_more_past_the_pool(web: Machine, environment: dict[str, Any], cluster: Machine) -> None:
    """The same password at PostgreSQL's own port gives the same rights."""
    url = url_at(environment["env"]["DATABASE_URL"], cluster.hardware.private_ip, port=clusters.PORT, database="app")
    assert attempt(web, url, *DEFINITIONS) == dict.fromkeys(DEFINITIONS, DENIED)


def test_migrator_is_no_administrator(web: Machine, migrator_url: str) -> None:
    """It defines tables in its database, and that is all."""
    others = ("SET ROLE app", "ALTER ROLE app PASSWORD 'intruder'")
    forbidden = (*ADMINISTRATION, *others)
    assert attempt(web, migrator_url, *forbidden, *DEFINITIONS, *ROWS) == {
        **dict.fromkeys(forbidden, DENIED),
        **dict.fromkeys((*DEFINITIONS, *ROWS), ALLOWED),
    }


def operator(cluster: Machine, database: str, statement: str) -> str:
    """Run SQL as the operator of the cluster does, past every role."""
    psql = ["psql", "-At", "-p", str(clusters.PORT), "-U", "postgres", "-d", database, "-c", statement]
    return cluster.run([*as_user("postgres"), *psql]).stdout.strip()


@pytest.fixture
def others_data(cluster: Machine) -> Iterator[str]:
    """Another database of the same cluster, made as DigitalOcean makes one, with doadmin's data in it."""
    operator(cluster, "postgres", "CREATE DATABASE others OWNER doadmin")
    operator(cluster, "others", "SET ROLE doadmin; CREATE TABLE data AS SELECT 'secret' AS value")
    yield "others"
    operator(cluster, "postgres", "DROP DATABASE others (FORCE)")


def test_neither_role_reads_another_databases_data(
    web: Machine, environment: dict[str, Any], cluster: Machine, others_data: str
) -> None:
    """PostgreSQL lets every role into every new database; there is nothing that they may read or make there."""
    address = cluster.hardware.private_ip
    for part in ("env", "release_env"):
        url = url_at(environment[part]["DATABASE_URL"], address, port=clusters.PORT, database=others_data)
        tries = ("SELECT * FROM data", "CREATE TABLE intruder (id int)", "DROP TABLE data")
        assert attempt(web, url, *tries) == dict.fromkeys(tries, DENIED)
