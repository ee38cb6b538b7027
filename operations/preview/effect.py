"""One sentence about a change, how bad it is, and which setting is behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from operations.preview.events import Change


class Level(IntEnum):
    """How bad it is; the worst comes first in a report."""

    DATA_LOSS = 0
    OUTAGE = 1
    CARE = 2
    NOTE = 3


@dataclass(frozen=True, slots=True)
class Effect:
    """One sentence about one change."""

    level: Level
    text: str


# Input of a resource -> the setting that it comes from, or the resource that it follows.
SETTINGS = {
    ("DatabaseCluster", "engine"): "`database.edition`",
    ("DatabaseCluster", "name"): "`name`",
    ("DatabaseCluster", "privateNetworkUuid"): "the private network is a new one (`region` or `network.cidr`)",
    ("DatabaseCluster", "region"): "`region`",
    ("DatabaseCluster", "size"): "`database.size`",
    ("DatabaseCluster", "nodeCount"): "`database.nodes`",
    ("DatabaseCluster", "version"): "`database.version`",
    ("DatabaseCluster", "maintenanceWindows"): "`database.maintenance`",
    ("DatabaseCluster", "storageAutoscale"): "`database.storage`",
    ("DatabaseConnectionPool", "size"): "`pool.size`, or the plan that it follows",
    ("Droplet", "image"): "`web.image`",
    ("Droplet", "size"): "`web.size`",
    ("Droplet", "backups"): "`web.backups`",
    ("Droplet", "sshKeys"): "`network.sshKeys`",
    ("Droplet", "publicNetworking"): "`web.publicNetwork`",
    ("Droplet", "userData"): "what the machine is made of: `web.packages`, workers, threads, `domain`, cloud-init/",
    ("Droplet", "vpcUuid"): "the private network is a new one (`region` or `network.cidr`)",
    ("SpacesBucket", "region"): "`region`",
    ("DatabaseDb", "clusterId"): "its cluster is another one",
    ("DatabaseUser", "clusterId"): "its cluster is another one",
    ("DatabaseConnectionPool", "clusterId"): "its cluster is another one",
    ("Droplet", "region"): "`region`",
    ("ReservedIpAssignment", "dropletId"): "the Droplet is another one",
    ("Vpc", "ipRange"): "`network.cidr`",
    ("Vpc", "region"): "`region`",
    ("VpcNatGateway", "region"): "`region`",
    ("VpcNatGateway", "vpcs"): "the private network is a new one (`region` or `network.cidr`)",
    ("ReservedIp", "region"): "`region`",
    ("LoadBalancer", "region"): "`region`",
    ("LoadBalancer", "forwardingRules"): "the certificate is another one",
    ("Certificate", "domains"): "`domain`",
    ("Certificate", "leafCertificate"): "`web.certificate`",
    ("Droplet", "tags"): "`web.loadBalancer`",
    ("Domain", "name"): "`domain`",
    ("Cdn", "ttl"): "`storage.cdn.ttl`",
    ("SpacesBucketCorsConfiguration", "corsRules"): "`storage.cors`",
    ("DatabaseFirewall", "rules"): "`database.trustedSources`",
    ("Firewall", "inboundRules"): "`network.sshFrom`",
}


def because(change: Change) -> str:
    """Name the settings behind a change, as far as they can be told."""
    named = [
        SETTINGS.get((change.kind, reason.partition("[")[0].partition(".")[0]), reason) for reason in change.reasons
    ]
    return ", ".join(dict.fromkeys(named)) or "what it belongs to is replaced or gone"


def site(inputs: Mapping[str, Any]) -> str:
    """Return the site's name."""
    return str(inputs.get("url")).removeprefix("https://")


def renamed(probe: Change) -> bool:
    """Whether the site gets another name."""
    return probe.verb == "updated" and probe.old.get("url") != probe.new.get("url")
