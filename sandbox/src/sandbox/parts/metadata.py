"""The metadata service of Droplets, 169.254.169.254: each one learns about itself, known by its address."""

import ipaddress
import logging
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.model.store import Resource, Store
from sandbox.network import namespaces
from sandbox.world import program, serving
from sandbox.world.supervisor import Program, Supervisor
from sandbox.world.world import GATEWAY, METADATA, RESOLVER, World, load

PROGRAM = "metadata"
PORT = 80
ROOT = "/metadata/v1"

logger = logging.getLogger("sandbox.metadata")


def start(world: World, supervisor: Supervisor) -> None:
    """Start the service in the router's namespace."""
    command = [sys.executable, "-m", "sandbox.parts.metadata", "--home", str(world.home)]
    supervisor.put(Program(name=PROGRAM, command=namespaces.in_namespace(namespaces.ROUTER, command), priority=60))


def find(store: Store, address: str) -> Resource | None:
    """Find the Droplet that a request comes from, by its public or private address."""
    for droplet in store.list("droplet"):
        if address in {droplet.private["public_ip"], droplet.private["private_ip"]}:
            return droplet
    return None


def document(store: Store, droplet: Resource) -> dict[str, Any]:
    """Describe a Droplet as `v1.json` does (docs: digitalocean.com, "Droplet metadata API")."""
    public_ip, private_ip = droplet.private["public_ip"], droplet.private["private_ip"]
    vpc = store.get("vpc", droplet.body["vpc_uuid"])
    interfaces = {}
    if public_ip is not None:
        public_mac = namespaces.mac_address(public_ip)
        interfaces["public"] = [_interface("public", public_mac, f"{public_ip}/{namespaces.PUBLIC_PREFIX}", GATEWAY)]
    if vpc is not None:
        prefix = ipaddress.ip_network(vpc.body["ip_range"]).prefixlen
        gateway = namespaces.gateway_of(vpc.body["ip_range"])
        private_mac = namespaces.mac_address(private_ip)
        interfaces["private"] = [_interface("private", private_mac, f"{private_ip}/{prefix}", gateway)]
    reserved = next(
        (ip.id for ip in store.list("reserved_ip") if (ip.body["droplet"] or {}).get("id") == int(droplet.id)), None
    )
    address: dict[str, Any] = {"ipv4": {"active": reserved is not None}}
    if reserved:
        address["ipv4"]["ip_address"] = reserved
    return {
        "droplet_id": int(droplet.id),
        "hostname": droplet.body["name"],
        "vendor_data": "",
        "user_data": droplet.private["user_data"],
        "public_keys": droplet.private["public_keys"],
        "region": droplet.body["region"]["slug"],
        "interfaces": interfaces,
        "floating_ip": address,
        "reserved_ip": address,
        "dns": {"nameservers": [RESOLVER]},
        "tags": droplet.body["tags"],
        "features": dict.fromkeys(droplet.body["features"], True),
    }


def answer(content: dict[str, Any], path: str) -> str | None:
    """Return the text for a path below /metadata/v1, None where there is nothing: an index, or a value."""
    names = {"droplet_id": "id", "user_data": "user-data", "vendor_data": "vendor-data", "public_keys": "public-keys"}
    node: Any = {names.get(key, key): value for key, value in content.items()}
    node["interfaces"] = {kind: [_as_paths(item) for item in items] for kind, items in node["interfaces"].items()}
    for part in filter(None, path.split("/")):
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            return None
    if isinstance(node, dict):
        return "\n".join(f"{key}/" if isinstance(value, dict | list) else key for key, value in node.items())
    if isinstance(node, list):
        # Interfaces are numbered; keys, tags and name servers are one a line.
        return "\n".join(f"{index}/" if isinstance(value, dict) else str(value) for index, value in enumerate(node))
    return str(node).lower() if isinstance(node, bool) else str(node)


def _as_paths(interface: dict[str, Any]) -> dict[str, Any]:
    """Name an interface's address as paths do: `address`, where v1.json says `ip_address`."""
    ipv4 = {"address" if key == "ip_address" else key: value for key, value in interface["ipv4"].items()}
    return interface | {"ipv4": ipv4}


def _interface(kind: str, mac: str, address: str, gateway: str) -> dict[str, Any]:
    interface = ipaddress.ip_interface(address)
    ipv4 = {"ip_address": str(interface.ip), "netmask": str(interface.netmask), "gateway": gateway}
    return {"ipv4": ipv4, "mac": mac, "type": kind}


def create_app(world: World) -> Starlette:
    """Build the service: each Droplet is told about itself, and nobody about another."""

    def describe(request: Request) -> Response:
        assert request.client is not None, "it is served by TCP"
        address = request.client.host
        logger.info("%s %s", address, request.url.path)
        if not world.database.exists():
            return PlainTextResponse("the API has no Droplets yet", HTTPStatus.SERVICE_UNAVAILABLE)
        store = Store(world.database, read_only=True)
        try:
            droplet = find(store, address)
            if droplet is None:
                return PlainTextResponse("not a Droplet", HTTPStatus.NOT_FOUND)
            content = document(store, droplet)
        finally:
            store.close()
        path = request.url.path
        if path == f"{ROOT}.json":
            return JSONResponse(content)
        text = answer(content, path.removeprefix(ROOT)) if path.startswith(ROOT) else None
        return PlainTextResponse("not found", HTTPStatus.NOT_FOUND) if text is None else PlainTextResponse(text)

    return Starlette(routes=[Route("/{path:path}", describe)])


@click.command()
@program.home_option
def main(home: Path) -> None:
    """Answer Droplets of the world in HOME about themselves."""
    program.log_to_output()
    serving.serve(create_app(load(home)), METADATA, PORT)


if __name__ == "__main__":
    main()
