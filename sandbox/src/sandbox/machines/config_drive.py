"""The config drive of a Droplet: what DigitalOcean tells cloud-init about it, as a seed folder."""

import ipaddress
import json

from sandbox.model.realiser import DropletSpec
from sandbox.network.namespaces import PUBLIC_PREFIX, gateway_of, mac_address
from sandbox.world.world import GATEWAY, RESOLVER

# The format is OpenStack's: https://docs.openstack.org/nova/latest/user/metadata.html
FOLDER = "var/lib/cloud/seed/config_drive/openstack/latest"


def render(spec: DropletSpec, mtu: int) -> dict[str, str]:
    """Files of the seed by path in the Droplet."""
    documents = {
        "meta_data.json": json.dumps(_meta_data(spec), indent=1),
        "network_data.json": json.dumps(_network_data(spec, mtu), indent=1),
    }
    if spec.user_data:
        documents["user_data"] = spec.user_data
    return {f"{FOLDER}/{name}": content for name, content in documents.items()}


def _meta_data(spec: DropletSpec) -> dict[str, object]:
    return {
        "uuid": str(spec.id),
        "hostname": spec.name,
        "name": spec.name,
        "availability_zone": spec.region,
        "public_keys": {str(index): key for index, key in enumerate(spec.public_keys)},
        "meta": {},
    }


def _network_data(spec: DropletSpec, mtu: int) -> dict[str, object]:
    private = ipaddress.ip_interface(f"{spec.private_ip}/{ipaddress.ip_network(spec.vpc_range).prefixlen}")
    if spec.public_ip is None:  # out by the VPC's gateway, where that leads
        networks = [_network("private", "eth0", private, [_default(gateway_of(spec.vpc_range))])]
    else:
        public = ipaddress.ip_interface(f"{spec.public_ip}/{PUBLIC_PREFIX}")
        networks = [
            _network("public", "eth0", public, [_default(GATEWAY)]),
            _network("private", "eth1", private, []),
        ]
    return {
        "links": [
            {"id": one["link"], "type": "phy", "ethernet_mac_address": mac_address(str(one["ip_address"])), "mtu": mtu}
            for one in networks
        ],
        "networks": networks,
        "services": [{"type": "dns", "address": RESOLVER}],
    }


def _default(gateway: str) -> dict[str, str]:
    return {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": gateway}  # noqa: S104 - a route, not a listener


def _network(
    name: str, link: str, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface, routes: list[dict[str, str]]
) -> dict[str, object]:
    return {
        "id": name,
        "type": "ipv4",
        "link": link,
        "ip_address": str(interface.ip),
        "netmask": str(interface.netmask),
        "routes": routes,
    }
