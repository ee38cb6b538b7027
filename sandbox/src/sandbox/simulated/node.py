"""A simulated node: at depth `api` it plays a Droplet, running its real agent on a machine that isn't there."""

import json
import logging
import os
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import click

from sandbox.client import environment
from sandbox.model.store import Store
from sandbox.simulated.machine import CONFIG, START, Disk, agent_of
from sandbox.world import certificates, ports, program
from sandbox.world.world import World, load

logger = logging.getLogger("sandbox.simulated_node")

# Seconds between two looks, as long as there are few: the agent's own pause is for machines that have other work. Many
# share this machine, whose Spaces answer some twenty looks a second beside all else.
_POLL, _FEW = 0.5, 10
_RESTART = 2.0  # seconds until systemd would start again what has ended


class Node:
    """A Droplet's agent at work: it follows desired.json; the certificate's program is not run, but played."""

    def __init__(self, world: World, droplet_id: int, disk: Disk) -> None:
        self._world = world
        self._folder = disk.root
        self._agent = agent_of(_package(disk, droplet_id), disk, droplet_id)
        self.refusal: type[Exception] = import_module("agent.errors").AgentError

    def look(self) -> None:
        """Let the agent look at desired.json once, and do what that says."""
        self._agent.try_to_look()

    def certificate(self, *, may_obtain: bool) -> tuple[Path, Path] | None:
        """Return certificate and key: those that the Space keeps, else, if it may, new ones, which are kept there.

        The document is a Droplet's. Simulated is the ACME server: the world's own authority issues at once.
        """
        protocol, document = import_module("protocol.certificate"), import_module("protocol.document")
        config, spaces = self._agent.config, self._agent.spaces
        place = protocol.certificate_key(config.domain)
        crt, key = self._folder / "tls.crt", self._folder / "tls.key"
        try:
            kept = protocol.Certificate.parse(spaces.get(config.state_bucket, place).body, place)
        except document.DocumentError:
            kept = None
        if kept and certificates.is_good(self._world, [config.domain], kept.fullchain.encode(), kept.privkey.encode()):
            crt.write_text(kept.fullchain)
            key.touch(mode=0o600)
            key.write_text(kept.privkey)
            logger.info("simulated: the certificate for %s is the kept one", config.domain)
        elif may_obtain:
            certificates.issue(self._world, [config.domain], self._folder / "tls")
            new = protocol.Certificate(fullchain=crt.read_text(), privkey=key.read_text())
            body = document.json_bytes(new.document())
            spaces.put(config.state_bucket, place, body, {"content-type": "application/json"})
            logger.info("simulated: the certificate for %s is new", config.domain)
        else:
            return None
        return crt, key


def _package(disk: Disk, droplet_id: int) -> Path:
    """Return the agent's package, however often the attempt to get it ends."""
    while True:
        try:
            return disk.package(droplet_id)
        except SystemExit as end:
            logger.warning("%s ended with status %s", START, end.code)
        logger.info("simulated: systemd starts it again after %g s", _RESTART)
        time.sleep(_RESTART)


class _Health(BaseHTTPRequestHandler):
    """Answers the health URL; the rest is led from http to https, and there answered 501."""

    disk: ClassVar[Disk | None]
    redirect: ClassVar[str | None]  # where plain HTTP leads, without the path
    protocol_version = "HTTP/1.1"
    server_version = "simulated-node"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer GET."""
        if self.path.partition("?")[0] != "/healthz":
            if self.redirect and self.headers.get("X-Forwarded-Proto") != "https":
                self._answer(301, "text/plain", b"", Location=self.redirect + self.path)
                return
            text = "sandbox: this is a simulated node, no app runs here; it only answers /healthz\n"
            self._answer(501, "text/plain; charset=utf-8", text.encode())
            return
        release = self.disk.serving if self.disk else None
        status, word = (200, "ok") if release else (503, "no release yet")
        served_by = self.disk.served_by if self.disk else None
        body = json.dumps({"status": word, "release": release, "served_by": served_by}).encode()
        self._answer(status, "application/json", body)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET  # noqa: N815

    def _answer(self, status: int, content_type: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - name of the base class
        """Log as the rest of the process does."""
        logger.info("%s", format % args)


def _listen(port: int, disk: Disk | None, *, context: ssl.SSLContext | None = None) -> None:
    redirect = f"https://{disk.config['domain']}" if disk and not context else None
    handler = type("Handler", (_Health,), {"disk": disk, "redirect": redirect})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, name=f"port-{port}", daemon=True).start()


def _has_reserved_ip(store: Store, droplet_id: int) -> bool:
    return any((ip.body["droplet"] or {}).get("id") == droplet_id for ip in store.list("reserved_ip"))


def run(world: World, droplet_id: int) -> None:
    """Play a Droplet until told to stop."""
    store = Store(world.database, read_only=True)
    droplet = store.get("droplet", droplet_id)
    if droplet is None:
        sys.exit(f"{droplet_id}: the store has no such Droplet")
    logger.info("simulated node of Droplet %d (%s): no machine, no app", droplet_id, droplet.body["name"])
    name = f"node-{droplet_id}"
    disk = Disk.written(world.run / name, droplet.private["user_data"])
    _listen(ports.reserve(world, f"{name}-http"), disk)
    if disk is None:
        logger.info("the user data has no %s and %s: nothing to play but a health URL without a release", CONFIG, START)
        threading.Event().wait()
        return
    _reach(world)
    node = Node(world, droplet_id, disk)
    secure = False
    while True:
        try:
            # As on a Droplet: the kept certificate before any report; a new one only once the address leads here.
            if not secure and (pair := node.certificate(may_obtain=_has_reserved_ip(store, droplet_id))):
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*pair)
                _listen(ports.reserve(world, f"{name}-https"), disk, context=context)
                secure = True
            node.look()
        except node.refusal as refusal:
            logger.warning("the certificate: %s", refusal)
        time.sleep(_POLL * max(1, store.count("droplet") / _FEW))


def _reach(world: World) -> None:
    """Let this process and those that it starts find the world's names, as a Droplet's network would."""
    for name in environment.REMOVED:
        os.environ.pop(name, None)
    os.environ.update(environment.way(world))


@click.command()
@program.home_option
@click.option("--droplet", type=int, required=True, help="Id of the Droplet to play.")
def main(home: Path, droplet: int) -> None:
    """Play a Droplet of the world in HOME."""
    program.log_to_output()
    run(load(home), droplet)


if __name__ == "__main__":
    main()
