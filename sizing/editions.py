"""The editions of managed PostgreSQL: engine, versions, plans, extensions, and what a new cluster may have."""

from collections.abc import Iterator
from dataclasses import dataclass

# Plans of Standard (DigitalOcean OpenAPI, database options, November 2026), and two that older clusters have.
_STANDARD_PLANS = frozenset(
    {f"db-{cpu}-1vcpu-{gib}gb" for cpu in ("s", "amd", "intel") for gib in (1, 2)}
    | {f"db-{cpu}-2vcpu-4gb" for cpu in ("s", "amd", "intel")}
    | {f"db-{cpu}-2vcpu-8gb" for cpu in ("amd", "intel")}
    | {f"db-{cpu}-4vcpu-8gb" for cpu in ("s", "amd", "intel")}
    | {f"db-{cpu}-{vcpus}vcpu-{vcpus * 4}gb" for cpu in ("amd", "intel") for vcpus in (4, 8, 16)}
    | {"db-s-6vcpu-16gb", "db-s-8vcpu-32gb", "db-s-16vcpu-64gb"}
    | {f"gd-{vcpus}vcpu-{vcpus * 4}gb" for vcpus in (2, 4, 8, 16, 32, 40)}
    | {f"so1_5-{vcpus}vcpu-{vcpus * 8}gb" for vcpus in (2, 4, 8, 16, 24, 32)}
)
# Plans of Advanced (digitalocean/openapi 7c1300c4, databases/responses/options.yml): dedicated CPUs only.
_ADVANCED_PLANS = frozenset(
    {f"gd-{vcpus}vcpu-{vcpus * 4}gb{cpu}" for vcpus in (2, 4, 8, 16, 32) for cpu in ("", "-intel")}
    | {f"so1_5-{vcpus}vcpu-{vcpus * 8}gb{cpu}" for vcpus in (2, 4, 8, 16, 24, 32) for cpu in ("", "-intel")}
    | {"gd-40vcpu-160gb", "gd-48vcpu-192gb-intel", "so1_5-48vcpu-256gb", "so1_5-48vcpu-384gb-intel", "c-96-intel"}
)

# Those that PostgreSQL lets the owner of a database create: "trusted = true" in the control files of its own modules
# (read in 15 and 17). Any other needs rights that doadmin may not have.
_TRUSTED_EXTENSIONS = (
    *("btree_gin", "btree_gist", "citext", "cube", "dict_int", "fuzzystrmatch", "hstore", "intarray", "isn", "lo"),
    *("ltree", "pg_trgm", "pgcrypto", "seg", "tablefunc", "tcn", "tsm_system_rows", "tsm_system_time", "unaccent"),
    "uuid-ossp",
)
# Those that an Advanced cluster has from the beginning; it has no CREATE EXTENSION (docs/adr/0012).
_ADVANCED_EXTENSIONS = ("pg_repack", "pg_stat_statements", "pgaudit", "plpgsql", "vector")


@dataclass(frozen=True, kw_only=True, slots=True)
class Edition:
    """One edition, as the setting `database.edition` names it."""

    name: str
    engine: str  # in DigitalOcean's API
    versions: tuple[str, ...]  # major versions of PostgreSQL that the program supports
    plans: frozenset[str]
    extensions: tuple[str, ...]
    own_ca: bool  # False: clients verify the server against the system's trust store


STANDARD = Edition(
    name="standard",
    engine="pg",
    # 15 brought the rules for the schema "public" that the grants rely on.
    versions=("15", "16", "17", "18"),
    plans=_STANDARD_PLANS,
    extensions=_TRUSTED_EXTENSIONS,
    own_ca=True,
)
ADVANCED = Edition(
    name="advanced",
    engine="advanced_pg",
    versions=("16", "17", "18"),
    plans=_ADVANCED_PLANS,
    extensions=_ADVANCED_EXTENSIONS,
    own_ca=False,
)
EDITIONS = {edition.name: edition for edition in (STANDARD, ADVANCED)}

# What DigitalOcean sells to new Standard clusters, whatever existing ones have (docs/adr/0012).
NEW_STANDARD_GIB = 4
NEW_STANDARD_NODES = 1
LIMITS = (
    f"new clusters of the edition {STANDARD.name} have at most {NEW_STANDARD_GIB} GiB and {NEW_STANDARD_NODES} node, "
    "without a standby, since 30 November 2026 (docs/adr/0012)"
)
WAYS_OUT = (
    f"choose that, or database.edition: {ADVANCED.name}, which has larger plans and standby nodes (docs/cost.md), or "
    "database.acceptPlan: true if DigitalOcean lets this account have it. A cluster that is there already would be "
    "replaced and lose its data: then take the change back"
)

# What a user accepts by a setting, named by its path in the settings: those of `accepted` in the stack's outputs.
ACCEPT_PLAN = "database.acceptPlan"
ACCEPT_NO_FAILOVER = "database.acceptNoFailover"

# Of Advanced nobody says whether it has pools (docs/adr/0012).
POOLS_UNKNOWN = (
    f"whether a cluster of the edition {ADVANCED.name} has connection pools is not known: DigitalOcean's specification "
    "says neither yes nor no (docs/adr/0012). If it refuses the pool, the edition "
    f"{STANDARD.name} is the one that has them"
)


def beyond_a_new_cluster(engine: str, memory_gib: int, nodes: int) -> Iterator[tuple[str, str]]:
    """Yield which of `size` and `nodes` a cluster that is made now can't have, and the rule that says so."""
    if engine != STANDARD.engine:
        return
    if memory_gib > NEW_STANDARD_GIB:
        yield "size", f"must be a plan of at most {NEW_STANDARD_GIB} GiB, {LIMITS}"
    if nodes > NEW_STANDARD_NODES:
        yield "nodes", f"must be {NEW_STANDARD_NODES}, {LIMITS}"
