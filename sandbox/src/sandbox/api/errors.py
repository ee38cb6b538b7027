"""The API's errors: a status, an id and a message, in the body that DigitalOcean documents."""

from collections.abc import Iterable, Mapping


class ApiError(Exception):
    """An answer other than success; `id` is the API's word for the status, for example "not_found"."""

    def __init__(
        self,
        status: int,
        id: str,  # noqa: A002
        message: str,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,  # what the body has besides
    ) -> None:
        super().__init__(message)
        self.status = status
        self.id = id
        self.message = message
        self.headers = dict(headers or {})
        self.more = dict(more or {})


def bad_request(message: str) -> ApiError:
    """Build the answer to a body that can't be read."""
    return ApiError(400, "bad_request", message)


def bad_tag(name: str) -> ApiError:
    """Build the answer to a tag that no tag may be called, in the words and with the causes that tags have."""
    message = f'Error validating resource tag: "tag-name \\"{name}\\" contains invalid characters"'
    cause = f"rpc error: code = InvalidArgument desc = {message}"
    more = {"error": message, "messages": None, "root_causes": [cause]}
    return ApiError(400, "bad_request", message, more=more)


def unauthorised(message: str) -> ApiError:
    """Build the answer to a missing or wrong token."""
    return ApiError(401, "unauthorized", message)


def forbidden(message: str) -> ApiError:
    """Build the answer to something that this account may not do."""
    return ApiError(403, "forbidden", message)


def not_found(message: str = "The resource you were accessing could not be found.") -> ApiError:
    """Build the answer to an id that names nothing, or a path that isn't DigitalOcean's."""
    return ApiError(404, "not_found", message)


def method_not_allowed(allowed: Iterable[str]) -> ApiError:
    """Build the answer to a path that has other methods."""
    methods = ", ".join(sorted(allowed))
    return ApiError(405, "method_not_allowed", f"this path has {methods}", {"allow": methods})


def conflict(message: str) -> ApiError:
    """Build the answer to a name that is taken or a thing that is in use."""
    return ApiError(409, "conflict", message)


def precondition_failed(message: str) -> ApiError:
    """Build the answer to a call that comes too early, for example to a cluster that isn't online."""
    return ApiError(412, "precondition_failed", message)


def unprocessable(message: str) -> ApiError:
    """Build the answer to a field that is unknown or has a value that breaks a rule."""
    return ApiError(422, "unprocessable_entity", message)


def too_many_requests(retry_after: int | None = None) -> ApiError:
    """Build the answer to a call beyond the rate limit; seconds to wait are said of the limit per minute only."""
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return ApiError(429, "too_many_requests", "API Rate limit exceeded.", headers)


def not_implemented(message: str) -> ApiError:
    """Build the answer to what DigitalOcean has and this sandbox doesn't."""
    return ApiError(501, "not_implemented", f"sandbox: {message}")


def server_error(message: str) -> ApiError:
    """Build the answer to a part of the world that failed."""
    return ApiError(500, "server_error", message)
