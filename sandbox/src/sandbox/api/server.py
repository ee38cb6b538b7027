"""The API's server: DigitalOcean's routes, checked strictly, over the world's store and realiser."""

import asyncio
import contextlib
import logging
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Host, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.api import errors, operations, own_routes, switches, token
from sandbox.api.calls import Call, Cloud, Endpoint
from sandbox.api.faults import Fault
from sandbox.api.products import ROUTERS, databases, droplets, load_balancers, reserved_ips, vpc_nat_gateways
from sandbox.api.products import certificates as account_certificates
from sandbox.api.rate_limit import RateLimit
from sandbox.model.realiser import Realiser
from sandbox.model.store import Store
from sandbox.simulated.realiser import SimulatedRealiser
from sandbox.world import certificates, ports, program, serving
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import API_HOST, CLOUD_HOST, World, load

logger = logging.getLogger("sandbox.api")

FULL_PORT = 8080  # inside the world's namespace, behind the TLS front
_THREADS = 16  # for the realiser's blocking calls


def endpoints() -> list[Endpoint]:
    """Return the routes of all products."""
    return [endpoint for router in ROUTERS for endpoint in router.endpoints]


def create_app(world: World, store: Store, realiser: Realiser) -> ASGIApp:
    """Build the ASGI application of a world."""
    cloud = Cloud(world, store, realiser)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "realiser"))
        await cloud.apply()  # first the packet filter, then the machines
        await cloud.run(realiser.start, droplets.existing(store), databases.existing(store))
        for product in (vpc_nat_gateways, droplets, databases, reserved_ips, account_certificates, load_balancers):
            product.resume(cloud)
        yield
        await cloud.stop()

    app = Starlette(
        routes=[Host(CLOUD_HOST, Router([token.route()])), *_routes(cloud), *own_routes.routes(cloud)],
        lifespan=lifespan,
        exception_handlers={errors.ApiError: _explain, HTTPException: _unknown_route, Exception: _crashed},
    )
    app.router.redirect_slashes = False
    return _Gate(app, cloud)


def _routes(cloud: Cloud) -> list[Route]:
    """Return the routes of all products, those with literal parts before those that would take any name there."""
    found = sorted(endpoints(), key=lambda endpoint: operations.specificity(endpoint.path))
    return [Route(e.path, _handler(cloud, e), methods=[e.method], name=e.operation) for e in found]


def _handler(cloud: Cloud, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        known = operations.at(request.url.path).get(endpoint.method)
        if known and known.id != endpoint.operation:  # such as /droplets/autoscale, where a Droplet's id may be
            raise _missing(known)
        call = Call(cloud, request, await request.body(), endpoint)
        with cloud.store.undone_on_failure():
            return await endpoint.handler(call)

    return handle


def _error(request: Request, error: errors.ApiError) -> Response:
    body = {"id": error.id, "message": error.message, "request_id": request.scope["state"]["request_id"]}
    return JSONResponse(body | error.more, status_code=error.status, headers=error.headers)


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ApiError)
    return _error(request, error)


async def _unknown_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), error
    methods = operations.at(request.url.path) if request.url.hostname != CLOUD_HOST else {}
    if known := methods.get(request.method):
        return _error(request, _missing(known))
    if operations.only_clients_know(request.url.path):
        text = f"{request.method} {request.url.path}: DigitalOcean has this call, the sandbox doesn't"
        return _error(request, errors.not_implemented(text))
    return _error(request, errors.method_not_allowed(methods) if methods else errors.not_found())


def _missing(known: operations.Operation) -> errors.ApiError:
    return errors.not_implemented(f"{known.method} {known.path}: DigitalOcean has {known.id}, the sandbox doesn't")


async def _crashed(request: Request, error: Exception) -> Response:
    logger.error("%s %s", request.method, request.url.path, exc_info=error)
    return _error(request, errors.server_error(f"sandbox: a defect, see the log of the API: {error!r}"))


# Here a slash at the end is an empty id, which names nothing: tests of the Terraform provider ask for one.
_STRICT_ABOUT_SLASHES = "/v2/monitoring/"


class _Gate:
    """Around all routes: request id, token, rate limit, faults and the request log."""

    def __init__(self, app: ASGIApp, cloud: Cloud) -> None:
        self._app = app
        self._cloud = cloud
        self._rate_limit = RateLimit()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not scope["path"].startswith(_STRICT_ABOUT_SLASHES):
            scope["path"] = scope["path"].rstrip("/") or "/"
        state = scope.setdefault("state", {})
        try:
            state["request_id"] = f"{self._cloud.store.next_id('request'):08x}"
        except sqlite3.OperationalError as error:  # a full disk
            state["request_id"] = "00000000"
            refusal = errors.server_error(f"sandbox: {self._cloud.world.database}: {error}")
            await _error(Request(scope, receive), refusal)(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.monotonic()
        request = Request(scope, receive)
        body = await request.body()
        headers = {"x-request-id": scope["state"]["request_id"]}
        status = 0

        async def replay() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def reply(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in headers.items()),
                ]
            await send(message)

        own = request.url.path.startswith("/_sandbox/")
        refusal = self._refusal(request) or self._too_many(headers, own=own)
        fault = None if own or refusal else self._cloud.faults.hit(request.method, request.url.path)
        if refusal:
            await _error(request, refusal)(scope, replay, reply)
        elif fault is None:
            await self._app(scope, replay, reply)
        elif fault.kind == "drop":
            if fault.after:
                await self._app(scope, replay, _discard)
            _drop(send)
        elif fault.kind == "hold":
            await self._app(scope, replay, _discard)
            await _gone(receive)
        else:
            await _error(request, _fault_error(fault))(scope, replay, reply)
        if not own:
            self._cloud.store.log_request(
                method=request.method,
                path=request.url.path,
                query=request.url.query,
                body=body.decode("utf-8", "replace"),
                status=status,
                ms=round((time.monotonic() - started) * 1000, 1),
            )

    def _too_many(self, headers: dict[str, str], *, own: bool) -> errors.ApiError | None:
        """Count this call and say so in its headers, if the world's account has a limit; return its refusal."""
        if own or not switches.read(self._cloud.store).rate_limit:
            return None
        now = time.time()
        refusal = self._rate_limit.admit(now)
        headers |= self._rate_limit.headers(now)
        return refusal

    def _refusal(self, request: Request) -> errors.ApiError | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token == self._cloud.world.token:
            return None
        if token.startswith(("dop_v1_", "doo_v1_", "dor_v1_")):
            return errors.unauthorised(
                "sandbox: the token looks like a real one of DigitalOcean, so this local sandbox refuses it; "
                "run the command through `sandbox exec`, and revoke the token if it was not meant to leave its place"
            )
        return errors.unauthorised("Unable to authenticate you")


def _fault_error(fault: Fault) -> errors.ApiError:
    ids = {429: "too_many_requests", 401: "unauthorized", 404: "not_found", 422: "unprocessable_entity"}
    headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
    return errors.ApiError(fault.status, ids.get(fault.status, "server_error"), fault.message, headers)


async def _discard(_message: Message) -> None:
    """Swallow an answer that the client shall never see."""


async def _gone(receive: Receive) -> None:
    """Wait until the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _drop(send: Send) -> None:
    """Cut the connection: ASGI has no word for it, but uvicorn's `send` is a method of the object that has it."""
    send.__self__.transport.abort()  # type: ignore[attr-defined]


def serve(world: World) -> None:
    """Run the API of a world until it is told to stop."""
    supervisor = Supervisor(world)
    realiser: Realiser
    if world.depth == "full":
        from sandbox.parts.realiser import FullRealiser  # noqa: PLC0415 - what only root can use is not imported at depth api

        realiser = FullRealiser(world, supervisor)
        port, crt, key = FULL_PORT, None, None
    else:
        realiser = SimulatedRealiser(world, supervisor)
        port = ports.reserve(world, "api")
        crt, key = certificates.issue(world, [API_HOST, CLOUD_HOST], world.ca / "api")
    store = Store(world.database)
    served = serving.serve(create_app(world, store, realiser), "127.0.0.1", port, certificate=crt, key=key)
    store.close()
    if not served:
        sys.exit(1)


@click.command()
@program.home_option
def main(home: Path) -> None:
    """Serve the API of the world in HOME."""
    program.log_to_output()
    serve(load(home))


if __name__ == "__main__":
    main()
