"""The last step: visitors are led to Droplets that serve the release, and the public URL is checked."""

from dataclasses import dataclass
from typing import Literal

import pulumi

from components.existing import Existing
from components.public_name import TTL, PublicName
from components.release import Release
from components.way_in import WayIn
from config.stack import Edge
from provider.resources import Handover, NewAddress, Probe


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicationArgs:
    """What is published, on which Droplets, behind what and under which name."""

    region: str
    url: str
    dns: Literal["managed", "external"]
    dns_patience: int
    edge: Edge
    address: WayIn
    public_name: PublicName
    existing: Existing
    droplet_ids: list[pulumi.Output[str]]
    releases_bucket: pulumi.Input[str]
    release: Release


class Publication(pulumi.ComponentResource):
    """A release that the public URL serves; only then is it recorded as the last good one.

    A site that has another address than before (a load balancer for a Reserved IP, say) moves there once the new one
    serves, and the old one serves until nobody is led to it any more: what is old, the engine deletes after all else.
    """

    release: pulumi.Output[str]
    pending: pulumi.Output[str]  # what is left to do by hand with dns "external", else empty

    def __init__(self, name: str, args: PublicationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:publication:Publication", name, None, opts)
        serving = args.address.serve_from(args.droplet_ids, args.release)
        # At first the name is made beside all else: a Droplet obtains its certificate by it.
        moves = args.existing.own.apply(lambda own: own.get("edge", args.edge) != args.edge)
        new = NewAddress(
            f"{name}-new-address",
            url=args.url,
            address=args.address.ip_address,
            region=args.region,
            release=moves.apply(lambda it_does: args.release.release if it_does else ""),
            ttl=TTL,
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=moves.apply(lambda it_does: serving if it_does else [])
            ),
        )
        record = args.public_name.lead_to(new.address)
        handover = Handover(
            f"{name}-handover",
            url=args.url,
            address=new.address,
            before=new.before,
            dns=args.dns,
            droplet_ids=args.droplet_ids,
            old_is_asked_for=new.old_is_asked_for,
            patience=args.dns_patience,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[record]),
        )
        probe = Probe(
            f"{name}-probe",
            url=args.url,
            dns=args.dns,
            edge=args.edge,
            address=args.address.ip_address,
            region=args.region,
            releases_bucket=args.releases_bucket,
            release=args.release.release,
            artifact=args.release.artifact,
            sha256=args.release.sha256,
            environment=args.release.environment,
            droplet_ids=args.droplet_ids,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[handover, *serving]),
        )

        self.release = probe.release
        self.pending = probe.pending
        self.register_outputs({"release": self.release})
