"""A Droplet of a full world without a public address: who reaches it, and how it gets out by a NAT gateway."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sandbox.machines import machine
from sandbox.machines.machine import Machine
from sandbox.network import namespaces
from sandbox.network.packet_filter import droplet_machine, nat_machine
from sandbox.tests.test_world_full import Api, eventually, fetch
from sandbox.world.world import World

pytestmark = pytest.mark.full

PATH = "/vpc_nat_gateways"
# Port 80 says who asks.
SERVER = """
import http.server

class Who(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.client_address[0].encode())
    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer(("", 80), Who).serve_forever()
"""
USER_DATA = "#cloud-config\n" + json.dumps(
    {
        "write_files": [{"path": "/root/server.py", "content": SERVER}],
        "runcmd": [["systemd-run", "--unit=who", "--collect", "python3", "/root/server.py"]],
    }
)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A VPC with its way out, a Droplet that has a public address, and one that has none."""

    api: Api
    world: World
    body: dict[str, object]  # that made the gateway
    gateway_id: str
    address: str  # of the gateway, in the internet
    public: Machine
    private: Machine


def made(api: Api, body: dict[str, object]) -> tuple[str, str]:
    """Id and public address of a gateway, as soon as packets pass."""
    gateway_id = api("POST", PATH, body)["vpc_nat_gateway"]["id"]

    def active() -> bool:
        return bool(api("GET", f"{PATH}/{gateway_id}")["vpc_nat_gateway"]["state"] == "ACTIVE")

    eventually("it is active", active)
    found = api("GET", f"{PATH}/{gateway_id}")["vpc_nat_gateway"]
    return gateway_id, found["egresses"]["public_gateways"][0]["ipv4"]


def gone(api: Api) -> bool:
    """Whether no gateway is left."""
    return not api("GET", PATH)["vpc_nat_gateways"]


@pytest.fixture(scope="module")
def network(full_world: World) -> Iterator[Network]:
    """The gateway first, then the Droplets; destroyed at the end."""
    api = Api(full_world)
    vpc = api("POST", "/vpcs", {"name": "private", "region": "nyc3", "ip_range": "10.96.0.0/20"})["vpc"]
    body: dict[str, object] = {"name": "way-out", "type": "PUBLIC", "region": "nyc3", "size": 1}
    body |= {"vpcs": [{"vpc_uuid": vpc["id"], "default_gateway": True}], "tcp_timeout_seconds": 120}
    gateway_id, address = made(api, body)
    fields = {"region": "nyc3", "size": "s-1vcpu-512mb-10gb", "image": "debian-13-x64", "vpc_uuid": vpc["id"]}
    fields |= {"user_data": USER_DATA}
    ids = [
        api("POST", "/droplets", fields | {"name": name, "public_networking": name == "public"})["droplet"]["id"]
        for name in ("public", "private")
    ]
    for number in ids:
        path = f"/droplets/{number}"
        eventually("it is active", lambda path=path: api("GET", path)["droplet"]["status"] == "active")
    public, private = (machine.load_machine(full_world, droplet_machine(number)) for number in ids)
    for each in (public, private):
        each.wait_booted()
        assert "status: done" in each.run(["cloud-init", "status", "--wait"], timeout=120).stdout
    eventually("the private one serves", lambda: fetch(public, private.hardware.private_ip) == "200")
    yield Network(
        api=api, world=full_world, body=body, gateway_id=gateway_id, address=address, public=public, private=private
    )
    for number in ids:
        api("DELETE", f"/droplets/{number}")
    eventually("they are gone", lambda: not {d["id"] for d in api("GET", "/droplets")["droplets"]} & set(ids))
    for found in api("GET", PATH)["vpc_nat_gateways"]:
        api("DELETE", f"{PATH}/{found['id']}")
    eventually("the gateway is gone", lambda: gone(api))
    api("DELETE", f"/vpcs/{vpc['id']}")


def asked(where: Machine, address: str) -> str:
    """Who is asking, says the machine that is asked."""
    return where.run(["curl", "-sS", "-m", "5", f"http://{address}/"]).stdout


def test_it_has_one_address(network: Network) -> None:
    """On eth0, and by cloud-init; the metadata service says the same, and the public Droplet has two."""
    shown = json.loads(network.private.run(["ip", "-j", "-4", "addr", "show", "scope", "global"]).stdout)
    assert [(one["ifname"], one["addr_info"][0]["local"]) for one in shown] == [
        ("eth0", network.private.hardware.private_ip)
    ]
    metadata = json.loads(network.private.run(["curl", "-sS", "http://169.254.169.254/metadata/v1.json"]).stdout)
    assert metadata["interfaces"].keys() == {"private"}
    assert metadata["interfaces"]["private"][0]["ipv4"]["ip_address"] == network.private.hardware.private_ip
    status = json.loads(network.private.run(["cloud-init", "status", "--long", "--format", "json"]).stdout)
    assert (status["errors"], status["recoverable_errors"]) == ([], {})


def test_the_internet_sees_the_gateway(network: Network) -> None:
    """In the place of a Droplet without a public address; one that has its own goes out by that."""
    public_ip = network.public.hardware.public_ip
    assert public_ip is not None
    assert asked(network.private, public_ip) == network.address
    assert network.private.run(["curl", "-sS", "-m", "5", "https://api.digitalocean.com/v2/"]).stdout
    way = network.public.run(["ip", "-j", "route", "get", network.address]).stdout
    assert json.loads(way)[0]["prefsrc"] == public_ip


def test_names_are_found(network: Network) -> None:
    """By the resolver, which is out in the internet."""
    done = network.private.run(["getent", "hosts", "api.digitalocean.com"])
    assert done.stdout.split()[0] == namespaces.GATEWAY


def test_within_the_vpc_nothing_is_translated(network: Network) -> None:
    """Both see each other's private address."""
    private, public = network.private.hardware.private_ip, network.public.hardware.private_ip
    assert asked(network.private, public) == private
    assert asked(network.public, private) == public


def test_nobody_comes_in_by_the_gateway(network: Network) -> None:
    """Neither to its address, nor to what is behind it."""
    assert fetch(network.world, network.address) == "000"
    assert fetch(network.world, network.private.hardware.private_ip) == "000"
    public_ip = network.public.hardware.public_ip
    assert public_ip is not None
    assert fetch(network.world, public_ip) == "200", "a control: that one is in the internet"


def test_idle_connections_end_when_it_was_said(network: Network) -> None:
    """The kernel's own limits of the gateway are those of the API."""
    namespace = namespaces.machine_namespace(nat_machine(network.gateway_id))
    read = ["cat", "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established"]
    assert namespaces.command(namespaces.in_namespace(namespace, read)).strip() == "120"


def test_without_a_gateway_there_is_no_way_out(network: Network) -> None:
    """Not even to what is on the router itself; with another one there is, and the Droplet need not know."""
    network.api("DELETE", f"{PATH}/{network.gateway_id}")
    eventually("the gateway is gone", lambda: gone(network.api))
    public_ip = network.public.hardware.public_ip
    assert public_ip is not None
    assert fetch(network.private, public_ip) == "000"
    assert fetch(network.private, namespaces.GATEWAY) == "000"
    assert fetch(network.public, network.private.hardware.private_ip) == "200", "a control: it is there"

    _, address = made(network.api, network.body)
    assert asked(network.private, public_ip) == address


def test_another_default_takes_over(network: Network) -> None:
    """And comes back when its namespace was lost, as soon as the API applies what there is."""
    _, address = made(network.api, network.body | {"name": "second"})
    [first, second] = network.api("GET", PATH)["vpc_nat_gateways"]
    defaults = [gateway["vpcs"][0]["default_gateway"] for gateway in (first, second)]
    assert defaults == [False, True]
    public_ip = network.public.hardware.public_ip
    assert public_ip is not None
    assert asked(network.private, public_ip) == address
    namespaces.remove_machine(nat_machine(second["id"]))
    assert fetch(network.private, public_ip) == "000"
    network.api("PUT", f"{PATH}/{second['id']}", {"name": "second", "size": 1})
    assert asked(network.private, public_ip) == address
