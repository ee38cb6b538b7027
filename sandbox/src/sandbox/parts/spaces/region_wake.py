"""Starts the Spaces of a region at the first request for it: most worlds use one region of eleven."""

from http import HTTPStatus
from pathlib import Path

import click
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.model.plans import SPACES_REGIONS
from sandbox.parts.front import front
from sandbox.parts.front.configuration import LOOPBACK, WAKE_PORT
from sandbox.world import program, serving
from sandbox.world.world import SPACES_DOMAIN, World, load

_METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"]


def create_app(world: World) -> Starlette:
    """Build the service that starts the gateway of the region that is asked for, and asks the client to come again.

    503 SlowDown is S3's own word for that: SDKs repeat the request by themselves.
    """

    def wake(request: Request) -> Response:
        host = request.headers.get("host", "").split(":")[0]
        region = host.removesuffix(f".{SPACES_DOMAIN}").rpartition(".")[2]
        if region not in SPACES_REGIONS:
            return _error(HTTPStatus.NOT_FOUND, "NoSuchRegion", f"{host}: no such region")
        front.wake(world, region)
        text = f"Spaces in {region} have just been started; repeat the request"
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, "SlowDown", text)

    return Starlette(routes=[Route("/{path:path}", wake, methods=_METHODS)])


def _error(status: HTTPStatus, code: str, text: str) -> Response:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{text}</Message></Error>"
    return Response(body, status, {"Connection": "close"}, "application/xml")


@click.command()
@program.home_option
def main(home: Path) -> None:
    """Start the Spaces gateways of the world in HOME at the first request for their region."""
    serving.serve(create_app(load(home)), LOOPBACK, WAKE_PORT)


if __name__ == "__main__":
    main()
