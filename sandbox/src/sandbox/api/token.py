"""What `doctl auth init` asks of cloud.digitalocean.com: whether a token is good, which the answer itself says."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


def route() -> Route:
    """Build it; who comes here has been let in with the token."""
    return Route("/v1/oauth/token/info", _info)


async def _info(_request: Request) -> Response:
    """Answer what doctl reads (do/oauth.go): a personal token belongs to no application and doesn't end."""
    return JSONResponse(
        {
            "resource_owner_id": 1,
            "scopes": ["read", "write"],
            "expires_in_seconds": None,
            "application": {"uid": None},
            "created_at": 1767225600,  # the first moment of 2026
        }
    )
