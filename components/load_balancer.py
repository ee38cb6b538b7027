"""The load balancer before the Droplets: TLS ends here, and who does not answer gets nobody."""

from dataclasses import dataclass

import pulumi

from components import digitalocean
from components.network import Network
from components.object_storage import ObjectStorage
from components.public_name import PublicName
from components.release import Release
from config.certificate import CertificateConfig
from config.loading import provider_setting
from protocol import health
from provider.resources import BalancerEnd, Member


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadBalancerArgs:
    """Where, for which name and Droplets, and the certificate, unless DigitalOcean obtains one."""

    region: str
    domain: str
    network: Network
    storage: ObjectStorage
    public_name: PublicName
    certificate: CertificateConfig | None
    protect_address: bool  # others have written it down


class LoadBalancer(pulumi.ComponentResource):
    """Takes visitors in over HTTPS, and hands them to the Droplets with the tag over HTTP, within the VPC."""

    ip_address: pulumi.Output[str]

    def __init__(self, name: str, args: LoadBalancerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:load_balancer:LoadBalancer", name, None, opts)
        self._name, self._args = name, args
        here = pulumi.ResourceOptions(parent=self)
        # What else is here is replaced with certificates and Droplets: protected, it would refuse that.
        address = pulumi.ResourceOptions(parent=self, protect=args.protect_address or None)
        balancer = self._balancer(address)
        firewall = digitalocean.Firewall(
            f"{name}-balancer-firewall",
            tags=[args.network.edge_tag],
            inbound_rules=[
                digitalocean.FirewallInboundRuleArgs(
                    protocol="tcp", port_range="80", source_load_balancer_uids=[balancer.id]
                )
            ],
            opts=here,
        )
        # The engine deletes what depends on others before them: this, the firewall, the balancer.
        end = BalancerEnd(
            f"{name}-balancer-end",
            balancer_id=balancer.id,
            elsewhere=bool(provider_setting("token") or provider_setting("apiEndpoint")),
            opts=pulumi.ResourceOptions.merge(address, pulumi.ResourceOptions(depends_on=[firewall])),
        )

        # What is led here goes before the end does: a `destroy` that stops at a protected record has ended nothing.
        self.ip_address = pulumi.Output.all(balancer.ip, end.id).apply(lambda known: _address(known[0]))
        self.register_outputs({"ip_address": self.ip_address})

    def _balancer(self, opts: pulumi.ResourceOptions) -> digitalocean.LoadBalancer:
        """Make it, with its certificate."""
        args, certificate = self._args, self._certificate()
        return digitalocean.LoadBalancer(
            f"{self._name}-balancer",
            region=args.region,
            vpc_uuid=args.network.vpc_id,
            droplet_tag=args.network.edge_tag,
            size_unit=1,
            forwarding_rules=[
                digitalocean.LoadBalancerForwardingRuleArgs(
                    entry_protocol="http2",  # and HTTP/1.1 for who does not speak it
                    entry_port=443,
                    target_protocol="http",
                    target_port=80,
                    certificate_name=certificate.name,
                ),
                digitalocean.LoadBalancerForwardingRuleArgs(
                    entry_protocol="http", entry_port=80, target_protocol="http", target_port=80
                ),
            ],
            redirect_http_to_https=True,
            tls_cipher_policy="STRONG",
            healthcheck=digitalocean.LoadBalancerHealthcheckArgs(
                protocol="http",
                port=80,
                path=health.CHECK_PATH,
                check_interval_seconds=health.CHECK_SECONDS,
                response_timeout_seconds=health.ANSWER_SECONDS,
                unhealthy_threshold=health.FAILURES,
                healthy_threshold=health.SUCCESSES,
            ),
            # The name is moved here by a record of our own, once this serves.
            disable_lets_encrypt_dns_records=True,
            opts=opts,
        )

    def _certificate(self) -> digitalocean.Certificate:
        """Make the user's own, or one that DigitalOcean obtains and renews."""
        own = self._args.certificate
        if own is None:
            return digitalocean.Certificate(
                f"{self._name}-certificate",
                type="lets_encrypt",
                domains=[self._args.domain],
                # It is proved by records in the zone, so it can be had before anything serves.
                opts=pulumi.ResourceOptions(parent=self, depends_on=self._args.public_name.zone),
            )
        leaf, *intermediates = own.certificates
        return digitalocean.Certificate(
            f"{self._name}-certificate",
            type="custom",
            leaf_certificate=pulumi.Output.secret(leaf),
            certificate_chain=pulumi.Output.secret("".join(intermediates)) if intermediates else None,
            private_key=pulumi.Output.secret(own.private_key.get_secret_value()),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def serve_from(self, droplet_ids: list[pulumi.Output[str]], release: Release) -> list[pulumi.Resource]:
        """Take each Droplet out before it is deleted: it comes in by its tag; return what others may wait for."""
        storage = self._args.storage
        return [
            Member(
                f"{self._name}-member-{number}",
                droplet_id=droplet,
                releases_bucket=storage.releases_bucket,
                state_bucket=storage.state_bucket,
                region=self._args.region,
                # Not after the balancer: what depends on it is deleted before it, and it would stand without Droplets.
                opts=pulumi.ResourceOptions(parent=self, depends_on=[release]),
            )
            for number, droplet in enumerate(droplet_ids, 1)
        ]


def _address(ip: str | None) -> str:
    """Return the balancer's address; one whose creation was cut short has none in the state until it is read again."""
    if not ip:
        raise pulumi.RunError(
            "web.loadBalancer: the load balancer has no address, since it was not ready when it was last looked at; "
            "once it is active, run `pulumi refresh`, then `pulumi up`"
        )
    return ip
