"""Routes that only a sandbox has: faults, switches, what happens by itself, the request log, nodes, provenance."""

import json

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.api import errors, provenance, switches
from sandbox.api.calls import Cloud
from sandbox.api.faults import Fault
from sandbox.api.products import certificates, database_nodes, database_storage


def routes(cloud: Cloud) -> list[Route]:
    """Build them for a world."""
    return [*_played(cloud), *_happening(cloud), *_seen(cloud)]


def _played(cloud: Cloud) -> list[Route]:
    """Build those that say how the world behaves."""

    async def faults(request: Request) -> Response:
        if request.method == "POST":
            try:
                cloud.faults.add(Fault.model_validate_json(await request.body()))
            except ValidationError as error:
                raise errors.unprocessable(str(error)) from error
        if request.method == "DELETE":
            cloud.faults.clear(keep_met=request.query_params.get("keep") == "met")
        active = [fault.model_dump() for fault in cloud.faults.active()]
        return JSONResponse({"faults": active, "met": cloud.faults.met()})

    async def switch(request: Request) -> Response:
        if request.method == "PUT":
            try:
                found = switches.change(cloud.store, dict(json.loads(await request.body())))
            except (ValueError, TypeError) as error:  # pydantic's errors are ValueErrors too
                raise errors.unprocessable(str(error)) from error
        else:
            found = switches.reset(cloud.store) if request.method == "DELETE" else switches.read(cloud.store)
        return JSONResponse(found.model_dump())

    return [
        Route("/_sandbox/faults", faults, methods=["GET", "POST", "DELETE"]),
        Route("/_sandbox/switches", switch, methods=["GET", "PUT", "DELETE"]),
    ]


def _happening(cloud: Cloud) -> list[Route]:
    """Build those that let happen what DigitalOcean does by itself."""

    async def grow(request: Request) -> Response:
        return JSONResponse({"storage_size_mib": database_storage.grow(cloud, request.path_params["id"])})

    async def switch_over(request: Request) -> Response:
        return JSONResponse({"primary": await database_nodes.switch_over(cloud, request.path_params["id"])})

    async def renew(request: Request) -> Response:
        new = await certificates.renew(cloud, request.path_params["id"])
        return JSONResponse({"certificate": new.body})

    return [
        Route("/_sandbox/databases/{id}/grow", grow, methods=["POST"]),
        Route("/_sandbox/databases/{id}/switch-over", switch_over, methods=["POST"]),
        Route("/_sandbox/certificates/{id}/renew", renew, methods=["POST"]),
    ]


def _seen(cloud: Cloud) -> list[Route]:
    """Build those that only show."""

    async def requests(request: Request) -> Response:
        after = request.query_params.get("after", "0")
        if not after.isdigit():
            raise errors.unprocessable(f'after: must be the number of a request, got "{after}"')
        return JSONResponse({"requests": cloud.store.requests(int(after))})

    async def nodes(_request: Request) -> Response:
        simulated = cloud.world.depth == "api"
        shown = [
            {
                "droplet_id": int(droplet.id),
                "name": droplet.body["name"],
                "kind": "simulated node" if simulated else "machine",
                "status": droplet.body["status"],
                "public_ip": droplet.private["public_ip"],
                "private_ip": droplet.private["private_ip"],
            }
            for droplet in cloud.store.list("droplet")
        ]
        return JSONResponse({"depth": cloud.world.depth, "nodes": shown})

    async def resources(_request: Request) -> Response:
        return JSONResponse({"resources": [{"kind": r.kind, "id": r.id} for r in cloud.store.all()]})

    async def page(_request: Request) -> Response:
        return PlainTextResponse(provenance.page())

    return [
        Route("/_sandbox/requests", requests),
        Route("/_sandbox/nodes", nodes),
        Route("/_sandbox/resources", resources),
        Route("/_sandbox/provenance", page),
    ]
