"""The way out of Droplets that have no public address."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components import digitalocean

# Seconds that a connection may be idle: those that DigitalOcean's own client asks for.
TCP, UDP, ICMP = 300, 30, 30


@dataclass(frozen=True, kw_only=True, slots=True)
class NatGatewayArgs:
    """Where, and out of which VPC it leads."""

    region: str
    vpc_id: pulumi.Input[str]


class NatGateway(pulumi.ComponentResource):
    """The VPC's default gateway: what its private Droplets send to the internet leaves by it, under its address."""

    gateway: digitalocean.VpcNatGateway
    ip_address: pulumi.Output[str]  # what the internet sees; "" as long as it is not known

    def __init__(self, name: str, args: NatGatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:nat_gateway:NatGateway", name, None, opts)
        self.gateway = digitalocean.VpcNatGateway(
            f"{name}-nat-gateway",
            type="PUBLIC",
            region=args.region,
            size=1,  # 25 Mbit/s: for packages, Spaces and what the app calls; visitors don't come by it
            # From the beginning: the provider does not send what changes of it later.
            vpcs=[digitalocean.VpcNatGatewayVpcArgs(vpc_uuid=args.vpc_id, default_gateway=True)],
            tcp_timeout_seconds=TCP,
            udp_timeout_seconds=UDP,
            icmp_timeout_seconds=ICMP,
            opts=pulumi.ResourceOptions(parent=self),
        )

        self.ip_address = self.gateway.egresses.apply(_address)
        self.register_outputs({"ip_address": self.ip_address})


def _address(egresses: Sequence[digitalocean.VpcNatGatewayEgress] | None) -> str:
    """Return the gateway's address, "" while the state has none; nothing of the program goes by it.

    A gateway whose creation was cut short is in the state without it, until it is read again.
    """
    known = [public.ipv4 for egress in egresses or () for public in egress.public_gateways or () if public.ipv4]
    if not known:
        pulumi.log.warn(
            "egress_ip_address: is not known yet, since the NAT gateway was not ready when it was last looked at; "
            "`pulumi refresh` reads it, and the next `pulumi up` puts it out"
        )
    return ", ".join(known)
