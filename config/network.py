"""The section `network`."""

from ipaddress import IPv4Network
from typing import Annotated

from pydantic import AfterValidator, Field

from config.section import Section
from config.values import Network4, Unique, network_around, pattern, wrong

DEFAULT_CIDR = "10.20.0.0/20"
PRIVATE_RANGES = (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"))
# DigitalOcean's own, in all regions (its VPC documentation; its release notes of 7 March 2025 for the last one).
RESERVED_RANGES = (
    IPv4Network("10.244.0.0/16"),
    IPv4Network("10.245.0.0/16"),
    IPv4Network("10.246.0.0/24"),
    IPv4Network("10.229.0.0/16"),
)


def is_private(network: IPv4Network) -> bool:
    """Whether all of a network is of a private range (RFC 1918)."""
    return any(network.subnet_of(private) for private in PRIVATE_RANGES)


def _vpc_range(value: str) -> str:
    try:
        network = IPv4Network(value)
    except ValueError:
        raise wrong("cidr", "must be an IPv4 CIDR without host bits", network_around(value)) from None
    if not is_private(network) or not 16 <= network.prefixlen <= 28:  # noqa: PLR2004 the sizes a VPC may have, by DigitalOcean's API
        raise wrong(
            "cidr", "must be a private range (RFC 1918) between /16 and /28", f"choose one such as {DEFAULT_CIDR}"
        )
    for reserved in RESERVED_RANGES:
        if network.overlaps(reserved):
            rule = "must not overlap {reserved}, which DigitalOcean keeps for itself"
            raise wrong("cidr", rule, f"choose another, such as {DEFAULT_CIDR}", reserved=str(reserved))
    return str(network)


SshKeyName = Annotated[
    str, pattern(r"[0-9a-f]{2}(:[0-9a-f]{2}){15}|[1-9]\d*", "a fingerprint (16 pairs of hex digits) or an id")
]


class NetworkConfig(Section):
    """The private network, and who may log in to its machines."""

    cidr: Annotated[str, AfterValidator(_vpc_range)] = Field(
        default=DEFAULT_CIDR,
        description="the VPC's range; it must not overlap another VPC of the account",
    )
    ssh_from: Annotated[tuple[Network4, ...], Unique] = Field(
        default=(), description="addresses that may open SSH; none by default"
    )
    ssh_keys: Annotated[tuple[SshKeyName, ...], Unique] = Field(
        default=(), description="fingerprints or ids of the account's SSH keys"
    )
