"""The site's name, where DigitalOcean keeps it, and the record that leads to the address."""

from dataclasses import dataclass
from typing import Literal

import pulumi

from components import account, digitalocean
from components.existing import Existing

TTL = 60  # seconds, so that a move to another address is quick; DigitalOcean takes 30 and more


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicNameArgs:
    """The name, and whether it is kept at DigitalOcean or elsewhere."""

    domain: str
    dns: Literal["managed", "external"]
    existing: Existing


class PublicName(pulumi.ComponentResource):
    """A domain at DigitalOcean, with managed DNS; else nothing."""

    def __init__(self, name: str, args: PublicNameArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:public_name:PublicName", name, None, opts)
        self._name, self._existing = name, args.existing
        self.zone: list[digitalocean.Domain] = []  # none where others keep the name
        if args.dns == "managed":
            first = args.existing.refusal("domain", account.zone, first=True)
            domain = digitalocean.Domain(
                f"{name}-domain",
                name=args.domain,
                opts=pulumi.ResourceOptions.merge(pulumi.ResourceOptions(parent=self), first),
            )
            args.existing.registered("domain", domain)
            self.zone = [domain]
        self.register_outputs({})

    def lead_to(self, address: pulumi.Input[str]) -> pulumi.Resource:
        """Let the name lead to an address; return what others may wait for."""
        if not self.zone:
            return self
        return digitalocean.DnsRecord(
            f"{self._name}-record",
            domain=self.zone[0].name,
            type="A",
            name="@",
            value=address,
            ttl=TTL,
            opts=pulumi.ResourceOptions.merge(
                pulumi.ResourceOptions(parent=self), self._existing.refusal("record", account.record)
            ),
        )
