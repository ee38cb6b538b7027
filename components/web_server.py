"""The Droplets that serve the app, installed by cloud-init alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components import account, digitalocean
from components.existing import Existing
from components.nat_gateway import NatGateway, NatGatewayArgs
from components.network import Network
from components.object_storage import ObjectStorage
from components.web_firewall import WebFirewall
from config.network import NetworkConfig
from config.stack import Edge
from config.web import WebConfig
from droplet.user_data import UserDataSpec, render_user_data
from provider.resources import AgentPackage, DiscardedKey
from sizing.budget import ConnectionBudget


@dataclass(frozen=True, kw_only=True, slots=True)
class WebServerArgs:
    """Of which size, where, and what the machine (not the release) is made of."""

    region: str
    domain: str
    edge: Edge
    settings: WebConfig
    access: NetworkConfig
    budget: ConnectionBudget
    network: Network
    storage: ObjectStorage
    existing: Existing
    firewall: WebFirewall


class WebServer(pulumi.ComponentResource):
    """Droplets that wait for a release as soon as they are installed."""

    droplet_ids: list[pulumi.Output[str]]
    # What the internet sees of Droplets without a public address.
    egress: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: WebServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:web_server:WebServer", name, None, opts)
        ssh_keys: list[pulumi.Input[str]] = [*args.access.ssh_keys]
        if not ssh_keys:
            # Without any key DigitalOcean sets a root password and mails it. Nobody holds the private half of this one.
            discarded = DiscardedKey(f"{name}-discarded-key", opts=pulumi.ResourceOptions(parent=self))
            key = digitalocean.SshKey(
                f"{name}-ssh-key", public_key=discarded.public_key, opts=pulumi.ResourceOptions(parent=self)
            )
            ssh_keys = [key.fingerprint]
        # Of itself, and not with the release: installation would wait for the database.
        package = AgentPackage(
            f"{name}-agent",
            bucket=args.storage.releases_bucket,
            region=args.region,
            opts=pulumi.ResourceOptions(parent=self),
        )
        user_data = self._user_data(args, package)
        self.egress, out = {}, []
        if not args.settings.public_network:
            way_out = NatGateway(
                name,
                NatGatewayArgs(region=args.region, vpc_id=args.network.vpc_id),
                opts=pulumi.ResourceOptions(parent=self),
            )
            self.egress, out = {"egress_ip_address": way_out.ip_address}, [way_out.gateway]
        refusal = args.existing.refusal("web", account.droplet_limit)
        droplets = [
            digitalocean.Droplet(
                # No explicit name: a replacement is then created before the old Droplet is deleted.
                f"{name}-web-{number}",
                region=args.region,
                size=args.settings.size,
                image=args.settings.image,
                vpc_uuid=args.network.vpc_id,
                ssh_keys=ssh_keys,
                tags=[args.network.tag, args.network.web_tag, args.network.edge_tag],
                monitoring=True,
                backups=args.settings.backups,
                user_data=user_data,
                # Behind a load balancer it is always said: unsaid, a Droplet without would stay so. A Droplet that
                # visitors come to directly never had to say it.
                public_networking=args.settings.public_network if args.edge == "balanced" else None,
                opts=self._options(args, number, out, refusal),
            )
            for number in range(1, args.settings.count + 1)
        ]

        self.droplet_ids = [droplet.id for droplet in droplets]
        self.register_outputs({"droplet_ids": self.droplet_ids})

    def _options(
        self, args: WebServerArgs, number: int, out: Sequence[pulumi.Resource], refusal: pulumi.ResourceOptions
    ) -> pulumi.ResourceOptions:
        options = pulumi.ResourceOptions(
            parent=self,
            # A Droplet never runs without its firewall; one without a public address installs itself by the way out.
            depends_on=[args.firewall, *out],
            # In place, all would be switched off at the same time.
            replace_on_changes=["size"] if args.settings.count > 1 else [],
        )
        # A preview makes none, so one is enough, and the last one is made whenever any is. An update asks before the
        # first is made: by the time of the last, the others would be there, and be counted twice.
        if pulumi.runtime.is_dry_run() and number < args.settings.count:
            return options
        return pulumi.ResourceOptions.merge(options, refusal)

    @staticmethod
    def _user_data(args: WebServerArgs, package: AgentPackage) -> pulumi.Output[str]:
        """Render the cloud-config once its buckets and key exist; secret, because the agent's key is in it."""
        known = pulumi.Output.all(
            releases_bucket=args.storage.releases_bucket,
            state_bucket=args.storage.state_bucket,
            assets_bucket=args.storage.assets_bucket,
            package=package.sha256,
            access_key=args.storage.agent_key.access_key,
            secret_key=args.storage.agent_key.secret_key,
        )

        def render(values: dict[str, str]) -> str:
            return render_user_data(
                UserDataSpec(
                    region=args.region,
                    domain=args.domain,
                    edge=args.edge,
                    vpc=args.access.cidr,
                    workers=args.budget.workers,
                    threads=args.budget.threads,
                    packages=args.settings.packages,
                    acme_email=args.settings.acme_email,
                    releases_bucket=values["releases_bucket"],
                    state_bucket=values["state_bucket"],
                    assets_bucket=values["assets_bucket"],
                    agent_package=values["package"],
                    agent_access_key=values["access_key"],
                    agent_secret_key=values["secret_key"],
                )
            )

        return pulumi.Output.secret(known.apply(render))
