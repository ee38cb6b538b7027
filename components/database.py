"""The PostgreSQL cluster with its two roles, closed to everybody but the stack's Droplets and the named sources."""

from dataclasses import dataclass
from importlib.metadata import version

import pulumi

from components import account, digitalocean
from components.existing import Existing
from components.network import Network
from config.database import DatabaseConfig, TimeoutsConfig
from provider.resources import DatabaseGrants
from sizing import plans
from sizing.editions import EDITIONS, WAYS_OUT, Edition, beyond_a_new_cluster

DATABASE = "app"
APP_ROLE = "app"
MIGRATOR_ROLE = "migrator"

_CA = "digitalocean:index/getDatabaseCa:getDatabaseCa"
_FAILED = f"invoke of {_CA} failed: "


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseEndpoint:
    """A way to a database: where it is, and the role that goes there."""

    user: pulumi.Input[str]
    password: pulumi.Input[str]
    host: pulumi.Input[str]
    port: pulumi.Input[int]
    database: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseArgs:
    """Where the cluster is, what it is like, who may connect, and the limits of the application's role."""

    region: str
    settings: DatabaseConfig
    network: Network
    existing: Existing


class Database(pulumi.ComponentResource):
    """Cluster, roles, database, grants and trusted sources, in the order in which the cluster gets closed."""

    edition: Edition
    cluster: digitalocean.DatabaseCluster
    ca: pulumi.Output[str]  # PEM; empty: clients go by their trust store
    database: pulumi.Output[str]
    app_role: pulumi.Output[str]
    app_password: pulumi.Output[str]
    migrator: DatabaseEndpoint  # past the pool

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:database:Database", name, None, opts)
        settings = args.settings
        self.edition = EDITIONS[settings.edition]
        self.cluster = digitalocean.DatabaseCluster(
            f"{name}-db",
            # Explicit: the name is part of the host name, unique in the account, and a change replaces the data.
            name=f"{name}-db",
            engine=self.edition.engine,
            version=settings.version,
            size=settings.size,
            node_count=settings.nodes,
            region=args.region,
            private_network_uuid=args.network.vpc_id,
            tags=[args.network.tag],
            maintenance_windows=[
                digitalocean.DatabaseClusterMaintenanceWindowArgs(
                    day=settings.maintenance.day, hour=settings.maintenance.hour
                )
            ],
            storage_autoscale=digitalocean.DatabaseClusterStorageAutoscaleArgs(
                enabled=settings.storage.autoscale,
                threshold_percent=settings.storage.threshold,
                increment_gib=settings.storage.increment,
            ),
            opts=pulumi.ResourceOptions.merge(
                pulumi.ResourceOptions(parent=self, hooks=_refusal_of_a_new_cluster(name, settings)),
                args.existing.refusal("db", account.cluster),
            ),
        )
        # They go with the cluster: a role that owns tables can't be dropped, and nothing is left to drop it from.
        inside = pulumi.ResourceOptions(parent=self, deleted_with=self.cluster)
        migrator = digitalocean.DatabaseUser(
            f"{name}-migrator", cluster_id=self.cluster.id, name=MIGRATOR_ROLE, opts=inside
        )
        app = digitalocean.DatabaseUser(f"{name}-app", cluster_id=self.cluster.id, name=APP_ROLE, opts=inside)
        database = digitalocean.DatabaseDb(
            f"{name}-database",
            cluster_id=self.cluster.id,
            name=DATABASE,
            # When the cluster is replaced, the engine deletes what is in it first, one by one, `deleted_with` or not
            # (pulumi 3.259, step_generator.go): the tables must go before the roles that own them.
            opts=pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(depends_on=[migrator, app])),
        )
        self.ca = _certificate(self.cluster, self) if self.edition.own_ca else pulumi.Output.from_input("")
        grants = DatabaseGrants(
            f"{name}-grants",
            admin_uri=self.cluster.uri,
            host=self.cluster.host,
            port=self.cluster.port,
            ca=self.ca,
            database=database.name,
            migrator=migrator.name,
            migrator_password=migrator.password,
            app=app.name,
            app_password=app.password,
            app_settings=app_settings(settings.timeouts),
            migrator_settings=migrator_settings(settings.timeouts),
            extensions=settings.extensions,
            opts=inside,
        )
        # The cluster is open until here, to password logins; the grants need that, since the runner has no place in the
        # rules. Deleting this resource would send empty rules, which open the cluster again, hence retain_on_delete.
        digitalocean.DatabaseFirewall(
            f"{name}-trusted-sources",
            cluster_id=self.cluster.id,
            rules=[
                digitalocean.DatabaseFirewallRuleArgs(type="tag", value=args.network.web_tag),
                *(
                    digitalocean.DatabaseFirewallRuleArgs(type="ip_addr", value=source)
                    for source in settings.trusted_sources
                ),
            ],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[grants], retain_on_delete=True),
        )

        self.database = database.name
        self.app_role = app.name
        self.app_password = app.password
        self.migrator = DatabaseEndpoint(
            user=migrator.name,
            password=migrator.password,
            host=self.cluster.private_host,
            port=self.cluster.port,
            database=database.name,
        )
        self.register_outputs(
            {"private_host": self.cluster.private_host, "port": self.cluster.port, "database": self.database}
        )


def _refusal_of_a_new_cluster(name: str, settings: DatabaseConfig) -> pulumi.ResourceHookBinding | None:
    """Return a hook that refuses to make, in a preview too, what DigitalOcean does not sell to new clusters any more.

    Only the engine knows whether the cluster is there already, and calls a hook `before_create` for those that are
    not: one that is imported, kept or resized may be larger.
    """
    engine = EDITIONS[settings.edition].engine
    beyond = beyond_a_new_cluster(engine, plans.database_memory(settings.size), settings.nodes)
    got = {"size": f'"{settings.size}"', "nodes": settings.nodes}
    problems = [f"database.{setting}: {rule}, got {got[setting]}; {WAYS_OUT}" for setting, rule in beyond]
    if not problems or settings.accept_plan:
        return None

    def refuse(_args: pulumi.ResourceHookArgs) -> None:
        raise pulumi.RunError("\n".join(problems))

    hook = pulumi.ResourceHook(f"{name}-new-cluster", refuse, pulumi.ResourceHookOptions(on_dry_run=True))
    return pulumi.ResourceHookBinding(before_create=[hook])


# Django's own, set where a pooler can't lose them: docs/ref/databases.txt, "Optimizing PostgreSQL's configuration".
_ROLE_SETTINGS = {
    "client_encoding": "UTF8",
    "default_transaction_isolation": "read committed",
    "timezone": "UTC",
}


def app_settings(timeouts: TimeoutsConfig) -> dict[str, str]:
    """Return what PostgreSQL sets for the application's role."""
    return {
        **_ROLE_SETTINGS,
        "statement_timeout": f"{timeouts.statement}s",
        "lock_timeout": f"{timeouts.lock}s",
        "idle_in_transaction_session_timeout": f"{timeouts.idle_in_transaction}s",
    }


# A Droplet that dies while it migrates says no good-bye: its sessions end after 25 s, and with them their locks. By
# Linux's own times it would be two hours, or a quarter of one while an answer is under way. What runs a statement looks
# for its client by itself, every 5 s. Every role may set these for itself.
_ENDS_WITH_ITS_CLIENT = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25s",
    "client_connection_check_interval": "5s",
}


def migrator_settings(timeouts: TimeoutsConfig) -> dict[str, str]:
    """Return what it sets for the migrator: a migration may take its time, but not wait for a table."""
    return {**_ROLE_SETTINGS, **_ENDS_WITH_ITS_CLIENT, "lock_timeout": f"{timeouts.migration_lock}s"}


def _certificate(cluster: digitalocean.DatabaseCluster, parent: pulumi.Resource) -> pulumi.Output[str]:
    """Return the PEM of the authority that signs a cluster's certificate.

    The SDK's own function ends in a traceback beside the API's words; here they are the error.
    """
    # Without the version the engine would start another provider than the cluster's.
    options = pulumi.InvokeOptions(parent=parent, version=version("pulumi-digitalocean"))

    async def ask(cluster_id: str) -> str:
        try:
            found = await pulumi.runtime.invoke_async(_CA, {"clusterId": cluster_id}, options)
        except Exception as error:
            if not str(error).startswith(_FAILED):  # the SDK has no class for what a provider refuses
                raise
            raise pulumi.RunError(_unanswered(cluster_id, str(error).removeprefix(_FAILED))) from None
        if not (pem := found["certificate"]):
            raise pulumi.RunError(_unanswered(cluster_id, "the answer has an empty certificate"))
        return str(pem)

    return cluster.id.apply(ask)


def _unanswered(cluster_id: str, why: str) -> str:
    words = why.removeprefix(f"invocation of {_CA} returned an error: ").removeprefix(f"{_CA}: ")
    return (
        f"database cluster {cluster_id}: its authority (CA), by which clients verify it, can't be fetched: {words}; "
        "run the command again, what was made is kept; if it fails again, see https://status.digitalocean.com"
    )
