"""The transaction-mode connection pool through which the app reaches the database."""

from dataclasses import dataclass

import pulumi

from components import digitalocean
from components.database import Database, DatabaseEndpoint
from sizing.editions import ADVANCED, POOLS_UNKNOWN

POOL = "app-pool"


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionPoolArgs:
    """Which database it serves, and how many of its backend connections it may hold."""

    database: Database
    size: int


class ConnectionPool(pulumi.ComponentResource):
    """PgBouncer in transaction mode: few backends serve many Gunicorn threads."""

    endpoint: DatabaseEndpoint
    size: pulumi.Output[int]

    def __init__(self, name: str, args: ConnectionPoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:connection_pool:ConnectionPool", name, None, opts)
        pool = digitalocean.DatabaseConnectionPool(
            f"{name}-pool",
            cluster_id=args.database.cluster.id,
            # Explicit, so that a replacement deletes first: the provider can only replace a pool, and one that takes
            # all backends leaves none for its successor.
            name=POOL,
            mode="transaction",
            size=args.size,
            db_name=args.database.database,
            user=args.database.app_role,
            # After all of the database: nobody gets a pool before the cluster is closed. Not deleted_with the cluster:
            # when a protected cluster survives a `pulumi destroy`, the engine has already forgotten what goes with it
            # (tried with 3.259.0), and the next `pulumi up` would meet a pool of this name.
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[args.database],
                hooks=_warning(name) if args.database.edition is ADVANCED else None,
            ),
        )

        self.endpoint = DatabaseEndpoint(
            user=args.database.app_role,
            password=args.database.app_password,
            host=pool.private_host,
            port=pool.port,
            database=pool.name,
        )
        self.size = pool.size
        self.register_outputs({"pool_name": pool.name, "size": self.size})


def _warning(name: str) -> pulumi.ResourceHookBinding:
    """Say what is known before the pool is made, so that it stands beside the API's words when that refuses.

    Not by a hook `on_error`: the engine would look for that when it deletes the pool, too, where there is no program.
    """

    def warn(_args: pulumi.ResourceHookArgs) -> None:
        pulumi.log.warn(POOLS_UNKNOWN)

    return pulumi.ResourceHookBinding(before_create=[pulumi.ResourceHook(f"{name}-advanced-pool", warn)])
