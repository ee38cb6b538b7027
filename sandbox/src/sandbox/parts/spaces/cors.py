"""Who else's pages may use a bucket: the first rule that fits a browser's request answers it."""

import fnmatch
from http import HTTPStatus
from typing import Any

from sandbox.parts.spaces.errors import S3Error, forbidden
from sandbox.parts.spaces.request import Request


def preflight(request: Request, rules: list[Any]) -> dict[str, str]:
    """Return the headers that allow what a browser asks for before it does it."""
    origin, method = request.headers.get("origin"), request.headers.get("access-control-request-method")
    if not origin or not method:
        raise S3Error(HTTPStatus.BAD_REQUEST, "BadRequest", "Origin and Access-Control-Request-Method are needed")
    asked = [name.strip() for name in request.headers.get("access-control-request-headers", "").split(",")]
    allowed = _allowed(rules, origin, method, [name for name in asked if name])
    if allowed is None:
        raise forbidden("AccessForbidden", f"CORSResponse: no rule of the bucket allows {method} from {origin}")
    if any(asked):
        allowed["Access-Control-Allow-Headers"] = ", ".join(name.lower() for name in asked if name)
    return allowed


def headers(request: Request, rules: list[Any]) -> dict[str, str]:
    """Return what lets a page read the answer; nothing when no rule fits."""
    origin = request.headers.get("origin")
    return (_allowed(rules, origin, request.method, []) or {}) if origin else {}


def _allowed(rules: list[Any], origin: str, method: str, asked: list[str]) -> dict[str, str] | None:
    for rule in rules:  # moto's
        origins, methods, names = (
            _list(value) for value in (rule.allowed_origins, rule.allowed_methods, rule.allowed_headers)
        )
        if not any(fnmatch.fnmatchcase(origin, pattern) for pattern in origins) or method not in methods:
            continue
        if not all(any(fnmatch.fnmatch(name.lower(), pattern.lower()) for pattern in names) for name in asked):
            continue
        found = {
            "Access-Control-Allow-Origin": "*" if "*" in origins else origin,
            "Access-Control-Allow-Methods": ", ".join(methods),
            "Vary": "Origin",
        }
        if rule.exposed_headers:
            found["Access-Control-Expose-Headers"] = ", ".join(_list(rule.exposed_headers))
        if rule.max_age_seconds:
            found["Access-Control-Max-Age"] = str(rule.max_age_seconds)
        return found
    return None


def _list(value: list[str] | str | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])
