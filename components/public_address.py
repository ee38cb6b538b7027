"""The address that the site keeps for life, and the name that leads to it."""

from dataclasses import dataclass
from typing import Literal

import pulumi

from components import account, digitalocean
from components.existing import Existing

TTL = 60  # seconds, so that a move to another address is quick; DigitalOcean takes 30 and more


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicAddressArgs:
    """Where the address is, and whether its name is kept at DigitalOcean or elsewhere."""

    region: str
    domain: str
    dns: Literal["managed", "external"]
    existing: Existing


class PublicAddress(pulumi.ComponentResource):
    """A Reserved IP, and with managed DNS a domain whose apex is an A record with it."""

    ip_address: pulumi.Output[str]

    def __init__(self, name: str, args: PublicAddressArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:public_address:PublicAddress", name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        existing = args.existing
        if args.dns == "managed":
            domain = digitalocean.Domain(
                f"{name}-domain",
                name=args.domain,
                opts=pulumi.ResourceOptions.merge(here, existing.refusal("domain", account.zone, first=True)),
            )
            existing.registered("domain", domain)
        address = digitalocean.ReservedIp(
            f"{name}-address",
            region=args.region,
            opts=pulumi.ResourceOptions(parent=self, depends_on=existing.looked),
        )
        if args.dns == "managed":
            digitalocean.DnsRecord(
                f"{name}-record",
                domain=domain.name,
                type="A",
                name="@",
                value=address.ip_address,
                ttl=TTL,
                opts=pulumi.ResourceOptions.merge(here, existing.refusal("record", account.record)),
            )

        self.ip_address = address.ip_address
        self.register_outputs({"ip_address": self.ip_address})
