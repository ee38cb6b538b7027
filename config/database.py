"""The sections `database` and `pool`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from config.section import Section
from config.values import Network4, Seconds, Unique, auto_or_number, one_of, pattern, wrong
from sizing import editions, plans
from sizing.editions import EDITIONS

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DATABASE_VERSIONS = tuple(sorted({version for edition in EDITIONS.values() for version in edition.versions}))
# DigitalOcean accepts 100 trusted sources in all; one is the Droplets' tag.
TRUSTED_SOURCES = 99


def _database_plan(value: str) -> str:
    try:
        plans.database_memory(value)
    except plans.UnknownPlanError:
        meant = f"write db-{value}" if f"db-{value}" in plans.DATABASE_PLANS else ""
        raise wrong("plan", "must be a PostgreSQL plan", meant) from None
    return value


class MaintenanceConfig(Section):
    """When DigitalOcean may update the cluster (UTC)."""

    day: Annotated[str, one_of(*DAYS)] = Field(default="sunday", description="a day of the week, in lower case")
    hour: Annotated[str, pattern(r"([01]\d|2[0-3]):[0-5]\d", 'a time such as "03:00"')] = Field(
        default="03:00", description='hour and minute in UTC, quoted, such as "03:00"'
    )


class TimeoutsConfig(Section):
    """Limits that PostgreSQL puts on the app's role, and one on the migrator's, in seconds."""

    statement: Seconds = Field(default=30, description="longest statement of the app, in seconds (1 to 3600)")
    lock: Seconds = Field(
        default=10,
        description="longest wait of the app for a lock, in seconds (1 to 3600)",
    )
    migration_lock: Seconds = Field(
        default=3,
        description="longest wait of a migration for a lock, in seconds (1 to 3600): meanwhile visitors wait, too",
    )
    idle_in_transaction: Seconds = Field(
        default=60, description="longest idle transaction of the app, in seconds (1 to 3600)"
    )


class DatabaseStorageConfig(Section):
    """The disk of each node."""

    autoscale: bool = Field(
        default=True, description="true lets the disk grow by itself; a full one makes the database read-only"
    )
    # The bounds are the API's: digitalocean/openapi 7c1300c4, database_storage_autoscale_params.yml.
    threshold: int = Field(
        default=80, ge=15, le=95, description="per cent of the disk in use that let it grow, 15 to 95"
    )
    increment: int = Field(default=10, ge=10, le=500, description="GiB that it grows by each time, 10 to 500")


class DatabaseConfig(Section):
    """The PostgreSQL cluster."""

    edition: Literal["standard", "advanced"] = Field(
        default="standard",
        description="standard or advanced (larger plans, standby nodes, docs/cost.md); a change deletes the data",
    )
    size: Annotated[str, AfterValidator(_database_plan)] = Field(
        description="a plan such as db-s-1vcpu-2gb; sizing/editions.py lists them"
    )
    nodes: int = Field(default=1, ge=1, le=3, description="nodes of the cluster, standby nodes included: 1 to 3")
    accept_plan: bool = Field(
        default=False,
        description="true lets a new standard cluster have more than one node or 4 GiB, where the account may have it",
    )
    accept_no_failover: bool = Field(
        default=False,
        description="true accepts that the one node's failure is an outage until DigitalOcean has recovered it",
    )
    storage: DatabaseStorageConfig = Field(
        default_factory=DatabaseStorageConfig, description="autoscale, threshold, increment"
    )
    version: Annotated[str, one_of(*DATABASE_VERSIONS)] = Field(default="17", description="major version of PostgreSQL")
    direct_connections: int = Field(
        default=2, ge=0, le=100, description="backends kept out of the pool for migrations and operators, 0 to 100"
    )
    trusted_sources: Annotated[tuple[Network4, ...], Unique] = Field(
        default=(),
        max_length=TRUSTED_SOURCES,
        description=f"IPv4 addresses or CIDRs that may connect beside the Droplets, at most {TRUSTED_SOURCES}",
    )
    extensions: Annotated[
        tuple[Annotated[str, pattern(r"[A-Za-z0-9_-]+", "the name of a PostgreSQL extension")], ...], Unique
    ] = Field(default=(), description="PostgreSQL extensions that the app needs, such as citext (docs/app.md)")
    maintenance: MaintenanceConfig = Field(default_factory=MaintenanceConfig, description="day and hour of updates")
    timeouts: TimeoutsConfig = Field(
        default_factory=TimeoutsConfig, description="statement, lock, migrationLock and idleInTransaction, in seconds"
    )

    @property
    def accepted(self) -> list[str]:
        """The settings by which the user has accepted something that is otherwise refused."""
        paths = {editions.ACCEPT_PLAN: self.accept_plan, editions.ACCEPT_NO_FAILOVER: self.accept_no_failover}
        return [path for path, is_accepted in paths.items() if is_accepted]


class PoolConfig(Section):
    """The transaction-mode connection pool."""

    size: Annotated[Literal["auto"] | int, auto_or_number(plans.CONNECTIONS_CAP)] = Field(
        default="auto", description="auto (all that the plan leaves) or a number of backend connections"
    )
