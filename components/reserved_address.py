"""The address of a single Droplet: it stays when the Droplet is replaced."""

from dataclasses import dataclass

import pulumi

from components import digitalocean
from components.existing import Existing
from components.object_storage import ObjectStorage
from components.release import Release
from provider.resources import Member


@dataclass(frozen=True, kw_only=True, slots=True)
class ReservedAddressArgs:
    """Where the address is, and whether it must not be lost."""

    region: str
    storage: ObjectStorage
    existing: Existing
    protect: bool


class ReservedAddress(pulumi.ComponentResource):
    """A Reserved IP, which moves to the Droplet that serves the release."""

    ip_address: pulumi.Output[str]

    def __init__(self, name: str, args: ReservedAddressArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:reserved_address:ReservedAddress", name, None, opts)
        self._name, self._args = name, args
        address = digitalocean.ReservedIp(
            f"{name}-address",
            region=args.region,
            # It alone: what leads it to a Droplet is replaced with that.
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.existing.looked, protect=args.protect or None),
        )
        self.ip_address = address.ip_address
        self.register_outputs({"ip_address": self.ip_address})

    def serve_from(self, droplet_ids: list[pulumi.Output[str]], release: Release) -> list[pulumi.Resource]:
        """Lead visitors to the Droplet, once it has the release; return what others may wait for."""
        [droplet] = droplet_ids
        assignment = digitalocean.ReservedIpAssignment(
            f"{self._name}-assignment",
            ip_address=self.ip_address,
            droplet_id=droplet.apply(int),
            # Made anew, not moved, when the Droplet is replaced: the new one takes the address over in one step.
            # After the rollout: until then the old Droplet keeps the address, and serves.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[release]),
        )
        # Gone before the address is, when the site moves to another one: visitors keep their connections.
        member = Member(
            f"{self._name}-member-1",
            droplet_id=droplet,
            releases_bucket=self._args.storage.releases_bucket,
            state_bucket=self._args.storage.state_bucket,
            region=self._args.region,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[assignment]),
        )
        return [assignment, member]
