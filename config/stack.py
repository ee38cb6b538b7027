"""All settings of one stack."""

import re
from typing import Annotated, Literal

from pydantic import Field

from config.alerts import AlertsConfig
from config.app import AppConfig
from config.database import DatabaseConfig, PoolConfig
from config.network import NetworkConfig
from config.section import Section
from config.storage import StorageConfig
from config.values import HOSTNAME, host_name, one_of, pattern
from config.web import WebConfig
from sizing import budget, editions, plans
from sizing.regions import REGIONS

# What visitors come by: a Droplet's own address, or a load balancer. Another one is another machine.
Edge = Literal["direct", "balanced"]


def _resource_name(value: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")


class StackConfig(Section):
    """All settings of one stack."""

    name: Annotated[
        str, pattern(r"[a-z][a-z0-9-]{1,28}[a-z0-9]", "3 to 30 lower-case letters, digits and dashes", _resource_name)
    ] = Field(description="unique in the account: the prefix of everything's name")
    region: Annotated[str, one_of(*REGIONS)] = Field(description="a region that has both Spaces and Managed PostgreSQL")
    domain: Annotated[str, pattern(HOSTNAME, "a host name in lower case", host_name)] = Field(
        description="the site's name, without https:// and without a dot at the end"
    )
    dns: Literal["managed", "external"] = Field(
        default="managed",
        description="managed (a domain at DigitalOcean, made here) or external (the record is made by you)",
    )
    dns_patience: int = Field(
        default=300,
        ge=0,
        le=86400,
        description="seconds that `pulumi up` waits at most for an old address to be forgotten, when the site moves",
    )
    network: NetworkConfig = Field(default_factory=NetworkConfig, description="cidr, sshFrom, sshKeys")
    database: DatabaseConfig = Field(description="at least size")
    pool: PoolConfig = Field(default_factory=PoolConfig, description="size")
    storage: StorageConfig = Field(default_factory=StorageConfig, description="cors, cdn, forceDestroy, keys")
    web: WebConfig = Field(description="at least size")
    app: AppConfig = Field(
        default_factory=AppConfig,
        description="path, wsgi, settings, python, env, secrets, superuser, health, allow, release",
    )
    alerts: AlertsConfig = Field(default_factory=AlertsConfig, description="email, slack")
    protect: bool = Field(
        default=True, description="true refuses to delete the database, media, secrets, address and domain"
    )
    production: bool = Field(
        default=False, description="true makes it an error to lack what a production site needs, and names it"
    )

    @property
    def url(self) -> str:
        """The site's address."""
        return f"https://{self.domain}"

    @property
    def edge(self) -> Edge:
        """What visitors come by."""
        return "balanced" if self.web.load_balancer else "direct"

    @property
    def cors_origins(self) -> tuple[str, ...]:
        """Origins that may read static files: the site's own unless others are named."""
        return self.storage.cors.origins or (self.url,)

    @property
    def connection_budget(self) -> budget.ConnectionBudget:
        """Clients and backends of this stack."""
        available = budget.pool_size(self.database.size, self.database.direct_connections)
        workers = budget.gunicorn_workers(plans.droplet_plan(self.web.size))
        return budget.ConnectionBudget(
            max_connections=plans.max_connections(self.database.size),
            direct_connections=self.database.direct_connections,
            pool_size=available if self.pool.size == "auto" else self.pool.size,
            workers=workers if self.web.workers == "auto" else self.web.workers,
            threads=budget.DEFAULT_THREADS if self.web.threads == "auto" else self.web.threads,
            droplets=self.web.count,
            assumed=self.database.edition == editions.ADVANCED.name,
        )
