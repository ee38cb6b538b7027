"""The SQL of the grants, and the connections that it is run on.

PostgreSQL 15 and later let nobody create tables in schema public but the database's owner (doadmin). DigitalOcean's
roles are made by a superuser, so doadmin does not administer them: it grants what it owns, and each role sets its
own settings and default privileges.

https://www.postgresql.org/docs/15/ddl-schemas.html#DDL-SCHEMAS-PATTERNS

That DigitalOcean's own PgBouncer and monitoring do without PUBLIC's right to connect is assumed, not documented.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg import conninfo, sql

from provider import trust
from provider.actions import ActionError, pause, report

# A new cluster's name may take a minute to be known everywhere; a closed firewall is reported in the same time.
CONNECT_SECONDS = 90.0
TRY_SECONDS = 10
RETRY_SECONDS = 2.0

FIREWALL = (
    "the database answers trusted sources only: add this machine's public address to database.trustedSources, "
    "`pulumi up --target` the firewall, run `pulumi up`, and take the address out again"
)
# What libpq says of problems that time does not fix, and of those that it may: a role or a name can be seconds old.
CERTIFICATE_FIXES = {
    "certificate verify failed": (
        "`pulumi refresh` reads the cluster's CA again; something may also sit in between; in the edition advanced "
        "SSL_CERT_FILE, where it is set, must have the public authorities"
    ),
    "does not match host name": "host must be the cluster's own name, as its certificate has it",
}
FIXES = CERTIFICATE_FIXES | {
    "password authentication failed": "`pulumi refresh` reads the passwords again",
    "does not exist": "it was removed by hand: `pulumi refresh`, then `pulumi up`, makes it again",
    "translate host name": "check this machine's DNS",
    "resolve host": "check this machine's DNS",
}


class Login(NamedTuple):
    """Where and as whom to connect."""

    host: str
    port: int
    database: str
    user: str
    password: str

    def __repr__(self) -> str:
        """Show everything but the password."""
        return f"{self.user}@{self.host}:{self.port}/{self.database}"


def grant(props: dict[str, Any]) -> None:
    """Connect as doadmin, as the migrator and as the app, each for what only it may do."""
    database, migrator, app = props["database"], props["migrator"], props["app"]
    place = (props["host"], int(props["port"]), database)
    logins = {
        "admin": Login(*place, *_credentials(props["admin_uri"])),
        "migrator": Login(*place, migrator, props["migrator_password"]),
        "app": Login(*place, app, props["app_password"]),
    }
    with authorities(props["ca"]) as ca:
        with connected(logins["admin"], ca) as connection:
            grant_as_admin(connection, database, migrator, app, props["extensions"])
        with connected(logins["migrator"], ca) as connection:
            grant_as_migrator(connection, app)
            set_own_settings(connection, database, props["migrator_settings"])
        with connected(logins["app"], ca) as connection:
            set_own_settings(connection, database, props["app_settings"])
            verify(connection, migrator, app)


@contextmanager
def authorities(ca: str) -> Iterator[str]:
    """Give a file with the certificate authorities to trust: the cluster's own, or this machine's."""
    if not ca:
        # Not libpq's "system": the OpenSSL in psycopg's wheels looks for it where most machines have none.
        yield trust.authorities()
        return
    with tempfile.NamedTemporaryFile("w", suffix=".crt", encoding="ascii") as file:
        file.write(ca)
        file.flush()
        yield file.name


def grant_as_admin(
    connection: psycopg.Connection, database: str, migrator: str, app: str, extensions: Sequence[str]
) -> None:
    """Close the database to everybody, open it to the two roles, and let the migrator create tables."""
    names = {
        "database": sql.Identifier(database),
        "migrator": sql.Identifier(migrator),
        "app": sql.Identifier(app),
    }
    # Asked first and not left to IF NOT EXISTS: Advanced has its extensions, and no CREATE EXTENSION.
    existing = {name for (name,) in connection.execute("SELECT extname FROM pg_extension").fetchall()}
    for extension in extensions:
        if extension not in existing:
            connection.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(extension)))
    statements: tuple[LiteralString, ...] = (
        "REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC",
        # Gone since PostgreSQL 15, but a cluster that was upgraded from an older one still has it.
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "GRANT CONNECT ON DATABASE {database} TO {migrator}, {app}",
        "GRANT USAGE, CREATE ON SCHEMA public TO {migrator}",
        "GRANT USAGE ON SCHEMA public TO {app}",
        # Nobody but a person gave it that.
        "REVOKE CREATE ON SCHEMA public FROM {app}",
    )
    for statement in statements:
        connection.execute(sql.SQL(statement).format(**names))


def grant_as_migrator(connection: psycopg.Connection, app: str) -> None:
    """Give the app the rows, not the definitions, of every table and sequence that the migrator has or will have."""
    rights: dict[LiteralString, tuple[LiteralString, str]] = {
        "TABLES": ("SELECT, INSERT, UPDATE, DELETE", "rpvm"),
        "SEQUENCES": ("USAGE, SELECT", "S"),
    }
    for kind, (privileges, relkinds) in rights.items():
        connection.execute(
            sql.SQL("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {} ON {} TO {}").format(
                sql.SQL(privileges), sql.SQL(kind), sql.Identifier(app)
            )
        )
        # Default privileges are for what is created from now on; a replaced app role needs the rest, too. Not
        # ON ALL TABLES: an extension's tables belong to doadmin, and one table of another owner fails the statement.
        owned = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND pg_get_userbyid(relowner) = "
            "current_user AND relkind = ANY (%s) ORDER BY relname",
            [list(relkinds)],
        ).fetchall()
        for (name,) in owned:
            connection.execute(
                sql.SQL("GRANT {} ON {} {} TO {}").format(
                    sql.SQL(privileges),
                    sql.SQL("SEQUENCE" if kind == "SEQUENCES" else "TABLE"),
                    sql.Identifier("public", name),
                    sql.Identifier(app),
                )
            )


def set_own_settings(connection: psycopg.Connection, database: str, settings: Mapping[str, str]) -> None:
    """Make these the settings of the connected role in this database, and no others: where a pooler can't lose them."""
    here = sql.SQL("ALTER ROLE CURRENT_USER IN DATABASE {} ").format(sql.Identifier(database))
    connection.execute(here + sql.SQL("RESET ALL"))
    for name, value in sorted(settings.items()):
        connection.execute(here + sql.SQL("SET {} TO {}").format(sql.Identifier(*name.split(".")), sql.Literal(value)))


def verify(connection: psycopg.Connection, migrator: str, app: str) -> None:
    """Make sure of the outcome: PostgreSQL answers a GRANT that it could not do with a warning."""
    wanted = {
        f"{migrator} may create tables": (True, "has_schema_privilege(%(migrator)s, 'public', 'CREATE')"),
        f"{migrator} may connect": (True, "has_database_privilege(%(migrator)s, current_database(), 'CONNECT')"),
        f"{app} may use the schema": (True, "has_schema_privilege(%(app)s, 'public', 'USAGE')"),
        f"{app} may create tables": (False, "has_schema_privilege(%(app)s, 'public', 'CREATE')"),
        "others may connect": (False, "has_database_privilege('public', current_database(), 'CONNECT')"),
    }
    names = {"migrator": migrator, "app": app}
    questions: list[LiteralString] = [question for _, question in wanted.values()]
    found = connection.execute(sql.SQL("SELECT " + ", ".join(questions)), names).fetchone() or ()
    wrong = [
        f"{claim}: must be {str(expected).lower()}, is {str(actual).lower()}"
        for (claim, (expected, _)), actual in zip(wanted.items(), found, strict=True)
        if expected != actual
    ]
    if wrong:
        raise ActionError(
            f"database_grants: {'; '.join(wrong)}; the database must be owned by the user of the cluster's URI, doadmin"
        )


@contextmanager
def connected(login: Login, ca: str) -> Iterator[psycopg.Connection]:
    """Connect with a verified certificate, run one transaction, and explain what goes wrong without the password."""
    connection = connect(login, ca)
    try:
        with connection:
            # The roles' timeouts from the last time are not meant for this.
            connection.execute("SET LOCAL statement_timeout = 0")
            yield connection
    except psycopg.Error as error:
        raise ActionError(
            f"database_grants: {login!r} could not run a statement, {str(error).strip()}; see docs/runbook.md"
        ) from None


def connect(login: Login, ca: str) -> psycopg.Connection:
    """Connect, trying again for a bounded time."""
    end = time.monotonic() + CONNECT_SECONDS
    while True:
        report(f"connecting as {login!r}")
        try:
            return psycopg.connect(
                host=login.host,
                port=login.port,
                dbname=login.database,
                user=login.user,
                password=login.password,
                sslmode="verify-full",
                sslrootcert=ca,
                connect_timeout=TRY_SECONDS,
                application_name="django-do grants",
            )
        except psycopg.OperationalError as error:
            text = " ".join(str(error).replace(login.password, "…").split())
        if time.monotonic() >= end or any(known in text for known in CERTIFICATE_FIXES):
            fix = next((fix for known, fix in FIXES.items() if known in text), FIREWALL)
            raise ActionError(f"database_grants: {login!r} could not connect, {text}; {fix}")
        pause(RETRY_SECONDS)


def _credentials(uri: str) -> tuple[str, str]:
    """Take user and password out of the cluster's URI; the rest of it is for psql users, we verify more."""
    try:
        parts = conninfo.conninfo_to_dict(uri)
    except psycopg.ProgrammingError:
        parts = {}
    user, password = parts.get("user"), parts.get("password")
    if not user or not password:
        raise ActionError(
            "database_grants.admin_uri: must be the cluster's postgres:// URI with user and password, it is not; "
            "a custom API token needs the scope database:view_credentials to see the password"
        )
    return str(user), str(password)
