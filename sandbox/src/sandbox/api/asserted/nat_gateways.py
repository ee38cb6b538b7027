"""What is asserted about VPC NAT gateways and Droplets without a public address, and why."""

from sandbox.api.asserted.assertion import assumed, docs, spec

_GATEWAY = "VPC NAT gateway"

NAT_GATEWAYS = (
    spec(_GATEWAY, "the answer to its creation is 202, without an address on either side", "responses/examples.yml"),
    spec(_GATEWAY, "its type is PUBLIC", "vpc_nat_gateway_create.yml"),
    assumed(
        _GATEWAY,
        "it is NEW until packets pass, then ACTIVE, or ERROR; never PROVISIONING",
        "How to Create a NAT Gateway has that in between, but the official provider would fail on it",
    ),
    docs(_GATEWAY, "a deletion is 202; it is DELETING until it is gone", "resource_vpc_nat_gateway.go of the provider"),
    docs(
        _GATEWAY,
        "one that isn't there is 404, nat gateway with id … not found",
        "resource_vpc_nat_gateway.go of the provider goes by these words",
    ),
    docs(_GATEWAY, "sizes are 1 to 16, each of 25 Mbit/s and 100 GiB a month", "VPC, features; not limited here"),
    docs(_GATEWAY, "it stands in one VPC; it has no IPv6", "VPC, limits"),
    docs(
        _GATEWAY,
        "names are unique, of letters, digits, dashes and periods",
        "Ansible's vpc_nat_gateway; 422 is assumed",
    ),
    docs(
        _GATEWAY,
        "without timeouts they are 30 s for UDP and ICMP, 300 s for TCP",
        "what doctl sends by itself; what the API takes without is assumed to be the same",
    ),
    docs(_GATEWAY, "one of a VPC is its default; another one that becomes it takes its place", "VPC, features"),
    docs(
        _GATEWAY,
        "what is sent to the VPC's own gateway address leaves by the default one",
        "How to Configure Droplets for NAT Gateway",
    ),
    docs(
        _GATEWAY,
        "a Droplet with a public address goes on leaving by that, also where there is a default one",
        "the same page: its routes are changed by hand",
    ),
    docs(_GATEWAY, "nobody outside begins a conversation with what is behind it", "VPC NAT Gateways, in the API"),
    assumed(_GATEWAY, "while it is there, its VPC can't be deleted: 409", "so it is with all that stands in one"),
    assumed(_GATEWAY, "it is not listed among the members of its VPC", "no type of it is named there"),
    assumed(
        _GATEWAY, "an update keeps the timeouts and VPCs that it does not name", "the provider sends null for VPCs"
    ),
    assumed(_GATEWAY, "another type, region or VPC is 422", "the description of an update has none of them"),
    assumed(_GATEWAY, "it may be deleted while Droplets need it", "nothing says that it is refused"),
    spec(
        "Droplet",
        "without public networking it has no public address, no IPv6, and no Reserved IP later",
        "droplets_create; that it is 422 is assumed",
    ),
    docs("Droplet", "without public networking its eth0 is in the VPC", "Private Droplets"),
    assumed(
        "Droplet",
        "without public networking it still asks the public resolver, by the NAT gateway",
        "Private Droplets says the VPC's own one, which the sandbox lacks",
    ),
    assumed("Droplet", "without public networking it reaches the metadata service by eth0", "cloud-init needs it"),
)
