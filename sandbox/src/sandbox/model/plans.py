"""Regions, images and plans that the API knows, with what a plan gives."""

from dataclasses import dataclass

from sandbox.model.store import Body

# Regions of the OpenAPI description that take new resources, with the names of its example.
REGIONS = {
    "ams3": "Amsterdam 3",
    "atl1": "Atlanta 1",
    "blr1": "Bangalore 1",
    "fra1": "Frankfurt 1",
    "lon1": "London 1",
    "nyc1": "New York 1",
    "nyc2": "New York 2",
    "nyc3": "New York 3",
    "ric1": "Richmond 1",
    "sfo2": "San Francisco 2",
    "sfo3": "San Francisco 3",
    "sgp1": "Singapore 1",
    "syd1": "Sydney 1",
    "tor1": "Toronto 1",
}
# The provider's own list (spaces/region.go), which is Spaces' regions.
SPACES_REGIONS = ("ams3", "atl1", "blr1", "fra1", "lon1", "nyc3", "sfo2", "sfo3", "sgp1", "syd1", "tor1")

# Debian, and Ubuntu's releases with long-term support; 20.04 is what the examples of the API's description create, and
# so do many clients' tests. Machines, at depth "full", have Debian alone: the others are
# refused there rather than served with the wrong system.
IMAGES = {
    "debian-13-x64": ("Debian", "13 x64"),
    "ubuntu-20-04-x64": ("Ubuntu", "20.04 (LTS) x64"),
    "ubuntu-22-04-x64": ("Ubuntu", "22.04 (LTS) x64"),
    "ubuntu-24-04-x64": ("Ubuntu", "24.04 (LTS) x64"),
    "ubuntu-26-04-x64": ("Ubuntu", "26.04 (LTS) x64"),
}

# Regions that are not among those that an image may name, by the API's description: typed clients know no others.
_NOT_OF_IMAGES = {"atl1", "ric1"}

POSTGRES_DEFAULT = "17"  # of Standard clusters
MAX_POOLS = 21  # limits page, as quoted in the project's facts
RESERVED_CONNECTIONS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class DropletPlan:
    """A Droplet's size."""

    slug: str
    memory_mib: int
    vcpus: int
    disk_gib: int
    transfer_tib: float
    price_monthly: float  # US dollars
    description: str = "Basic"

    @property
    def price_hourly(self) -> float:
        """US dollars per hour: a month counts as 672 hours at most."""
        return round(self.price_monthly / 672, 5)

    def body(self) -> Body:
        """Answer as the API does."""
        return {
            "slug": self.slug,
            "memory": self.memory_mib,
            "vcpus": self.vcpus,
            "disk": self.disk_gib,
            "transfer": self.transfer_tib,
            "price_monthly": self.price_monthly,
            "price_hourly": self.price_hourly,
            "regions": sorted(REGIONS),
            "available": True,
            "description": self.description,
            "networking_throughput": 2000,
        }


def _droplet(  # noqa: PLR0917 - a row of the table below
    slug: str, gib: float, vcpus: int, disk: int, transfer: float, price: float, description: str = "Basic"
) -> tuple[str, DropletPlan]:
    plan = DropletPlan(
        slug=slug,
        memory_mib=int(gib * 1024),
        vcpus=vcpus,
        disk_gib=disk,
        transfer_tib=transfer,
        price_monthly=price,
        description=description,
    )
    return slug, plan


# https://www.digitalocean.com/pricing/droplets; compared with the output of `doctl compute size list`, 2026-11-23.
DROPLET_PLANS: dict[str, DropletPlan] = dict(
    [
        _droplet("s-1vcpu-512mb-10gb", 0.5, 1, 10, 0.5, 4),
        _droplet("s-1vcpu-1gb", 1, 1, 25, 1, 6),
        _droplet("s-1vcpu-1gb-amd", 1, 1, 25, 1, 7, "Basic AMD"),
        _droplet("s-1vcpu-1gb-intel", 1, 1, 25, 1, 7, "Basic Intel"),
        _droplet("s-1vcpu-2gb", 2, 1, 50, 2, 12),
        _droplet("s-1vcpu-2gb-amd", 2, 1, 50, 2, 14, "Basic AMD"),
        _droplet("s-1vcpu-2gb-intel", 2, 1, 50, 2, 14, "Basic Intel"),
        _droplet("s-2vcpu-2gb", 2, 2, 60, 3, 18),
        _droplet("s-2vcpu-2gb-amd", 2, 2, 60, 3, 21, "Basic AMD"),
        _droplet("s-2vcpu-2gb-intel", 2, 2, 60, 3, 21, "Basic Intel"),
        _droplet("s-2vcpu-4gb", 4, 2, 80, 4, 24),
        _droplet("s-2vcpu-4gb-amd", 4, 2, 80, 4, 28, "Basic AMD"),
        _droplet("s-2vcpu-4gb-intel", 4, 2, 80, 4, 28, "Basic Intel"),
        _droplet("s-4vcpu-8gb", 8, 4, 160, 5, 48),
        _droplet("s-4vcpu-8gb-amd", 8, 4, 160, 5, 56, "Basic AMD"),
        _droplet("s-4vcpu-8gb-intel", 8, 4, 160, 5, 56, "Basic Intel"),
        _droplet("s-8vcpu-16gb", 16, 8, 320, 6, 96),
        _droplet("s-8vcpu-16gb-amd", 16, 8, 320, 6, 112, "Basic AMD"),
        _droplet("s-8vcpu-16gb-intel", 16, 8, 320, 6, 112, "Basic Intel"),
        _droplet("c-2", 4, 2, 25, 4, 42, "CPU-Optimized"),
        _droplet("c-4", 8, 4, 50, 5, 84, "CPU-Optimized"),
        _droplet("g-2vcpu-8gb", 8, 2, 25, 4, 63, "General Purpose"),
        _droplet("g-4vcpu-16gb", 16, 4, 50, 5, 126, "General Purpose"),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabasePlan:
    """A database node's size."""

    slug: str
    memory_gib: int
    vcpus: int
    disk_mib: int

    @property
    def max_connections(self) -> int:
        """Backend connections of a node, the reserved ones included."""
        return min(25 * self.memory_gib, 1000)

    @property
    def nodes(self) -> tuple[int, ...]:
        """Numbers of nodes that this plan comes in."""
        return (1,) if self.memory_gib == 1 else (1, 2, 3)


# Plans that the OpenAPI description offers for "pg". The disk of the two smallest is documented; the others are
# assumed to grow as on the pricing page (about 15-35 GiB per GiB of memory) and nothing here depends on them.
_STANDARD_SLUGS = """
db-s-1vcpu-1gb db-amd-1vcpu-1gb db-intel-1vcpu-1gb db-s-1vcpu-2gb db-amd-1vcpu-2gb db-intel-1vcpu-2gb
db-s-2vcpu-4gb db-amd-2vcpu-4gb db-intel-2vcpu-4gb db-s-4vcpu-8gb db-amd-2vcpu-8gb db-amd-4vcpu-8gb
db-intel-2vcpu-8gb db-intel-4vcpu-8gb gd-2vcpu-8gb db-s-6vcpu-16gb db-amd-4vcpu-16gb db-intel-4vcpu-16gb
gd-4vcpu-16gb so1_5-2vcpu-16gb db-amd-8vcpu-32gb db-intel-8vcpu-32gb gd-8vcpu-32gb so1_5-4vcpu-32gb
db-amd-16vcpu-64gb db-intel-16vcpu-64gb gd-16vcpu-64gb so1_5-8vcpu-64gb gd-32vcpu-128gb so1_5-16vcpu-128gb
gd-40vcpu-160gb so1_5-24vcpu-192gb so1_5-32vcpu-256gb
""".split()  # noqa: SIM905 - a list of literals is five times as long
# The same for "advanced_pg" (digitalocean/openapi 7c1300c4, databases/responses/options.yml).
_ADVANCED_SLUGS = """
gd-2vcpu-8gb-intel so1_5-2vcpu-16gb-intel so1_5-2vcpu-16gb gd-2vcpu-8gb gd-4vcpu-16gb-intel
so1_5-4vcpu-32gb-intel so1_5-4vcpu-32gb gd-4vcpu-16gb gd-8vcpu-32gb so1_5-8vcpu-64gb gd-8vcpu-32gb-intel
so1_5-8vcpu-64gb-intel gd-16vcpu-64gb so1_5-16vcpu-128gb gd-16vcpu-64gb-intel so1_5-16vcpu-128gb-intel
so1_5-24vcpu-192gb so1_5-24vcpu-192gb-intel so1_5-32vcpu-256gb-intel gd-32vcpu-128gb gd-32vcpu-128gb-intel
so1_5-32vcpu-256gb gd-40vcpu-160gb so1_5-48vcpu-384gb-intel gd-48vcpu-192gb-intel so1_5-48vcpu-256gb c-96-intel
""".split()  # noqa: SIM905 - the same
# Slugs that don't say their memory. CPU-Optimized Droplets have 2 GiB per processor; of databases nothing is said.
_MEMORY_GIB = {"c-96-intel": 192}


def _database(slug: str) -> DatabasePlan:
    parts = slug.removesuffix("-intel").split("-")
    if slug in _MEMORY_GIB:
        vcpus, gib = int(parts[-1]), _MEMORY_GIB[slug]
    else:
        vcpus, gib = int(parts[-2].removesuffix("vcpu")), int(parts[-1].removesuffix("gb"))
    disk_gib = {1: 10, 2: 30, 4: 60}.get(gib, 35 * gib // 2)
    return DatabasePlan(slug=slug, memory_gib=gib, vcpus=vcpus, disk_mib=disk_gib * 1024)


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """What clusters of an engine come in."""

    versions: tuple[str, ...]
    default_version: str
    plans: dict[str, DatabasePlan]


ADVANCED = "advanced_pg"
ENGINES = {
    "pg": Engine(
        versions=("14", "15", "16", "17", "18"),
        default_version=POSTGRES_DEFAULT,
        plans={slug: _database(slug) for slug in _STANDARD_SLUGS},
    ),
    ADVANCED: Engine(
        versions=("16", "17", "18"),
        default_version="18",
        plans={slug: _database(slug) for slug in _ADVANCED_SLUGS},
    ),
}
# Of all engines: a slug means the same to each.
DATABASE_PLANS = {slug: plan for engine in ENGINES.values() for slug, plan in engine.plans.items()}

# What a new Standard cluster may have at most since 30 November 2026: docs.digitalocean.com,
# /release-notes/upcoming/dbaas-plan-changes/ as others quote it.
NEW_STANDARD_MEMORY_GIB = 4
NEW_STANDARD_NODES = 1


def region_body(slug: str) -> Body:
    """Answer as the API does."""
    features = ["backups", "ipv6", "metadata", "install_agent", "storage", "image_transfer"]
    return {
        "name": REGIONS[slug],
        "slug": slug,
        "features": features,
        "available": True,
        "sizes": sorted(DROPLET_PLANS),
    }


def image_body(slug: str) -> Body:
    """Answer as the API does; ids are ours."""
    distribution, name = IMAGES[slug]
    return {
        "id": 180_000_000 + sorted(IMAGES).index(slug),
        "name": name,
        "distribution": distribution,
        "slug": slug,
        "public": True,
        "regions": sorted(REGIONS.keys() - _NOT_OF_IMAGES),
        "created_at": "2025-08-09T00:00:00Z",
        "min_disk_size": 7,
        "type": "snapshot",
        "size_gigabytes": 0.3,
        "description": f"{distribution} {name}",
        "tags": [],
        "status": "available",
    }
