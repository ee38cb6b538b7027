"""The metadata service of Droplets, 169.254.169.254: each one learns about itself, known by its address."""

import argparse
import ipaddress
import json
import logging
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sandbox.model.store import Resource, Store
from sandbox.network import namespaces
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
    public_mac, private_mac = namespaces.mac_addresses(public_ip, private_ip)
    vpc = store.get("vpc", droplet.body["vpc_uuid"])
    interfaces = {"public": [_interface("public", public_mac, f"{public_ip}/{namespaces.PUBLIC_PREFIX}", GATEWAY)]}
    if vpc is not None:
        prefix = ipaddress.ip_network(vpc.body["ip_range"]).prefixlen
        gateway = namespaces.gateway_of(vpc.body["ip_range"])
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


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: World

    def do_GET(self) -> None:
        """Answer the Droplet at the other end."""
        if not self.world.database.exists():
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, "the API has no Droplets yet")
            return
        store = Store(self.world.database, read_only=True)
        try:
            droplet = find(store, str(self.client_address[0]))
            if droplet is None:
                self._say(HTTPStatus.NOT_FOUND, "not a Droplet")
                return
            content = document(store, droplet)
        finally:
            store.close()
        if self.path == f"{ROOT}.json":
            self._say(HTTPStatus.OK, json.dumps(content), "application/json")
            return
        text = answer(content, self.path.removeprefix(ROOT)) if self.path.startswith(ROOT) else None
        if text is None:
            self._say(HTTPStatus.NOT_FOUND, "not found")
        else:
            self._say(HTTPStatus.OK, text)

    def _say(self, status: HTTPStatus, text: str, content_type: str = "text/plain; charset=utf-8") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        logger.info("%s %s", self.client_address[0], format % args)


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description="Answer Droplets about themselves.")
    parser.add_argument("--home", type=Path, required=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    _Handler.world = load(parser.parse_args().home)
    ThreadingHTTPServer((METADATA, PORT), _Handler).serve_forever()


if __name__ == "__main__":
    main()
