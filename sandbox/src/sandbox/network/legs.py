"""The namespace of something that stands in two networks and has no system of its own to set its addresses."""

import ipaddress

from sandbox.network import namespaces
from sandbox.world.world import GATEWAY


def add(name: str, *, public_ip: str, private_ip: str, vpc_range: str, mtu: int) -> None:
    """Make a machine's namespace with both links up; one that is there already is kept."""
    namespace = namespaces.machine_namespace(name)
    if namespace in namespaces.namespaces():
        return
    namespaces.add_machine(name, public_ip=public_ip, private_ip=private_ip, vpc_range=vpc_range, mtu=mtu)
    try:
        _configure(namespace, public_ip, private_ip, ipaddress.ip_network(vpc_range).prefixlen)
    except namespaces.NetworkError:
        namespaces.remove_machine(name)  # half of one would be taken for whole the next time
        raise


def _configure(namespace: str, public_ip: str, private_ip: str, prefix: int) -> None:
    namespaces.sysctl(namespace, {"net/ipv6/conf/all/disable_ipv6": "1"})
    namespaces.command(
        ["ip", "-n", namespace, "-batch", "-"],
        text=(
            f"addr add {public_ip}/{namespaces.PUBLIC_PREFIX} dev eth0\n"
            "link set eth0 up\n"
            f"route add default via {GATEWAY} dev eth0\n"
            f"addr add {private_ip}/{prefix} dev eth1\n"
            "link set eth1 up\n"
        ),
    )
