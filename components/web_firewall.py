"""The Cloud Firewall around the web Droplets."""

from dataclasses import dataclass

import pulumi

from components import digitalocean
from config.network import NetworkConfig
from config.stack import Edge

EVERYWHERE: tuple[str, ...] = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, kw_only=True, slots=True)
class WebFirewallArgs:
    """Which Droplets, what visitors come by, and from where SSH is open (nowhere when empty)."""

    edge: Edge
    edge_tag: pulumi.Input[str]
    access: NetworkConfig


class WebFirewall(pulumi.ComponentResource):
    """HTTP and HTTPS from everywhere, SSH from named addresses; by tag, so that later Droplets are covered at once.

    Behind a load balancer nobody comes by this one: what is open to the balancer is its own affair, since Droplets must
    not wait for it.
    """

    def __init__(self, name: str, args: WebFirewallArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:web_firewall:WebFirewall", name, None, opts)
        # (port, sources): 80 is for redirects, certificates and the health check.
        open_ports = [("80", EVERYWHERE), ("443", EVERYWHERE)] if args.edge == "direct" else []
        if args.access.ssh_from:
            open_ports.append(("22", args.access.ssh_from))
        digitalocean.Firewall(
            f"{name}-{args.edge}-firewall",
            tags=[args.edge_tag],
            inbound_rules=[
                digitalocean.FirewallInboundRuleArgs(protocol="tcp", port_range=port, source_addresses=list(sources))
                for port, sources in open_ports
            ],
            # A firewall without outbound rules lets nothing out. What an app calls is its own affair.
            outbound_rules=[
                digitalocean.FirewallOutboundRuleArgs(
                    protocol=protocol,
                    # "all" and not "1-65535": the API answers 0, which the provider reads back as "all".
                    port_range=None if protocol == "icmp" else "all",
                    destination_addresses=list(EVERYWHERE),
                )
                for protocol in ("tcp", "udp", "icmp")
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
