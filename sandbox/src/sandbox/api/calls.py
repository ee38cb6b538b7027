"""One call to the API: its route, its checked query and body, and the state that all handlers share."""

import asyncio
import json
import logging
import subprocess
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.api import errors, operations
from sandbox.api.faults import Faults
from sandbox.model.realiser import Realiser, RealiserError
from sandbox.model.store import Body, Resource, Store
from sandbox.model.topology_of import topology
from sandbox.world.world import API_HOST, World, WorldError

logger = logging.getLogger("sandbox.api")

MAX_PER_PAGE = 200
DEFAULT_PER_PAGE = 20

T = TypeVar("T")
F = TypeVar("F", bound="Fields")


class Fields(BaseModel):
    """Base of request bodies: a field that isn't declared is refused by name, and values are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _problem(fields: type[Fields], error: ValidationError) -> errors.ApiError:
    texts = []
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            known = ", ".join(sorted(fields.model_fields)) if len(item["loc"]) == 1 else ""
            texts.append(f"{path}: unknown field" + (f"; known here: {known}" if known else ""))
        elif item["type"] == "missing":
            texts.append(f"{path}: required")
        else:
            texts.append(f"{path}: {item['msg']}, got {json.dumps(item['input'], default=str)}")
    return errors.unprocessable("; ".join(texts))


def _empty(value: Any) -> bool:  # noqa: ANN401 - what JSON has
    """Say whether a value is what clients write for what is not set: null, zero, false, or nothing but such."""
    return (
        all(map(_empty, value.values() if isinstance(value, dict) else value))
        if isinstance(value, dict | list)
        else not value
    )


class Cloud:
    """What all handlers share: the store, the realiser, faults, and work that goes on after an answer."""

    def __init__(self, world: World, store: Store, realiser: Realiser) -> None:
        self.world = world
        self.store = store
        self.realiser = realiser
        self.faults = Faults()
        self._applying = asyncio.Lock()
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401 - passed on unchanged
        """Call a blocking method of the realiser in a thread; its failure becomes a 500 with its text."""
        try:
            return await asyncio.to_thread(work, *arguments)
        except (RealiserError, WorldError, OSError, subprocess.SubprocessError) as error:
            logger.exception("realiser failed")
            raise errors.server_error(str(error)) from error

    async def apply(self) -> None:
        """Make network, names and CDN equal to the store, one change at a time."""
        async with self._applying:
            await self.run(lambda: self.realiser.apply(topology(self.store)))

    def lock(self, name: str) -> asyncio.Lock:
        """Return the lock of this name, for calls that must not meet, such as two changes of a cluster's pools."""
        return self._locks.setdefault(name, asyncio.Lock())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let work go on after the answer; it reports its own failures to the store."""
        # In a context of its own: what the call changed so far is its answer's business, see Store.undone_on_failure.
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("background work failed", exc_info=error)

    async def stop(self) -> None:
        """End background work; `resume` of each product takes it up at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def find(self, kind: str, id: str | int) -> Resource:  # noqa: A002
        """Return a resource that exists, or raise 404."""
        found = self.store.get(kind, id)
        if found is None:
            raise errors.not_found()
        return found


class Call:
    """One request, with the checks that every product needs."""

    def __init__(self, cloud: Cloud, request: Request, raw: bytes, endpoint: "Endpoint") -> None:
        self.cloud = cloud
        self.store = cloud.store
        self._request = request
        self._raw = raw
        self._known = operations.by_id()[endpoint.operation]
        for name in request.query_params:
            if name not in endpoint.query:
                if name in self._known.query:
                    raise errors.not_implemented(f"{name}: DigitalOcean has this query parameter, the sandbox doesn't")
                allowed = ", ".join(sorted(endpoint.query)) or "none"
                raise errors.unprocessable(f"{name}: unknown query parameter; known here: {allowed}")

    def path(self, name: str, absent: str | None = None) -> str:
        """Return a variable part of the path, or what is given for a path without it."""
        return str(self._request.path_params[name] if absent is None else self._request.path_params.get(name, absent))

    def query(self, name: str) -> str | None:
        """Return a query parameter, or None."""
        return self._request.query_params.get(name)

    def header(self, name: str) -> str | None:
        """Return a header of the request, or None."""
        return self._request.headers.get(name)

    def fields(self, model: type[F]) -> F:
        """Return the checked body, or raise 422 with every problem that it has."""
        try:
            content = json.loads(self._raw or b"{}")
        except ValueError as error:
            raise errors.bad_request(f"body: must be JSON: {error}") from error
        if not isinstance(content, dict):
            raise errors.bad_request("body: must be a JSON object")
        for name in sorted((self._known.fields & content.keys()) - model.model_fields.keys()):
            if not _empty(content.pop(name)):  # what is sent empty is as if it weren't sent
                raise errors.not_implemented(f"{name}: DigitalOcean has this field, the sandbox doesn't; leave it out")
        try:
            return model.model_validate(content)
        except ValidationError as error:
            raise _problem(model, error) from error

    def _number(self, name: str, default: int, limit: int) -> int:
        text = self.query(name)
        if text is None:
            return default
        if not text.isdigit() or not 1 <= int(text) <= limit:
            raise errors.unprocessable(f'{name}: must be a number from 1 to {limit}, got "{text}"')
        return int(text)

    def listing(self, root: str, bodies: Iterable[Body]) -> Response:
        """Answer one page of a list, with links and meta."""
        items = list(bodies)
        per_page = self._number("per_page", DEFAULT_PER_PAGE, MAX_PER_PAGE)
        number = self._number("page", 1, 1_000_000)
        last = max(1, -(-len(items) // per_page))

        def link(to: int) -> str:
            query = {**self._request.query_params, "page": str(to), "per_page": str(per_page)}
            return f"https://{API_HOST}{self._request.url.path}?{urlencode(query)}"

        pages: dict[str, str] = {}
        if number > 1:
            pages |= {"first": link(1), "prev": link(number - 1)}
        if number < last:
            pages |= {"next": link(number + 1), "last": link(last)}
        shown = items[(number - 1) * per_page : number * per_page]
        links = {"pages": pages} if pages else {}
        return JSONResponse({root: shown, "links": links, "meta": {"total": len(items)}})


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """A route of the API and the operation of DigitalOcean's OpenAPI description that it follows."""

    product: str
    method: str
    path: str
    operation: str
    query: frozenset[str]
    handler: Handler


PAGING = ("page", "per_page")


@dataclass(slots=True)
class Router:
    """The routes of one product."""

    product: str
    endpoints: list[Endpoint] = field(default_factory=list)

    def add(self, method: str, path: str, operation: str, *, query: Iterable[str] = ()) -> Callable[[Handler], Handler]:
        """Register a handler for a method and a path below /v2; every list takes `page` and `per_page`."""
        parameters = frozenset(query) | frozenset(PAGING if "_list" in operation else ())

        def register(handler: Handler) -> Handler:
            self.endpoints.append(
                Endpoint(
                    product=self.product,
                    method=method,
                    path="/v2" + path,
                    operation=operation,
                    query=parameters,
                    handler=handler,
                )
            )
            return handler

        return register


def answer(body: Body, status: int = 200) -> Response:
    """Answer a JSON object."""
    return JSONResponse(body, status_code=status)


def nothing(status: int = 204) -> Response:
    """Answer without a body, as deletions and some changes do."""
    return Response(status_code=status)
