"""A simulated load balancer: at depth `api` it ends TLS and leads to the simulated nodes that pass its checks."""

import asyncio
import contextlib
import itertools
import logging
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import click

from sandbox.client.proxy import pump
from sandbox.model.balancers import balancer, certificates
from sandbox.model.store import Store
from sandbox.model.topology import LoadBalancer
from sandbox.model.topology_of import topology
from sandbox.world import ports, program
from sandbox.world.world import World, load

logger = logging.getLogger("sandbox.simulated_balancer")

_LOOK = 0.5  # seconds between two looks at the store
_HEAD = 64 * 1024  # bytes of a request's head
_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class Member:
    """A Droplet behind it, as its checks have found it: down until they have succeeded often enough."""

    healthy: bool = False
    in_a_row: int = 0  # checks that say otherwise

    def note(self, answered: bool, shape: LoadBalancer) -> None:
        """Count one check."""
        self.in_a_row = self.in_a_row + 1 if answered != self.healthy else 0
        check = shape.health_check
        if self.in_a_row >= (check.unhealthy_threshold if self.healthy else check.healthy_threshold):
            self.healthy, self.in_a_row = answered, 0


@dataclass
class Balancer:
    """One load balancer of a world; only what HTTP needs, on its ports 80 and 443."""

    world: World
    id: str
    store: Store = field(init=False)
    context: ssl.SSLContext = field(init=False)
    certificate: str = ""
    members: dict[str, Member] = field(default_factory=dict)  # by private address
    turn: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.store = Store(self.world.database, read_only=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    @property
    def shape(self) -> LoadBalancer | None:
        """What the API says of it now, None when it is gone."""
        found = self.store.get("load_balancer", self.id)
        return balancer(self.store, found) if found else None

    async def serve(self) -> None:
        """Serve until told to stop."""
        self.load_certificate()
        plain, secure = (ports.reserve(self.world, f"balancer-{self.id}-{port}") for port in (80, 443))
        await asyncio.start_server(self.lead_to_https, "127.0.0.1", plain, limit=_HEAD)
        await asyncio.start_server(self.forward, "127.0.0.1", secure, limit=_HEAD, ssl=self.context)
        checks: set[asyncio.Task[None]] = set()
        while (shape := self.shape) is not None:
            self.load_certificate()
            self.members = {one: self.members.get(one, Member()) for one in shape.members}
            checks = {task for task in checks if not task.done()}
            for address in self.members.keys() - {task.get_name() for task in checks}:
                checks.add(asyncio.create_task(self.check(address), name=address))
            await asyncio.sleep(_LOOK)

    def load_certificate(self) -> None:
        """Take the certificate that is wanted now; new connections get it."""
        shape = self.shape
        wanted = next((rule.certificate_id for rule in shape.rules if rule.entry_port == 443), "") if shape else ""  # noqa: PLR2004
        found = next((one for one in certificates(self.store) if one.id == wanted), None)
        if found is None or wanted == self.certificate:
            return
        with tempfile.NamedTemporaryFile("w", dir=self.world.run) as pem:
            pem.write(f"{found.chain.rstrip()}\n{found.key}")
            pem.flush()
            self.context.load_cert_chain(pem.name)
        self.certificate = wanted

    async def check(self, address: str) -> None:
        """Ask a member whether it is well, again and again, as long as it is one."""
        while (shape := self.shape) is not None and address in self.members:
            answered = False
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(shape.health_check.timeout):
                    answered = await self.is_well(address, shape.health_check.path)
            if (member := self.members.get(address)) is not None:
                member.note(answered, shape)
            await asyncio.sleep(shape.health_check.interval)

    async def is_well(self, address: str, path: str) -> bool:
        """Ask once."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port_of(address))
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
            status = await reader.readuntil(b"\r\n")
        finally:
            writer.close()
        return status.split()[1][:1] in {b"2", b"3"}

    def port_of(self, address: str) -> int:
        """Return where the simulated node of a private address listens; 0 leads nowhere."""
        droplets = {droplet.private_ip: droplet.id for droplet in topology(self.store).droplets}
        return ports.known(self.world).get(f"node-{droplets.get(address)}-http", 0)

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand one connection's request to the next member that is well, and say that it came by HTTPS."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            member = await self.connected()
            if member is None:
                writer.write(_UNAVAILABLE)
            else:
                up_reader, up_writer = member
                first, _, rest = head.partition(b"\r\n")
                up_writer.write(first + b"\r\nX-Forwarded-Proto: https\r\n" + rest)
                await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))
            await writer.drain()
        writer.close()

    async def connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Return a connection to the next member that is well, and takes it: one may have gone since its last check."""
        well = sorted(address for address, member in self.members.items() if member.healthy)
        first = next(self.turn) % len(well) if well else 0
        for address in well[first:] + well[:first]:
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", self.port_of(address))
        return None

    async def lead_to_https(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer port 80 as HAProxy does at depth `full`."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = head.split(" ")[1]
            hosts = [line.partition(":")[2].strip() for line in head.split("\r\n") if line.lower().startswith("host:")]
            location = f"https://{hosts[0] if hosts else ''}{path}"
            answer = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n"
            writer.write(f"{answer}Connection: close\r\n\r\n".encode("latin-1"))
            await writer.drain()
        writer.close()


@click.command()
@program.home_option
@click.option("--balancer", "balancer_id", required=True, help="Id of the load balancer to play.")
def main(home: Path, balancer_id: str) -> None:
    """Play a load balancer of the world in HOME."""
    program.log_to_output()
    logger.info("simulated load balancer %s: only its ports 80 and 443, and only HTTP", balancer_id)
    asyncio.run(Balancer(load(home), balancer_id).serve())


if __name__ == "__main__":
    main()
