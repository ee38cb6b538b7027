"""A loopback proxy that leads to the world's names and addresses, and to nothing else."""

import asyncio
import contextlib
import logging
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import click

from sandbox.model.store import Store
from sandbox.model.topology import Topology
from sandbox.model.topology_of import topology
from sandbox.network import inside
from sandbox.world import ports, program
from sandbox.world.world import ACME_HOST, API_HOST, CLOUD_HOST, GATEWAY, SPACES_DOMAIN, World, load

logger = logging.getLogger("sandbox.proxy")

_HTTP, _HTTPS = 80, 443
_MAX_HEAD = 64 * 1024  # bytes of a request's head
_CONNECT_TIMEOUT = 10.0  # seconds
_CHUNK = 64 * 1024
_OUR_HEADERS = re.compile(rb"(?im)^(proxy-[^:\r\n]*|connection|keep-alive):.*\r\n")
_MAX_ALIASES = 8


class _RefusedError(Exception):
    """A destination outside the world, or one that isn't there at this depth."""


def destination(world: World, shape: Topology, host: str, port: int) -> tuple[str, int] | None:
    """Return the address that serves a host name or address of the world, or None for anything else."""
    host = host.lower().rstrip(".")
    if host in {API_HOST, CLOUD_HOST, SPACES_DOMAIN} or host.endswith(f".{SPACES_DOMAIN}"):
        if world.depth == "full":
            return GATEWAY, port
        at_api = host in {API_HOST, CLOUD_HOST}
        served = {_HTTPS: "api"} if at_api else {_HTTPS: "spaces", _HTTP: "spaces-http"}
        return ("127.0.0.1", ports.reserve(world, served[port])) if port in served else None
    if host == ACME_HOST:
        return (GATEWAY, port) if world.depth == "full" else None
    address = _address(shape, host)
    if address is None or world.depth == "full":
        return (address, port) if address else None
    listener = ports.known(world).get(_listener(shape, address, port))
    return ("127.0.0.1", listener) if listener else None


def _listener(shape: Topology, address: str, port: int) -> str:
    """Return the name of the loopback port that stands for a port of a simulated balancer or node."""
    for balancer in shape.load_balancers:
        if balancer.public_ip == address:
            return f"balancer-{balancer.id}-{port}"
    return f"node-{_droplet_at(shape, address)}-{'https' if port == _HTTPS else 'http' if port == _HTTP else port}"


def _address(shape: Topology, host: str) -> str | None:
    """Return the world's address that a name stands for; addresses stand for themselves."""
    records = {record.name: record for record in shape.records if record.type in {"A", "CNAME"}}
    for _ in range(_MAX_ALIASES):
        record = records.get(host)
        if record is None:
            break
        host = record.data
    balancers = {balancer.public_ip for balancer in shape.load_balancers}
    return host if host in balancers or _droplet_at(shape, host) is not None else None


def _droplet_at(shape: Topology, address: str) -> int | None:
    for reserved in shape.reserved_ips:
        if reserved.ip == address:
            return reserved.droplet_id
    for droplet in shape.droplets:
        if droplet.public_ip == address:
            return droplet.id
    return None


class Proxy:
    """CONNECT and absolute-form requests, by the routing table above."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._store = Store(world.database, read_only=True)

    async def serve(self, listener: socket.socket) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_server(self._client, sock=listener, limit=_MAX_HEAD)
        async with server:
            await server.serve_forever()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await self._relay(head, reader, writer)
        except _RefusedError as refusal:
            logger.info("refused: %s", refusal)
            await _refuse(writer, "403 Forbidden", f"sandbox: {refusal}")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            logger.info("broken off: %r", error)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _relay(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, host, port = _parse(head)
        try:
            up_reader, up_writer = await self._connect(host, port)
        except (OSError, TimeoutError) as error:
            await _refuse(writer, "502 Bad Gateway", f"sandbox: {host}:{port} does not answer: {error}")
            return
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            first, _, rest = head.partition(b"\r\n")
            version = first.rsplit(b" ", 1)[1]
            # One request per connection, so that the next one can't be meant for another host.
            rest = b"Connection: close\r\n" + _OUR_HEADERS.sub(b"", rest)
            up_writer.write(f"{method} {target} ".encode("latin-1") + version + b"\r\n" + rest)
        try:
            await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))
        finally:
            up_writer.close()

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        found = destination(self._world, topology(self._store), host, port)
        if found is None:
            raise _RefusedError(
                f"{host}:{port} is not a name or address of this world, and the proxy leads nowhere else"
                if self._world.depth == "full"
                else f"{host}:{port} is not served in this world of depth api, and the proxy leads nowhere else"
            )
        return await asyncio.wait_for(asyncio.open_connection(*found), _CONNECT_TIMEOUT)


def _parse(head: bytes) -> tuple[str, str, str, int]:
    """Return method, target for the server, host and port."""
    line = head.split(b"\r\n", 1)[0].decode("latin-1")
    parts = line.split(" ")
    if len(parts) != 3:  # noqa: PLR2004 - method, target, version
        raise _RefusedError(f"not an HTTP request: {line[:80]!r}")
    method, target, _ = parts
    split = urlsplit(f"//{target}" if method == "CONNECT" else target)
    try:
        port = split.port or _HTTP
    except ValueError as error:
        raise _RefusedError(f"{target[:80]!r}: {error}") from error
    if not split.hostname or (method != "CONNECT" and split.scheme != "http"):
        raise _RefusedError(f"this is a proxy; it takes CONNECT and http:// addresses, got {line[:80]!r}")
    path = (split.path or "/") + (f"?{split.query}" if split.query else "")
    return method, path, split.hostname, port


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what is read, to its end."""
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except ConnectionError:
        writer.close()


async def _refuse(writer: asyncio.StreamWriter, status: str, text: str) -> None:
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    with contextlib.suppress(OSError):
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        await writer.drain()


@click.command()
@program.home_option
@click.option("--netns", help="Network namespace to connect from; the proxy listens outside.")
def main(home: Path, netns: str | None) -> None:
    """Serve the proxy of the world in HOME on its loopback port."""
    program.log_to_output()
    world = load(home)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", world.proxy_port))
    if netns:
        inside.enter(netns)
    asyncio.run(Proxy(world).serve(listener))


if __name__ == "__main__":
    main()
