"""The last step: the address moves to a Droplet that serves the release, and the public URL is checked."""

from dataclasses import dataclass
from typing import Literal

import pulumi

from components import digitalocean
from components.public_address import PublicAddress
from components.release import Release
from provider.resources import Probe


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicationArgs:
    """What is published, on which Droplets, under which address and name."""

    region: str
    url: str
    dns: Literal["managed", "external"]
    address: PublicAddress
    droplet_ids: list[pulumi.Output[str]]
    releases_bucket: pulumi.Input[str]
    release: Release


class Publication(pulumi.ComponentResource):
    """A release that the public URL serves; only then is it recorded as the last good one."""

    release: pulumi.Output[str]
    pending: pulumi.Output[str]  # what is left to do by hand with dns "external", else empty

    def __init__(self, name: str, args: PublicationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:publication:Publication", name, None, opts)
        assignment = digitalocean.ReservedIpAssignment(
            f"{name}-assignment",
            ip_address=args.address.ip_address,
            droplet_id=args.droplet_ids[0].apply(int),
            # Made anew, not moved, when the Droplet is replaced: the new one takes the address over in one step.
            # After the rollout: until then the old Droplet keeps the address, and serves.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[args.release]),
        )
        probe = Probe(
            f"{name}-probe",
            url=args.url,
            dns=args.dns,
            address=args.address.ip_address,
            region=args.region,
            releases_bucket=args.releases_bucket,
            release=args.release.release,
            artifact=args.release.artifact,
            sha256=args.release.sha256,
            environment=args.release.environment,
            droplet_ids=args.droplet_ids,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[assignment, args.address]),
        )

        self.release = probe.release
        self.pending = probe.pending
        self.register_outputs({"release": self.release})
