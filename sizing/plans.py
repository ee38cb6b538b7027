"""What a plan provides: memory and CPUs by its name, backend connections by its memory."""

import re
from dataclasses import dataclass

from sizing.editions import EDITIONS

# PostgreSQL takes 25 backend connections per GiB, of which DigitalOcean keeps 3 for itself, up to 1,000 in all.
# Source: DigitalOcean OpenAPI, connection_pool.yml; the limits page of Managed PostgreSQL for the cap. Both speak of
# Standard; that Advanced has the same limits, and pools at all, is assumed.
CONNECTIONS_PER_GIB = 25
CONNECTIONS_CAP = 1000

# What a Droplet is told when it is made: https://docs.digitalocean.com/reference/api/ droplets_create, user_data.
USER_DATA_LIMIT = 64 * 1024  # bytes

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
