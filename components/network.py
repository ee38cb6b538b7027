"""The private network, and the tags by which everything else refers to the stack's machines."""

from dataclasses import dataclass

import pulumi

from components import account, digitalocean
from components.existing import Existing
from config.stack import Edge


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkArgs:
    """Where the network is and how large."""

    region: str
    cidr: str
    edge: Edge
    existing: Existing


class Network(pulumi.ComponentResource):
    """A VPC, a tag for everything of the stack, one for its web Droplets, and one for those with the same edge."""

    vpc_id: pulumi.Output[str]
    cidr: pulumi.Output[str]
    tag: pulumi.Output[str]
    web_tag: pulumi.Output[str]
    edge_tag: pulumi.Output[str]  # firewalls and load balancers go by it: other machines come with another edge

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:network:Network", name, None, opts)
        vpc = digitalocean.Vpc(
            f"{name}-vpc",
            region=args.region,
            ip_range=args.cidr,
            # Members linger for minutes after their own deletion, and until then DigitalOcean answers 409
            # (digitalocean/terraform-provider-digitalocean#488).
            opts=pulumi.ResourceOptions.merge(
                pulumi.ResourceOptions(parent=self, custom_timeouts=pulumi.CustomTimeouts(delete="15m")),
                args.existing.refusal("vpc", account.network, first=True, ahead=account.untagged_cluster),
            ),
        )
        args.existing.registered("vpc", vpc)
        # Tags are named explicitly: firewalls and trusted sources go by name, and a new name would open a gap.
        web_tag = digitalocean.Tag(
            f"{name}-web-tag",
            name=f"{name}-web",
            opts=pulumi.ResourceOptions.merge(
                pulumi.ResourceOptions(parent=self, depends_on=args.existing.looked),
                args.existing.refusal("web-tag", account.tag),
            ),
        )
        edge_tag = digitalocean.Tag(
            f"{name}-{args.edge}-tag",
            name=f"{name}-{args.edge}",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[web_tag]),
        )
        # The cluster has this tag, and its trusted sources name the other one: so that goes after the cluster, too.
        tag = digitalocean.Tag(f"{name}-tag", name=name, opts=pulumi.ResourceOptions(parent=self, depends_on=[web_tag]))

        self.vpc_id = vpc.id
        self.cidr = vpc.ip_range
        self.tag = tag.name
        self.web_tag = web_tag.name
        self.edge_tag = edge_tag.name
        self.register_outputs({"vpc_id": self.vpc_id, "tag": self.tag, "web_tag": self.web_tag})
