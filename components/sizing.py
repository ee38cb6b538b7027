"""Pure arithmetic of plans: backend connections, pool size, Gunicorn workers and the connection budget."""

import re
from dataclasses import dataclass

from components.editions import EDITIONS

# PostgreSQL takes 25 backend connections per GiB, of which DigitalOcean keeps 3 for itself, up to 1,000 in all.
# Source: DigitalOcean OpenAPI, connection_pool.yml; the limits page of Managed PostgreSQL for the cap. Both speak of
# Standard; that Advanced has the same limits, and pools at all, is assumed.
CONNECTIONS_PER_GIB = 25
CONNECTIONS_CAP = 1000
PLATFORM_RESERVE = 3

# What PgBouncer in front of a cluster accepts, however many backends it has (limits page of Managed PostgreSQL).
POOL_CLIENTS = 1000

# A deploy that replaces machines runs one Droplet more than the stack has, for as long as the replacement takes.
SURGE_DROPLETS = 1

# Measured with Django under gthread on Debian 13: the machine itself, and one worker with its threads.
MACHINE_MIB = 350
WORKER_MIB = 150
DEFAULT_THREADS = 4

# Every plan of every edition; which edition has which is in editions.py.
DATABASE_PLANS = frozenset().union(*(edition.plans for edition in EDITIONS.values()))

_DATABASE_MEMORY = re.compile(r"-(\d+)gb(?:-intel)?$")
_DROPLET = re.compile(
    r"(?P<family>s|c|c2|g|gd|m|m3|m6|so|so1_5)-(?P<vcpus>[1-9]\d?)"
    r"(?:vcpu-(?P<memory>\d+)(?P<unit>gb|mb)(?:-\d+gb)?)?(?:-(?:amd|intel))?"
)
# The basic family mixes its own pairs; every other family has a fixed number of GiB for each vCPU.
_BASIC = {
    (1, 512),
    (1, 1024),
    (1, 2048),
    (2, 2048),
    (2, 4096),
    (2, 8192),
    (4, 8192),
    (4, 16384),
    (8, 16384),
    (8, 32768),
}
_GIB_PER_VCPU = {"c": 2, "c2": 2, "g": 4, "gd": 4, "m": 8, "m3": 8, "m6": 8, "so": 8, "so1_5": 8}
_MIB = {"gb": 1024, "mb": 1}


class UnknownPlanError(ValueError):
    """A plan's name that DigitalOcean does not offer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DropletPlan:
    """What a Droplet's plan provides: virtual CPUs and memory in MiB."""

    vcpus: int
    memory_mib: int


def database_memory(plan: str) -> int:
    """Return the memory in GiB of a PostgreSQL plan; raises UnknownPlanError."""
    if plan not in DATABASE_PLANS:
        raise UnknownPlanError(plan)
    match = _DATABASE_MEMORY.search(plan)
    # CPU-optimised plans leave the memory out of their names, for databases as for Droplets.
    return int(match[1]) if match else droplet_plan(plan).memory_mib // 1024


def droplet_plan(size: str) -> DropletPlan:
    """Read vCPUs and memory from a Droplet's size, such as "s-1vcpu-1gb" or "c-4"; raises UnknownPlanError."""
    match = _DROPLET.fullmatch(size)
    if match is None:
        raise UnknownPlanError(size)
    vcpus = int(match["vcpus"])
    per_vcpu = _GIB_PER_VCPU.get(match["family"])
    if match["memory"] is not None:
        memory = int(match["memory"]) * _MIB[match["unit"]]
    elif match["family"] == "c":
        # CPU-optimised plans alone leave the memory out of their names: "c-4" is 4 vCPUs and 8 GiB.
        memory = vcpus * 2 * 1024
    else:
        raise UnknownPlanError(size)
    known = (vcpus, memory) in _BASIC if per_vcpu is None else memory == vcpus * per_vcpu * 1024
    if not known:
        raise UnknownPlanError(size)
    return DropletPlan(vcpus=vcpus, memory_mib=memory)


def max_connections(plan: str) -> int:
    """Backend connections of a PostgreSQL plan, those that DigitalOcean reserves included."""
    return min(CONNECTIONS_PER_GIB * database_memory(plan), CONNECTIONS_CAP)


def pool_size(plan: str, direct_connections: int) -> int:
    """Backend connections left for one pool that takes all but the reserve; below 1 when there are none."""
    return max_connections(plan) - PLATFORM_RESERVE - direct_connections


def gunicorn_workers(plan: DropletPlan) -> int:
    """Gunicorn workers for a Droplet: one more than its vCPUs (at least 2) where memory allows, never below 1."""
    by_memory = (plan.memory_mib - MACHINE_MIB) // WORKER_MIB
    return max(1, min(max(2, plan.vcpus + 1), by_memory))


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionBudget:
    """Who asks for database connections (Gunicorn's threads) and who provides them (the plan), in connections."""

    max_connections: int
    direct_connections: int
    pool_size: int
    droplets: int
    workers: int
    threads: int
    assumed: bool = False  # the limits are those of another edition: nobody says what this one has

    @property
    def reserved(self) -> int:
        """Backend connections that no pool may take."""
        return PLATFORM_RESERVE + self.direct_connections

    @property
    def clients(self) -> int:
        """Connections that the Droplets can open to the pool at once, the surge Droplet of a replacement included."""
        return (self.droplets + SURGE_DROPLETS) * self.workers * self.threads

    def supply(self) -> str:
        """Show the backends' side of the sum."""
        return (
            f"pool {self.pool_size} + direct {self.direct_connections} + DigitalOcean's reserve {PLATFORM_RESERVE}"
            f" = {self.pool_size + self.reserved} of {self.max_connections} backend connections"
            f"{', assumed as on Standard' if self.assumed else ''}"
        )

    def demand(self) -> str:
        """Show the clients' side of the sum."""
        return (
            f"{self.workers} workers x {self.threads} threads x ({self.droplets} + {SURGE_DROPLETS} surge) Droplets"
            f" = {self.clients} of {POOL_CLIENTS} clients"
        )

    def problems(self) -> list[str]:
        """Say, with the whole sum, what does not fit; empty when everything does."""
        found = []
        if self.pool_size < 1 or self.pool_size + self.reserved > self.max_connections:
            found.append(self.supply())
        if self.clients > POOL_CLIENTS:
            found.append(self.demand())
        return found

    def export(self) -> dict[str, int | str]:
        """Numbers and both sums, for the stack's output."""
        return {
            "max_connections": self.max_connections,
            "reserved": self.reserved,
            "pool_size": self.pool_size,
            "clients": self.clients,
            "supply": self.supply(),
            "demand": self.demand(),
        }
