"""One node of a managed PostgreSQL cluster: PostgreSQL and PgBouncer in a machine of their own.

What is documented: ports 25060 (direct) and 25061 (pools), TLS only, 25 connections per GiB of which 3 are kept for the
operator. What is assumed: the exact rights of doadmin (see _BOOTSTRAP), that users are created by the operator and so
can't be altered by doadmin, and one certificate authority per cluster (on Advanced, none: advanced.py).
"""

import csv
import dataclasses
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from psycopg import sql

from sandbox.machines import images
from sandbox.machines.machine import Machine
from sandbox.model.plans import ADVANCED, RESERVED_CONNECTIONS
from sandbox.model.realiser import ClusterSpec, PoolSpec, RealiserError
from sandbox.model.topology import standby_name
from sandbox.network.packet_filter import cluster_machine
from sandbox.parts.databases import advanced
from sandbox.world import certificates
from sandbox.world.waiting import until
from sandbox.world.world import World

PORT = 25060
POOL_PORT = 25061
_MAX_CLIENTS = 5000  # of all pools together; the documentation has "up to 1,000 client connections", per pool or in all
_BOOT_DEADLINE = 60.0  # seconds
_SET_UP_DEADLINE = 120.0  # seconds
_READY_DEADLINE = 60.0  # seconds for both ports to answer
_FOLDER = "etc/managed-postgres"  # in the machine
REPLICATOR = "replicator"  # whom standby nodes log in as
_PASSWORDS = "/var/lib/postgresql/.pgpass"
_POOLS = "/etc/pgbouncer/pools.ini"

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
# Of clusters with standby nodes. Replication is asynchronous: synchronous_standby_names stays empty. A standby finds
# its primary by the name that clients use, so it follows when that leads to another node. The primary itself ignores
# primary_conninfo, and each node may become one: the settings of all are the same but for their names.
_REPLICATION = """\
wal_keep_size = '256MB'
primary_conninfo = '{connection} application_name=node{number}'
"""
_CONNECTION = (
    f"host={{host}} port={PORT} user={REPLICATOR} passfile={_PASSWORDS} sslmode=verify-full"
    f" sslrootcert=/{_FOLDER}/ca.crt connect_timeout=5"
)

# The system user postgres may be anyone through the socket: that is the operator, and PgBouncer, which has checked the
# client's password itself and so needs to keep none.
_ACCESS = """\
local all all peer map=operator
hostssl all all 0.0.0.0/0 scram-sha-256
hostssl replication replicator 0.0.0.0/0 scram-sha-256
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

_OF_ADVANCED = """\
\\connect template1
SELECT format('CREATE EXTENSION IF NOT EXISTS %I', name) FROM pg_available_extensions WHERE name IN ({names})\\gexec
{no_others}
\\connect postgres
"""

# Runs as root in the machine, once; interrupted, it begins anew. Its arguments are PostgreSQL's major version and, for
# a standby, how to connect to the primary, whose files it copies in place of those that pg_createcluster makes.
_SET_UP = f"""\
set -eu
version=$1 primary=${{2-}} data=/var/lib/postgresql/$1/main
exec 3<&0 </dev/null  # standard input is the bootstrap script: doadmin's password is never on this disk
cd /{_FOLDER}
[ ! -e done ] || exit 0
pg_dropcluster --stop $version main 2>/dev/null || true
pg_createcluster $version main --port {PORT} --locale en_US.UTF-8 --encoding UTF8 >/dev/null
if [ -n "$primary" ]; then
  install -o postgres -g postgres -m 0600 passwords {_PASSWORDS}
  as_postgres="runuser -u postgres -- /usr/lib/postgresql/$version/bin"
  copy() {{ rm -rf $data; $as_postgres/pg_basebackup -d "$primary" -D $data -c fast; }}
  tries=0
  until copy; do tries=$((tries + 1)); [ $tries -lt 10 ]; sleep 0.5; done  # its network may not be up yet
  install -o postgres -g postgres -m 0600 /dev/null $data/standby.signal
fi
conf=/etc/postgresql/$version/main
install -o postgres -g postgres -m 0644 settings.conf $conf/managed.conf
echo "include 'managed.conf'" >> $conf/postgresql.conf
install -o postgres -g postgres -m 0640 pg_hba.conf pg_ident.conf $conf/
install -o postgres -g postgres -m 0600 server.crt server.key $conf/
install -o postgres -g postgres -m 0640 pgbouncer.ini /etc/pgbouncer/pgbouncer.ini
install -o postgres -g postgres -m 0640 pools.ini /etc/pgbouncer/pools.ini
install -D -m 0644 limits.conf /etc/systemd/system/pgbouncer.service.d/limits.conf
# By hand: `systemctl enable` takes 0.6 s, because both have a script of the old kind too.
ln -sf /usr/lib/systemd/system/postgresql.service /usr/lib/systemd/system/pgbouncer.service \\
  /etc/systemd/system/multi-user.target.wants/
systemctl daemon-reload  # makes postgresql@…-main, which belongs to postgresql.service from now on
# Not waited for: pg_ctlcluster comes back 2 s after the server is ready.
systemctl start --no-block postgresql@$version-main.service pgbouncer.service
tries=0
until pg_isready -q -p {PORT}; do tries=$((tries + 1)); [ $tries -lt 600 ]; sleep 0.05; done
[ -n "$primary" ] || runuser -u postgres -- psql -X -q -p {PORT} -v ON_ERROR_STOP=1 -f - <&3
touch done
rm -f server.key passwords  # last: beginning anew needs them
"""

_REPLICATOR = """\
SELECT 'CREATE ROLE {role} LOGIN REPLICATION' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name})\\gexec
ALTER ROLE {role} PASSWORD {password};
"""


class Node:
    """A node of a cluster, by its number; the first is the one that a cluster begins with."""

    def __init__(self, world: World, spec: ClusterSpec, number: int) -> None:
        self.spec = spec
        self.number = number
        self.home = world.home / "clusters" / spec.id
        self._authority = authority_of(world, spec)
        [addresses] = [one for one in spec.nodes if one.number == number]
        self.machine = Machine(
            world,
            cluster_machine(spec.id, number),
            image=images.path_of(images.POSTGRES[spec.version]),
            public_ip=addresses.public_ip,
            private_ip=addresses.private_ip,
            vpc_range=spec.vpc_range,
            memory_mib=spec.memory_mib,
            vcpus=spec.vcpus,
        )

    def start(self, *, joins: "Node | None" = None) -> None:
        """Make the node and start it, as a copy of the node that it joins if there is one; what is done is kept."""
        modes = dict.fromkeys((f"{_FOLDER}/server.key", f"{_FOLDER}/passwords"), 0o600)
        if not self.machine.upper.is_dir():
            self.machine.create(self._files(joins), modes=modes)
        self.machine.start()
        self.machine.wait_booted(_BOOT_DEADLINE)
        primary = [] if joins is None else [_CONNECTION.format(host=self.spec.private_host)]
        set_up = ["bash", f"/{_FOLDER}/set-up.sh", self.spec.version, *primary]
        self.machine.run(set_up, input="" if joins else _bootstrap(self.spec), timeout=_SET_UP_DEADLINE)
        self.wait_ready()

    def follows(self) -> bool:
        """Whether PostgreSQL starts as a standby on this disk, whether the machine is on or off."""
        return (self.machine.upper / f"var/lib/postgresql/{self.spec.version}/main/standby.signal").exists()

    def resize(self) -> None:
        """Restart the machine with what its plan gives it, if that is new."""
        if self.machine.saved() == self.machine.hardware:
            return
        if not self.machine.running():
            self.start()
        self._configure()
        self.machine.power_off()
        self.machine.start()
        self.machine.wait_booted(_BOOT_DEADLINE)
        self.wait_ready()

    def let_follow(self) -> None:
        """Let standby nodes copy this one, from now on."""
        self._configure()
        self._certificate()  # here, before several of them need it at once
        role, name = sql.Identifier(REPLICATOR), sql.Literal(REPLICATOR)
        password = sql.Literal(self._password())
        self.sql(sql.SQL(_REPLICATOR).format(role=role, name=name, password=password).as_string())
        self.sql("SELECT pg_reload_conf();")

    def sql(self, statements: str) -> list[list[str]]:
        """Run statements as the operator and return the rows.

        They come by standard input: passwords must not be in a process list.
        """
        command = ["runuser", "-u", "postgres", "--", "psql", "-X", "-q", "-t", "--csv", "-p", str(PORT)]
        command += ["-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f", "-"]
        done = self.machine.run(command, input=statements, check=False)
        if done.returncode:
            raise RealiserError(f"database cluster {self.spec.name}: {done.stderr.strip()}")
        return list(csv.reader(done.stdout.splitlines()))

    def show(self, what: str) -> list[dict[str, str]]:
        """Answer PgBouncer's SHOW, for example "POOLS", one dictionary per row."""
        return list(csv.DictReader(self._pooler(f"SHOW {what}").splitlines()))

    def pools(self) -> str:
        """Return the file of pools."""
        return self.machine.run(["cat", _POOLS]).stdout

    def put_pools(self, text: str) -> None:
        """Make the node's pools equal to this file; unchanged ones keep their connections."""
        # Written beside and moved, so that a restart of PgBouncer never meets half a file.
        script = (
            f"set -e; file={_POOLS}; cat > $file.new; chown postgres:postgres $file.new; "
            "chmod 0640 $file.new; mv $file.new $file"
        )
        self.machine.run(["sh", "-c", script], input=text)
        # RELOAD answers at once and says nothing of a file that it could not read.
        self._pooler("RELOAD")
        present = {row["name"] for row in self.show("DATABASES")} - {"_auth", "pgbouncer"}
        if present != {line.split(" ")[0] for line in text.splitlines()}:
            journal = self.machine.run(["journalctl", "-q", "-u", "pgbouncer", "-n", "5", "--no-pager"]).stdout
            raise RealiserError(f"{self.machine.name}: PgBouncer has pools {sorted(present)}:\n{journal}")

    def wait_ready(self) -> None:
        """Wait until both ports answer."""

        def missing() -> str | None:
            for port in (PORT, POOL_PORT):
                asked = self.machine.run(["pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False)
                if asked.returncode:
                    return f"port {port} does not answer"
            return None

        def failure(last: str) -> RealiserError:
            units = self.machine.run(["systemctl", "status", "postgresql@*", "pgbouncer"], check=False).stdout
            return RealiserError(f"machine {self.machine.name}: {last}:\n{units}")

        until(missing, _READY_DEADLINE, failure)

    def _configure(self) -> None:
        self.machine.run(["tee", f"{_configuration(self.spec)}/managed.conf"], input=self._settings())

    def _files(self, joins: "Node | None") -> dict[str, bytes | str]:
        certificate, key = self._certificate()
        files = {
            "settings.conf": self._settings(),
            "pg_hba.conf": _ACCESS,
            "pg_ident.conf": _IDENTITIES,
            "pgbouncer.ini": _POOLER.format(
                port=PORT, pool_port=POOL_PORT, max_clients=_MAX_CLIENTS, folder=_configuration(self.spec)
            ),
            "pools.ini": joins.pools() if joins else "",
            "limits.conf": _POOLER_LIMITS,
            "set-up.sh": _SET_UP,
            "server.crt": certificate.read_text(),
            "server.key": key.read_text(),
        }
        if joins:
            files["passwords"] = f"*:*:*:{REPLICATOR}:{self._password()}\n"
            files["ca.crt"] = (self._authority.ca / "ca.crt").read_text()
        return {f"{_FOLDER}/{name}": content for name, content in files.items()}

    def _certificate(self) -> tuple[Path, Path]:
        """Return certificate and key of all nodes, since each may become the primary."""
        names = [self.spec.host, self.spec.private_host]
        if len(self.spec.nodes) > 1:
            names += [standby_name(name) for name in names]
        return certificates.issue(self._authority, names, self.home / "server")

    def _settings(self) -> str:
        text = _SETTINGS.format(
            port=PORT,
            max_connections=self.spec.max_connections,
            reserved=RESERVED_CONNECTIONS,
            folder=_configuration(self.spec),
        )
        if len(self.spec.nodes) > 1:
            connection = _CONNECTION.format(host=self.spec.private_host)
            text += _REPLICATION.format(connection=connection, number=self.number)
        return text

    def _password(self) -> str:
        """Return the cluster's password for replication, made when it is first needed."""
        path = self.home / "replication"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24))
        return path.read_text()

    def _pooler(self, statement: str) -> str:
        # A login by the socket as the system user that PgBouncer runs as needs no password (docs: admin console).
        console = ["psql", "-X", "-q", "--csv", "-h", "/var/run/postgresql", "-p", str(POOL_PORT), "-U", "pgbouncer"]
        done = self.machine.run(
            ["runuser", "-u", "postgres", "--", *console, "-d", "pgbouncer", "-c", statement], check=False
        )
        if done.returncode:
            raise RealiserError(f"{self.machine.name}: PgBouncer refused {statement}: {done.stderr.strip()}")
        return done.stdout


def authority_of(world: World, spec: ClusterSpec) -> World:
    """Return the world in whose folder certificates.py keeps the cluster's authority: for Advanced, the world's own."""
    return world if spec.engine == ADVANCED else dataclasses.replace(world, home=world.home / "clusters" / spec.id)


def pools_file(pools: Iterable[PoolSpec]) -> str:
    """Write pools as PgBouncer's configuration has them."""
    return "".join(_pool_line(pool) for pool in pools)


def write_private(path: Path, text: str) -> None:
    """Write a file whole or not at all, readable by its owner only."""
    part = path.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    part.rename(path)


def _configuration(spec: ClusterSpec) -> str:
    """Folder in the machine where Debian keeps a cluster's configuration."""
    return f"/etc/postgresql/{spec.version}/main"


def _bootstrap(spec: ClusterSpec) -> str:
    script: sql.Composable = sql.SQL(_BOOTSTRAP).format(password=sql.Literal(spec.password))
    if spec.engine == ADVANCED:
        names = sql.SQL(", ").join(map(sql.Literal, advanced.EXTENSIONS))
        script = sql.SQL(_OF_ADVANCED).format(names=names, no_others=sql.SQL(advanced.NO_OTHERS)) + script
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
