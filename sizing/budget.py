"""Pure arithmetic: pool size, Gunicorn workers and the connection budget, by plan."""

from dataclasses import dataclass

from sizing.plans import DropletPlan, max_connections

# What DigitalOcean keeps of a plan's backend connections for itself; sources as in plans.py.
PLATFORM_RESERVE = 3

# What PgBouncer in front of a cluster accepts, however many backends it has (limits page of Managed PostgreSQL).
POOL_CLIENTS = 1000

# Measured with Django under gthread on Debian 13: the machine itself, and one worker with its threads.
MACHINE_MIB = 350
WORKER_MIB = 150
DEFAULT_THREADS = 4


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
    workers: int
    threads: int
    droplets: int = 1
    assumed: bool = False  # the limits are those of another edition: nobody says what this one has

    @property
    def reserved(self) -> int:
        """Backend connections that no pool may take."""
        return PLATFORM_RESERVE + self.direct_connections

    @property
    def surge(self) -> int:
        """Droplets that a replacement makes beside those that serve, which go when all the new ones do."""
        return self.droplets

    @property
    def clients(self) -> int:
        """Connections that can be opened to the pool at once, by the Droplets and those that take their places."""
        return (self.droplets + self.surge) * self.workers * self.threads

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
            f"{self.workers} workers x {self.threads} threads x ({self.droplets} + {self.surge} surge) Droplets"
            f" = {self.clients} of {POOL_CLIENTS} clients"
        )

    @property
    def limited_from(self) -> int:
        """From how many Droplets on the pool can be the limit: their threads are more than its backends."""
        return self.pool_size // (self.workers * self.threads) + 1

    def limit(self) -> str:
        """Say when one statement can wait for another's backend (docs/benchmarks.md has what a visitor sees then)."""
        threads = self.limited_from * self.workers * self.threads
        droplets = f"{self.limited_from} Droplet{'s' if self.limited_from > 1 else ''}"
        return f"the pool can be the limit from {droplets} on: {threads} threads, {self.pool_size} backends"

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
            "limited_from": self.limited_from,
            "limit": self.limit(),
        }
