"""Managed PostgreSQL: PostgreSQL and PgBouncer in a machine of their own, as DigitalOcean gives them to its users.

What is documented: ports 25060 (direct) and 25061 (pools), TLS only, 25 connections per GiB of which 3 are kept for the
operator. What is assumed: the exact rights of doadmin (see _BOOTSTRAP), that users are created by the operator and so
can't be altered by doadmin, and one certificate authority per cluster.
"""

import csv
import dataclasses
import json
import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from psycopg import sql

from sandbox.machines import images
from sandbox.machines.machine import Machine, MachineError
from sandbox.model.plans import RESERVED_CONNECTIONS
from sandbox.model.realiser import ClusterSpec, Endpoint, PoolSpec, RealiserError
from sandbox.network import namespaces
from sandbox.network.packet_filter import cluster_machine
from sandbox.world import certificates
from sandbox.world.supervisor import Supervisor
from sandbox.world.waiting import until
from sandbox.world.world import World

logger = logging.getLogger("sandbox.clusters")

PORT = 25060
POOL_PORT = 25061
_MAX_CLIENTS = 5000  # of all pools together; the documentation has "up to 1,000 client connections", per pool or in all
_BOOT_DEADLINE = 60.0  # seconds
_READY_DEADLINE = 60.0  # seconds for both ports to answer
_FOLDER = "etc/managed-postgres"  # in the machine

_SETTINGS = """\
listen_addresses = '*'
port = {port}
max_connections = {max_connections}
superuser_reserved_connections = {reserved}
ssl = on
ssl_cert_file = '{folder}/server.crt'
ssl_key_file = '{folder}/server.key'
ssl_min_protocol_version = 'TLSv1.2'
timezone = 'UTC'
"""

# The system user postgres may be anyone through the socket: that is the operator, and PgBouncer, which has checked the
# client's password itself and so needs to keep none.
_ACCESS = """\
local all all peer map=operator
hostssl all all 0.0.0.0/0 scram-sha-256
"""
_IDENTITIES = "operator postgres all\n"

# Passwords are looked up as the operator, who may use the reserved connections. PostgreSQL counts the operator's
# connections too, and a pool of all that are not reserved must find them free: so a look-up's connection is closed
# after a second (0 would mean the default), and a refused connection is tried again after one.
_POOLER = """\
[databases]
_auth = host=/var/run/postgresql port={port} dbname=postgres pool_size=2 server_lifetime=1
%include /etc/pgbouncer/pools.ini
[pgbouncer]
listen_addr = 0.0.0.0
listen_port = {pool_port}
unix_socket_dir = /var/run/postgresql
client_tls_sslmode = require
client_tls_cert_file = {folder}/server.crt
client_tls_key_file = {folder}/server.key
auth_type = scram-sha-256
auth_user = postgres
auth_dbname = _auth
auth_query = SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1 AND rolcanlogin AND NOT rolsuper
max_prepared_statements = 200
max_client_conn = {max_clients}
server_login_retry = 1
ignore_startup_parameters = extra_float_digits
logfile =
pidfile = /var/run/postgresql/pgbouncer.pid
"""
_POOLER_LIMITS = "[Service]\nLimitNOFILE=16384\n"

_BOOTSTRAP = """\
CREATE ROLE doadmin LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD {password};
GRANT pg_monitor, pg_read_all_data, pg_signal_backend, pg_maintain TO doadmin WITH ADMIN OPTION;
CREATE DATABASE defaultdb OWNER doadmin;
"""

# Runs as root in the machine, once; interrupted, it begins anew. Its argument is PostgreSQL's major version.
_SET_UP = f"""\
set -eu
version=$1
exec 3<&0 </dev/null  # standard input is the bootstrap script: doadmin's password is never on this disk
cd /{_FOLDER}
[ ! -e done ] || exit 0
pg_dropcluster --stop $version main 2>/dev/null || true
pg_createcluster $version main --port {PORT} --locale en_US.UTF-8 --encoding UTF8 >/dev/null
conf=/etc/postgresql/$version/main
install -o postgres -g postgres -m 0644 settings.conf $conf/managed.conf
echo "include 'managed.conf'" >> $conf/postgresql.conf
install -o postgres -g postgres -m 0640 pg_hba.conf pg_ident.conf $conf/
install -o postgres -g postgres -m 0600 server.crt server.key $conf/
install -o postgres -g postgres -m 0640 pgbouncer.ini /etc/pgbouncer/pgbouncer.ini
install -o postgres -g postgres -m 0640 /dev/null /etc/pgbouncer/pools.ini
install -D -m 0644 limits.conf /etc/systemd/system/pgbouncer.service.d/limits.conf
# By hand: `systemctl enable` takes 0.6 s, because both have a script of the old kind too.
ln -sf /usr/lib/systemd/system/postgresql.service /usr/lib/systemd/system/pgbouncer.service \\
  /etc/systemd/system/multi-user.target.wants/
systemctl daemon-reload  # makes postgresql@…-main, which belongs to postgresql.service from now on
# Not waited for: pg_ctlcluster comes back 2 s after the server is ready.
systemctl start --no-block postgresql@$version-main.service pgbouncer.service
tries=0
until pg_isready -q -p {PORT}; do tries=$((tries + 1)); [ $tries -lt 600 ]; sleep 0.05; done
runuser -u postgres -- psql -X -q -p {PORT} -v ON_ERROR_STOP=1 -f - <&3
touch done
rm -f server.key  # last: beginning anew needs it
"""


def versions(world: World) -> set[str]:
    """Major versions of PostgreSQL of the clusters that a world has."""
    return {json.loads(path.read_text())["version"] for path in (world.home / "clusters").glob("*/spec.json")}


class Clusters:
    """All database clusters of a world. Methods block; they are called from several threads."""

    def __init__(self, world: World, supervisor: Supervisor) -> None:
        self._world = world
        self._supervisor = supervisor

    def start(self, clusters: list[ClusterSpec]) -> None:
        """Bring up again the clusters that exist, side by side."""
        with ThreadPoolExecutor(max_workers=max(1, len(clusters))) as threads:
            list(threads.map(self.create_cluster, clusters))

    def create_cluster(self, spec: ClusterSpec) -> None:
        """Create and start a cluster; return when both ports accept connections. What is done already is kept.

        The first one of a version that `sandbox up` has built no image for takes the minutes that building it takes.
        """
        if spec.version not in images.POSTGRES:
            raise RealiserError(
                f'database.version: must be one of {", ".join(images.POSTGRES)} at depth "full", got "{spec.version}"'
            )
        images.ensure(images.POSTGRES[spec.version], logger.info, namespaces.outside(self._supervisor.pid()))
        self._keep(spec)
        machine = self._machine_of(spec)
        try:
            machine.create(self._files(spec), modes={f"{_FOLDER}/server.key": 0o600})
            machine.start()
            machine.wait_booted(_BOOT_DEADLINE)
            machine.run(["bash", f"/{_FOLDER}/set-up.sh", spec.version], input=_bootstrap(spec), timeout=120)
            self._wait_ready(machine)
        except MachineError as error:
            raise RealiserError(f"database cluster {spec.name}: {error}") from error

    def resize_cluster(self, spec: ClusterSpec) -> None:
        """Restart a cluster with another plan's limits; connections are lost, data is kept."""
        machine = self._machine(spec.id)
        machine.run(["tee", f"{_configuration(spec)}/managed.conf"], input=_settings(spec))
        machine.power_off()
        self._keep(spec)
        machine = self._machine_of(spec)
        machine.start()
        machine.wait_booted(_BOOT_DEADLINE)
        self._wait_ready(machine)

    def destroy_cluster(self, cluster_id: str) -> None:
        """Remove a cluster and its data; one that doesn't exist is not an error."""
        path = self._spec_file(cluster_id)
        if not path.exists():
            return
        self._machine(cluster_id).destroy()
        for file in sorted(path.parent.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        path.parent.rmdir()

    def endpoint(self, spec: ClusterSpec) -> Endpoint:
        """Host names and ports of a cluster."""
        return Endpoint(host=spec.host, private_host=spec.private_host, port=PORT, pool_port=POOL_PORT)

    def cluster_ca(self, cluster_id: str) -> str:
        """Return the PEM certificate that signs the cluster's own."""
        authority = self._authority(cluster_id)
        certificates.ensure_ca(authority)
        return (authority.ca / "ca.crt").read_text()

    def create_database(self, cluster_id: str, name: str) -> None:
        """Create a database owned by doadmin, unless it exists."""
        # CREATE DATABASE has no IF NOT EXISTS and must stand alone, so psql runs what a query answers.
        statement = sql.SQL(
            "SELECT format('CREATE DATABASE %I OWNER doadmin', {name}) "
            "WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = {name})"
        ).format(name=sql.Literal(name))
        self._sql(cluster_id, statement.as_string() + "\\gexec\n")

    def drop_database(self, cluster_id: str, name: str) -> None:
        """Drop a database, ending its connections."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE);").format(sql.Identifier(name))
        self._sql(cluster_id, statement.as_string())

    def create_user(self, cluster_id: str, name: str, password: str) -> None:
        """Create a login role without privileges, or give an existing one this password."""
        exists = sql.SQL("SELECT format({create}, {name}, {password}) {where} EXISTS ({role})\\gexec\n")
        role = sql.SQL("SELECT FROM pg_roles WHERE rolname = {}").format(sql.Literal(name))
        statements = [
            exists.format(
                create=sql.Literal(f"{verb} ROLE %I LOGIN PASSWORD %L"),
                name=sql.Literal(name),
                password=sql.Literal(password),
                where=sql.SQL(where),
                role=role,
            )
            # The existing one first: made the other way round, both would happen to a new role.
            for verb, where in (("ALTER", "WHERE"), ("CREATE", "WHERE NOT"))
        ]
        self._sql(cluster_id, "".join(statement.as_string() for statement in statements))

    def drop_user(self, cluster_id: str, name: str) -> None:
        """Drop a role; raises RealiserError with PostgreSQL's text when it owns objects."""
        self._sql(cluster_id, sql.SQL("DROP ROLE IF EXISTS {};").format(sql.Identifier(name)).as_string())

    def put_pools(self, cluster_id: str, pools: list[PoolSpec]) -> None:
        """Make the cluster's pools equal to this list; unchanged ones keep their connections."""
        machine = self._machine(cluster_id)
        # Written beside and moved, so that a restart of PgBouncer never meets half a file.
        script = (
            "set -e; file=/etc/pgbouncer/pools.ini; cat > $file.new; chown postgres:postgres $file.new; "
            "chmod 0640 $file.new; mv $file.new $file"
        )
        machine.run(["sh", "-c", script], input="".join(_pool_line(pool) for pool in pools))
        # RELOAD answers at once and says nothing of a file that it could not read.
        self._pooler(machine, "RELOAD")
        present = {row["name"] for row in self.show(cluster_id, "DATABASES")} - {"_auth", "pgbouncer"}
        if present != {pool.name for pool in pools}:
            journal = machine.run(["journalctl", "-q", "-u", "pgbouncer", "-n", "5", "--no-pager"]).stdout
            raise RealiserError(f"database cluster {cluster_id}: PgBouncer has pools {sorted(present)}:\n{journal}")

    def show(self, cluster_id: str, what: str) -> list[dict[str, str]]:
        """Answer PgBouncer's SHOW, for example "POOLS", one dictionary per row."""
        text = self._pooler(self._machine(cluster_id), f"SHOW {what}")
        return list(csv.DictReader(text.splitlines()))

    def machine(self, cluster_id: str) -> Machine:
        """Return the machine that a cluster runs in."""
        return self._machine(cluster_id)

    def _files(self, spec: ClusterSpec) -> dict[str, bytes | str]:
        certificate, key = certificates.issue(
            self._authority(spec.id), [spec.host, spec.private_host], self._folder(spec.id) / "server"
        )
        files = {
            "settings.conf": _settings(spec),
            "pg_hba.conf": _ACCESS,
            "pg_ident.conf": _IDENTITIES,
            "pgbouncer.ini": _POOLER.format(
                port=PORT, pool_port=POOL_PORT, max_clients=_MAX_CLIENTS, folder=_configuration(spec)
            ),
            "limits.conf": _POOLER_LIMITS,
            "set-up.sh": _SET_UP,
            "server.crt": certificate.read_text(),
            "server.key": key.read_text(),
        }
        return {f"{_FOLDER}/{name}": content for name, content in files.items()}

    def _sql(self, cluster_id: str, statements: str) -> None:
        """Run statements as the operator. They come by standard input: passwords must not be in a process list."""
        command = ["runuser", "-u", "postgres", "--", "psql", "-X", "-q", "-p", str(PORT), "-v", "ON_ERROR_STOP=1"]
        done = self._machine(cluster_id).run([*command, "-d", "postgres", "-f", "-"], input=statements, check=False)
        if done.returncode:
            raise RealiserError(f"database cluster {cluster_id}: {done.stderr.strip()}")

    def _pooler(self, machine: Machine, statement: str) -> str:
        # A login by the socket as the system user that PgBouncer runs as needs no password (docs: admin console).
        console = ["psql", "-X", "-q", "--csv", "-h", "/var/run/postgresql", "-p", str(POOL_PORT), "-U", "pgbouncer"]
        done = machine.run(
            ["runuser", "-u", "postgres", "--", *console, "-d", "pgbouncer", "-c", statement], check=False
        )
        if done.returncode:
            raise RealiserError(f"{machine.name}: PgBouncer refused {statement}: {done.stderr.strip()}")
        return done.stdout

    def _wait_ready(self, machine: Machine) -> None:
        def missing() -> str | None:
            for port in (PORT, POOL_PORT):
                asked = machine.run(["pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False)
                if asked.returncode:
                    return f"port {port} does not answer"
            return None

        def failure(last: str) -> RealiserError:
            units = machine.run(["systemctl", "status", "postgresql@*", "pgbouncer"], check=False).stdout
            return RealiserError(f"machine {machine.name}: {last}:\n{units}")

        until(missing, _READY_DEADLINE, failure)

    def _machine(self, cluster_id: str) -> Machine:
        path = self._spec_file(cluster_id)
        if not path.exists():
            raise RealiserError(f"database cluster {cluster_id}: not in this world")
        return self._machine_of(ClusterSpec(**json.loads(path.read_text())))

    def _machine_of(self, spec: ClusterSpec) -> Machine:
        return Machine(
            self._world,
            cluster_machine(spec.id),
            image=images.path_of(images.POSTGRES[spec.version]),
            public_ip=spec.public_ip,
            private_ip=spec.private_ip,
            vpc_range=spec.vpc_range,
            memory_mib=spec.memory_mib,
            vcpus=spec.vcpus,
        )

    def _keep(self, spec: ClusterSpec) -> None:
        """Remember a specification, so that a cluster is found by its id alone."""
        self._folder(spec.id).mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._spec_file(spec.id)
        part = path.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(dataclasses.asdict(spec), file, indent=1)
        part.rename(path)

    def _authority(self, cluster_id: str) -> World:
        """Return a world whose authority is this cluster's: certificates.py keeps an authority in a world's folder."""
        return dataclasses.replace(self._world, home=self._folder(cluster_id))

    def _spec_file(self, cluster_id: str) -> Path:
        return self._folder(cluster_id) / "spec.json"

    def _folder(self, cluster_id: str) -> Path:
        return self._world.home / "clusters" / cluster_id


def _configuration(spec: ClusterSpec) -> str:
    """Folder in the machine where Debian keeps a cluster's configuration."""
    return f"/etc/postgresql/{spec.version}/main"


def _settings(spec: ClusterSpec) -> str:
    return _SETTINGS.format(
        port=PORT,
        max_connections=spec.max_connections,
        reserved=RESERVED_CONNECTIONS,
        folder=_configuration(spec),
    )


def _bootstrap(spec: ClusterSpec) -> str:
    script = sql.SQL(_BOOTSTRAP).format(password=sql.Literal(spec.password))
    return script.as_string()


def _pool_line(pool: PoolSpec) -> str:
    """Write a pool as PgBouncer's configuration has it; a fixed user's pool is shared by all who connect to it."""
    # A name can't be quoted here, whatever PgBouncer's manual says: 1.24 answers "syntax error".
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", pool.name):
        raise RealiserError(f'pool.name: PgBouncer takes letters, digits, "_", "." and "-", got "{pool.name}"')
    user = f" user='{_quoted(pool.user)}'" if pool.user else ""
    place = f"host=/var/run/postgresql port={PORT} dbname='{_quoted(pool.database)}'"
    return f"{pool.name} = {place}{user} pool_mode={pool.mode} pool_size={pool.size}\n"


def _quoted(value: str) -> str:
    return value.replace("'", "''")
