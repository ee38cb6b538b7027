"""Starts the Spaces of a region at the first request for it: most worlds use one region of eleven."""

import argparse
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sandbox.model.plans import SPACES_REGIONS
from sandbox.parts.front import front
from sandbox.parts.front.configuration import LOOPBACK, WAKE_PORT
from sandbox.world import world as worlds
from sandbox.world.world import SPACES_DOMAIN, World


class _Wake(BaseHTTPRequestHandler):
    """Starts the gateway of the region that is asked for, and asks the client to come again.

    503 SlowDown is S3's own word for that: SDKs repeat the request by themselves.
    """

    protocol_version = "HTTP/1.1"
    world: World

    def answer_any(self) -> None:
        """Answer a request of any method."""
        self._discard_body()
        host = self.headers.get("Host", "").split(":")[0]
        region = host.removesuffix(f".{SPACES_DOMAIN}").rpartition(".")[2]
        if region not in SPACES_REGIONS:
            self._answer(HTTPStatus.NOT_FOUND, "NoSuchRegion", f"{host}: no such region")
            return
        front.wake(self.world, region)
        text = f"Spaces in {region} have just been started; repeat the request"
        self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "SlowDown", text)

    def _discard_body(self) -> None:
        remaining = int(self.headers.get("Content-Length") or 0)
        while remaining > 0 and (chunk := self.rfile.read(min(remaining, 2**20))):
            remaining -= len(chunk)

    def _answer(self, status: HTTPStatus, code: str, text: str) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{text}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = answer_any  # noqa: N815 - the base class's names


def main() -> None:
    """Serve the requests for regions that don't run yet."""
    parser = argparse.ArgumentParser(description="Start the Spaces gateways of regions at their first request.")
    parser.add_argument("--home", type=Path, required=True)
    _Wake.world = worlds.load(parser.parse_args().home)
    ThreadingHTTPServer((LOOPBACK, WAKE_PORT), _Wake).serve_forever()


if __name__ == "__main__":
    main()
