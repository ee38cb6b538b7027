"""What all routes of a Droplet share: its specification, its checks, and how its record changes."""

import re

from sandbox.api import errors
from sandbox.api.products import actions
from sandbox.model import plans
from sandbox.model.realiser import DropletSpec
from sandbox.model.store import Resource, Store

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")


def spec(store: Store, droplet: Resource) -> DropletSpec:
    """Collect what a Droplet's machine needs."""
    vpc = store.get("vpc", droplet.body["vpc_uuid"])
    assert vpc is not None, "a VPC with members can't be deleted"
    return DropletSpec(
        id=int(droplet.id),
        name=droplet.body["name"],
        region=droplet.body["region"]["slug"],
        size=droplet.body["size_slug"],
        image=droplet.body["image"]["slug"],
        memory_mib=droplet.body["memory"],
        vcpus=droplet.body["vcpus"],
        user_data=droplet.private["user_data"],
        public_keys=tuple(droplet.private["public_keys"]),
        tags=tuple(droplet.body["tags"]),
        public_ip=droplet.private["public_ip"],
        private_ip=droplet.private["private_ip"],
        vpc_id=vpc.id,
        vpc_range=vpc.body["ip_range"],
    )


def update(store: Store, droplet_id: str, **changes: object) -> None:
    """Change what is said of a Droplet, unless it has gone meanwhile."""
    droplet = store.get("droplet", droplet_id)
    if droplet is not None:
        store.put("droplet", droplet_id, droplet.body | changes)


def check_idle(store: Store, droplet: Resource) -> None:
    """Raise 422 while something is being done to a Droplet."""
    if droplet.private.get("deleting") or actions.pending(store, "droplet", droplet.id):
        raise errors.unprocessable("Droplet already has a pending event.")


def check_name(name: str) -> None:
    """Raise 422 for what is no host name."""
    if not _NAME.fullmatch(name):
        raise errors.unprocessable(
            f'name: Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -), got "{name}"'
        )


def plan(size: str) -> plans.DropletPlan:
    """Return a plan, or raise 422 for one that does not exist."""
    if size not in plans.DROPLET_PLANS:
        raise errors.unprocessable(f'size: must be one of {", ".join(plans.DROPLET_PLANS)}, got "{size}"')
    return plans.DROPLET_PLANS[size]
