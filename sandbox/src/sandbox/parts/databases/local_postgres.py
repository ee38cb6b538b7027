"""Database clusters at depth `api`: one unprivileged PostgreSQL server of this machine per cluster."""

import os
import pwd
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from sandbox.model.plans import ADVANCED, RESERVED_CONNECTIONS
from sandbox.model.realiser import ClusterSpec, RealiserError
from sandbox.parts.databases import advanced
from sandbox.world import certificates, ports
from sandbox.world.supervisor import Program, Supervisor
from sandbox.world.waiting import until
from sandbox.world.world import World

_DEADLINE = 30.0  # seconds until a server that was started must answer
_SUPERUSER = "postgres"
_ADMIN = "doadmin"
_DATABASE = "defaultdb"
# As a managed cluster's doadmin, see clusters.py; roles that this PostgreSQL doesn't have yet are left out.
_ADMIN_ROLES = ("pg_monitor", "pg_read_all_data", "pg_signal_backend", "pg_maintain")
_SETTINGS = """
listen_addresses = 'localhost'
unix_socket_directories = ''
port = {port}
max_connections = {max_connections}
superuser_reserved_connections = {reserved}
shared_buffers = 16MB
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
password_encryption = 'scram-sha-256'
fsync = off                    # a throw-away world: only a crash of the whole machine would notice
"""
_HBA = "hostssl all all all scram-sha-256\n"
_TEMPLATE = threading.Lock()  # of those who would make it at the same time
# A server that root starts runs as an unprivileged user, who can't walk to a world below /root. So it gets a mount
# namespace of its own in which its folder is /mnt.
_DROP = (
    'mount --bind "$1" /mnt && cd / && shift && user="$1" && shift '
    '&& exec setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups -- "$@"'
)


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs: that of PATH, else the newest of Debian's."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    folders = [folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if (folder / "postgres").exists()]
    if not folders:
        raise RealiserError("postgres: not on PATH nor in /usr/lib/postgresql; install PostgreSQL (apt: postgresql)")
    return max(folders, key=lambda folder: int(folder.parent.name))


class LocalPostgres:
    """The servers of a world, by cluster id."""

    def __init__(self, world: World, supervisor: Supervisor) -> None:
        self._world = world
        self._supervisor = supervisor
        self._ca = world.ca / "ca.crt"

    def port(self, cluster_id: str) -> int:
        """Return the loopback port of a cluster, direct and pool alike: there is no pooler at this depth."""
        return ports.reserve(self._world, self._name(cluster_id))

    def create(self, spec: ClusterSpec) -> None:
        """Initialise the server once, start it and make what a managed cluster has from the beginning."""
        self._initialise(spec)
        self._start(spec.id)
        if spec.engine == ADVANCED:
            self._make_advanced(spec.id)
        with self._session(spec.id) as session:
            self._admin(session, spec.password)
            known = session.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_DATABASE,)).fetchone()
            if not known:
                session.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(_DATABASE), sql.Identifier(_ADMIN))
                )

    def resize(self, spec: ClusterSpec) -> None:
        """Restart the server with another plan's connections."""
        self._configure(spec)
        self._supervisor.restart(self._name(spec.id))
        self._wait(spec.id)

    def start(self, spec: ClusterSpec) -> None:
        """Start a server that exists, after the world was down."""
        self._start(spec.id)

    def destroy(self, cluster_id: str) -> None:
        """End the server and remove its data."""
        self._supervisor.remove(self._name(cluster_id))
        folder = self._folder(cluster_id)
        if folder.exists():
            shutil.rmtree(folder)
        ports.release(self._world, self._name(cluster_id))

    def create_database(self, cluster_id: str, name: str) -> None:
        """Create a database that belongs to doadmin."""
        with self._session(cluster_id) as session:
            known = session.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if not known:
                session.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(_ADMIN))
                )

    def drop_database(self, cluster_id: str, name: str) -> None:
        """Drop a database, ending its connections."""
        with self._session(cluster_id) as session:
            session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def create_user(self, cluster_id: str, name: str, password: str) -> None:
        """Create a role that can log in, as the operator: who creates a role may alter it (PostgreSQL 16)."""
        with self._session(cluster_id) as session:
            known = session.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
            session.execute(
                sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
                    sql.SQL("ALTER" if known else "CREATE"), sql.Identifier(name), sql.Literal(password)
                )
            )

    def drop_user(self, cluster_id: str, name: str) -> None:
        """Drop a role that owns nothing."""
        with self._session(cluster_id) as session:
            session.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))

    def _name(self, cluster_id: str) -> str:
        return f"postgres-{cluster_id[:8]}"

    def _folder(self, cluster_id: str) -> Path:
        return self._world.home / "clusters" / cluster_id

    def _initialise(self, spec: ClusterSpec) -> None:
        folder = self._folder(spec.id)
        if (folder / "initialised").exists():
            return
        if folder.exists():  # half made by a process that was killed
            shutil.rmtree(folder)
        folder.mkdir(parents=True, mode=0o700)
        template = self._template()
        for name in ("superuser.password", "data"):
            subprocess.run(["cp", "-a", str(template / name), str(folder / name)], check=True)
        self._give(folder)
        self._configure(spec)
        (folder / "initialised").touch()

    def _template(self) -> Path:
        """Return the folder that the world's servers begin as copies of: initdb takes ten times as long."""
        template = self._world.home / "clusters" / "template"
        with _TEMPLATE:
            if not (template / "initialised").exists():
                if template.exists():  # half made by a process that was killed
                    shutil.rmtree(template)
                template.mkdir(parents=True, mode=0o700)
                self._initdb(template)
                (template / "initialised").touch()
        return template

    def _initdb(self, folder: Path) -> None:
        password = folder / "superuser.password"
        password.write_text(secrets.token_urlsafe(24))
        password.chmod(0o600)
        self._give(folder)
        self._give(password)
        home = _home(folder)
        command = [
            str(binaries() / "initdb"),
            f"--pgdata={home}/data",
            f"--username={_SUPERUSER}",
            f"--pwfile={home}/superuser.password",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--wal-segsize=1",  # MiB: a cluster is a copy of the first one's files, most of which would be an empty log
            "--no-sync",
            "--no-instructions",
        ]
        done = subprocess.run(_unprivileged(folder, command), check=False, capture_output=True, text=True, cwd="/")
        if done.returncode:
            raise RealiserError(f"initdb failed: {(done.stderr or done.stdout).strip()[-500:]}")

    def _configure(self, spec: ClusterSpec) -> None:
        folder = self._folder(spec.id)
        data = folder / "data"
        crt, key = certificates.issue(self._world, ["localhost"], self._world.ca / "localhost")
        for source, name, mode in ((crt, "server.crt", 0o644), (key, "server.key", 0o600)):
            (data / name).write_bytes(source.read_bytes())
            (data / name).chmod(mode)
            self._give(data / name)
        settings = _SETTINGS.format(
            port=self.port(spec.id), max_connections=spec.max_connections, reserved=RESERVED_CONNECTIONS
        )
        (data / "sandbox.conf").write_text(settings)
        (data / "pg_hba.conf").write_text(_HBA)
        main = data / "postgresql.conf"
        include = "include 'sandbox.conf'\n"
        if include not in main.read_text():
            with main.open("a") as file:
                file.write(include)

    def _start(self, cluster_id: str) -> None:
        folder = self._folder(cluster_id)
        command = [str(binaries() / "postgres"), "-D", f"{_home(folder)}/data"]
        self._supervisor.put(
            Program(
                name=self._name(cluster_id),
                command=_unprivileged(folder, command),
                directory=Path("/"),
                stop_wait=3,  # SIGTERM waits for clients to leave; then they are cut off
                priority=100,
            )
        )
        self._wait(cluster_id)

    def _wait(self, cluster_id: str) -> None:
        def missing() -> str | None:
            try:
                with self._session(cluster_id):
                    return None
            except RealiserError as error:
                return str(error)

        log = self._world.logs / f"{self._name(cluster_id)}.log"
        until(missing, _DEADLINE, lambda last: RealiserError(f"PostgreSQL does not answer: {last}; see {log}"))

    @contextmanager
    def _session(self, cluster_id: str, database: str = "postgres") -> Iterator[psycopg.Connection]:
        try:
            with psycopg.connect(
                host="localhost",
                port=self.port(cluster_id),
                user=_SUPERUSER,
                password=(self._folder(cluster_id) / "superuser.password").read_text(),
                dbname=database,
                sslmode="verify-full",
                sslrootcert=str(self._ca),
                connect_timeout=5,
                autocommit=True,
            ) as connection:
                yield connection
        except psycopg.Error as error:
            raise RealiserError(f"PostgreSQL: {error}".strip()) from error

    def _make_advanced(self, cluster_id: str) -> None:
        """Give every database that will be made the extensions of an Advanced cluster, and no way to others."""
        with self._session(cluster_id, "template1") as session:
            known = session.execute("SELECT 1 FROM pg_event_trigger WHERE evtname = 'sandbox_no_extensions'").fetchone()
            if known:
                return
            available = {name for (name,) in session.execute("SELECT name FROM pg_available_extensions").fetchall()}
            for name in advanced.EXTENSIONS:
                if name in available:
                    session.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name)))
            session.execute(advanced.NO_OTHERS)

    def _admin(self, session: psycopg.Connection, password: str) -> None:
        known = {name for (name,) in session.execute("SELECT rolname FROM pg_roles").fetchall()}
        session.execute(
            sql.SQL("{} ROLE {} LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD {}").format(
                sql.SQL("ALTER" if _ADMIN in known else "CREATE"), sql.Identifier(_ADMIN), sql.Literal(password)
            )
        )
        for role in _ADMIN_ROLES:
            if role in known:
                session.execute(
                    sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(sql.Identifier(role), sql.Identifier(_ADMIN))
                )

    def _give(self, path: Path) -> None:
        if os.geteuid() == 0:
            user = pwd.getpwnam(_user())
            os.chown(path, user.pw_uid, user.pw_gid)


def _user() -> str:
    """Return the account that servers run as when root starts them: PostgreSQL refuses to run as root."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _home(folder: Path) -> str:
    return "/mnt" if os.geteuid() == 0 else str(folder)


def _unprivileged(folder: Path, command: list[str]) -> list[str]:
    if os.geteuid() != 0:
        return command
    shell = ["sh", "-c", _DROP, "sh", str(folder), _user(), *command]
    return ["unshare", "--mount", "--propagation", "private", "--", *shell]
