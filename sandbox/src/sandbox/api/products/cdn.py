"""CDN endpoints in front of Spaces."""

import re

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Fields, Router, answer, nothing
from sandbox.model import plans
from sandbox.model.store import now
from sandbox.world.world import SPACES_DOMAIN

router = Router("CDN")

_TTLS = (60, 600, 3600, 86400, 604800)  # seconds
_DEFAULT_TTL = 3600
_ORIGIN = re.compile(rf"([a-z0-9][a-z0-9-]{{1,61}}[a-z0-9])\.([a-z0-9]+)\.{re.escape(SPACES_DOMAIN)}")


class _Create(Fields):
    origin: str
    ttl: int | None = None


class _Purge(Fields):
    files: list[str]


class _Update(Fields):
    ttl: int | None = None


@router.add("POST", "/cdn/endpoints", "cdn_create_endpoint")
async def create(call: Call) -> Response:
    """Create an endpoint for a Space."""
    fields = call.fields(_Create)
    match = _ORIGIN.fullmatch(fields.origin)
    if match is None or match[2] not in plans.SPACES_REGIONS:
        raise errors.unprocessable(f'origin: must be <bucket>.<region>.{SPACES_DOMAIN}, got "{fields.origin}"')
    if any(cdn.body["origin"] == fields.origin for cdn in call.store.list("cdn_endpoint")):
        raise errors.conflict(f'origin: "{fields.origin}" has a CDN endpoint already')
    cdn_id = call.store.next_uuid("cdn_endpoint")
    body = {
        "id": cdn_id,
        "origin": fields.origin,
        "endpoint": f"{match[1]}.{match[2]}.cdn.{SPACES_DOMAIN}",
        "ttl": _ttl(fields.ttl),
        "certificate_id": "",
        "custom_domain": "",
        "created_at": now(),
    }
    call.store.put("cdn_endpoint", cdn_id, body)
    await call.cloud.apply()
    return answer({"endpoint": body}, 201)


@router.add("GET", "/cdn/endpoints", "cdn_list_endpoints")
async def list_all(call: Call) -> Response:
    """List endpoints."""
    return call.listing("endpoints", (cdn.body for cdn in call.store.list("cdn_endpoint")))


@router.add("GET", "/cdn/endpoints/{id}", "cdn_get_endpoint")
async def get(call: Call) -> Response:
    """Describe an endpoint."""
    return answer({"endpoint": call.cloud.find("cdn_endpoint", call.path("id")).body})


@router.add("PUT", "/cdn/endpoints/{id}", "cdn_update_endpoints")
async def update(call: Call) -> Response:
    """Change how long objects are kept."""
    cdn = call.cloud.find("cdn_endpoint", call.path("id"))
    fields = call.fields(_Update)
    if fields.ttl is not None:
        cdn = call.store.put("cdn_endpoint", cdn.id, cdn.body | {"ttl": _ttl(fields.ttl)})
        await call.cloud.apply()
    return answer({"endpoint": cdn.body})


@router.add("DELETE", "/cdn/endpoints/{id}", "cdn_delete_endpoint")
async def delete(call: Call) -> Response:
    """Delete an endpoint; the Space stays."""
    cdn = call.cloud.find("cdn_endpoint", call.path("id"))
    call.store.delete("cdn_endpoint", cdn.id)
    await call.cloud.apply()
    return nothing()


@router.add("DELETE", "/cdn/endpoints/{id}/cache", "cdn_purge_cache")
async def purge(call: Call) -> Response:
    """Forget files that are kept, by their paths; a final * stands for all below."""
    cdn = call.cloud.find("cdn_endpoint", call.path("id"))
    files = call.fields(_Purge).files
    if not files:
        raise errors.unprocessable("files: at least one path is required")
    if wrong := [file for file in files if "*" in file.removesuffix("*")]:
        raise errors.unprocessable(f'files: a * may stand at the end only, got "{wrong[0]}"')
    await call.cloud.run(call.cloud.realiser.purge_cdn, cdn.id, files)
    return nothing()


def _ttl(ttl: int | None) -> int:
    """Return the TTL; none, or 0 as Go's clients say that, is the default."""
    if not ttl:
        return _DEFAULT_TTL
    if ttl not in _TTLS:
        raise errors.unprocessable(f"ttl: must be one of {', '.join(map(str, _TTLS))}, got {ttl}")
    return ttl
