"""The Cloud Firewall around the web Droplets."""

from dataclasses import dataclass

import pulumi

from components import digitalocean

EVERYWHERE: tuple[str, ...] = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, kw_only=True, slots=True)
class WebFirewallArgs:
    """Which Droplets, and from where SSH is open (nowhere when empty)."""

    web_tag: pulumi.Input[str]
    ssh_from: tuple[str, ...]


class WebFirewall(pulumi.ComponentResource):
    """HTTP and HTTPS from everywhere, SSH from named addresses; by tag, so that later Droplets are covered at once."""

    def __init__(self, name: str, args: WebFirewallArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:web_firewall:WebFirewall", name, None, opts)
        # (port, sources): 80 is for redirects, certificates and the health check.
        open_ports = [("80", EVERYWHERE), ("443", EVERYWHERE)]
        if args.ssh_from:
            open_ports.append(("22", args.ssh_from))
        digitalocean.Firewall(
            f"{name}-firewall",
            tags=[args.web_tag],
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
