"""The resources of DigitalOcean's SDK that the stack is made of, each from its own module."""

from plugin_base.sdk import parts_of

# The SDK's 190 modules take 0.2 s more to import than these.
with parts_of("pulumi_digitalocean"):
    from pulumi_digitalocean._inputs import (
        DatabaseClusterMaintenanceWindowArgs,
        DatabaseClusterStorageAutoscaleArgs,
        DatabaseFirewallRuleArgs,
        FirewallInboundRuleArgs,
        FirewallOutboundRuleArgs,
        LoadBalancerForwardingRuleArgs,
        LoadBalancerHealthcheckArgs,
        MonitorAlertAlertsArgs,
        MonitorAlertAlertsSlackArgs,
        SpacesBucketCorsConfigurationCorsRuleArgs,
        SpacesKeyGrantArgs,
        VpcNatGatewayVpcArgs,
    )
    from pulumi_digitalocean.cdn import Cdn
    from pulumi_digitalocean.certificate import Certificate
    from pulumi_digitalocean.database_cluster import DatabaseCluster
    from pulumi_digitalocean.database_connection_pool import DatabaseConnectionPool
    from pulumi_digitalocean.database_db import DatabaseDb
    from pulumi_digitalocean.database_firewall import DatabaseFirewall
    from pulumi_digitalocean.database_user import DatabaseUser
    from pulumi_digitalocean.dns_record import DnsRecord
    from pulumi_digitalocean.domain import Domain
    from pulumi_digitalocean.droplet import Droplet
    from pulumi_digitalocean.firewall import Firewall
    from pulumi_digitalocean.load_balancer import LoadBalancer
    from pulumi_digitalocean.monitor_alert import MonitorAlert
    from pulumi_digitalocean.outputs import VpcNatGatewayEgress
    from pulumi_digitalocean.reserved_ip import ReservedIp
    from pulumi_digitalocean.reserved_ip_assignment import ReservedIpAssignment
    from pulumi_digitalocean.spaces_bucket import SpacesBucket
    from pulumi_digitalocean.spaces_bucket_cors_configuration import SpacesBucketCorsConfiguration
    from pulumi_digitalocean.spaces_key import SpacesKey
    from pulumi_digitalocean.ssh_key import SshKey
    from pulumi_digitalocean.tag import Tag
    from pulumi_digitalocean.vpc import Vpc
    from pulumi_digitalocean.vpc_nat_gateway import VpcNatGateway

__all__ = [
    "Cdn",
    "Certificate",
    "DatabaseCluster",
    "DatabaseClusterMaintenanceWindowArgs",
    "DatabaseClusterStorageAutoscaleArgs",
    "DatabaseConnectionPool",
    "DatabaseDb",
    "DatabaseFirewall",
    "DatabaseFirewallRuleArgs",
    "DatabaseUser",
    "DnsRecord",
    "Domain",
    "Droplet",
    "Firewall",
    "FirewallInboundRuleArgs",
    "FirewallOutboundRuleArgs",
    "LoadBalancer",
    "LoadBalancerForwardingRuleArgs",
    "LoadBalancerHealthcheckArgs",
    "MonitorAlert",
    "MonitorAlertAlertsArgs",
    "MonitorAlertAlertsSlackArgs",
    "ReservedIp",
    "ReservedIpAssignment",
    "SpacesBucket",
    "SpacesBucketCorsConfiguration",
    "SpacesBucketCorsConfigurationCorsRuleArgs",
    "SpacesKey",
    "SpacesKeyGrantArgs",
    "SshKey",
    "Tag",
    "Vpc",
    "VpcNatGateway",
    "VpcNatGatewayEgress",
    "VpcNatGatewayVpcArgs",
]
