"""The configuration of a database cluster: checked and kept, while the server here stays as it is.

What may be set, and to what, is in `postgres_config.tsv`, from DigitalOcean's OpenAPI description by
toolchain/openapi-facts; an Advanced cluster is taken to have the same.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Fields, Router, answer
from sandbox.api.products.database_common import online, record, update
from sandbox.model.store import Body

router = Router("Database")

_FILE = Path(__file__).parent.parent / "postgres_config.tsv"
_TYPES: dict[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "string": str,
}
_SENDER_TIMEOUT = ("wal_sender_timeout", 5000)  # milliseconds, or 0


class _Config(Fields):
    config: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Setting:
    """What a setting may be; `most` is a length for texts and lists."""

    type: str
    least: float | None
    most: float | None
    allowed: list[str] | None
    pattern: str | None
    grows: bool  # it can't be lowered again

    def problem(self, value: Any, before: Any) -> str | None:  # noqa: ANN401 - what JSON has
        """Say what is wrong with a value, given the one before."""
        if not _is(value, self.type):
            return f"must be of type {self.type}"
        values = value if isinstance(value, list) else [value]
        if self.allowed and not set(values) <= set(self.allowed):
            return f"must be one of {', '.join(self.allowed)}"
        size = len(value) if isinstance(value, str | list) else value
        if (self.least is not None and size < self.least) or (self.most is not None and size > self.most):
            return f"must be {self._bounds()}"
        if self.pattern and not re.fullmatch(self.pattern, value):
            return f"must match {self.pattern}"
        if self.grows and before is not None and value < before:
            return f"can't be lowered from {before}"
        return None

    def _bounds(self) -> str:
        shown = [f"at least {self.least:.15g}"] if self.least is not None else []
        shown += [f"at most {self.most:.15g}"] if self.most is not None else []
        return " and ".join(shown) + (" long" if self.type in {"string", "array"} else "")


def _is(value: Any, type_: str) -> bool:  # noqa: ANN401 - what JSON has
    return isinstance(value, _TYPES[type_]) and isinstance(value, bool) == (type_ == "boolean")


@cache
def _settings() -> dict[str, _Setting]:
    found = {}
    for line in _FILE.read_text().splitlines()[1:]:
        name, type_, least, most, allowed, pattern, grows = line.split("\t")
        found[name] = _Setting(
            type=type_,
            least=float(least) if least else None,
            most=float(most) if most else None,
            allowed=json.loads(allowed) if allowed else None,
            pattern=pattern or None,
            grows=bool(grows),
        )
    return found


@router.add("GET", "/databases/{id}/config", "databases_get_config")
async def get(call: Call) -> Response:
    """Answer what was set, and nothing else: the defaults of the real server aren't known."""
    return answer({"config": call.cloud.find("database", call.path("id")).private.get("config", {})})


@router.add("PATCH", "/databases/{id}/config", "databases_patch_config")
async def patch(call: Call) -> Response:
    """Keep what is set; the rest stays."""
    cluster = online(call)
    kept = cluster.private.get("config", {})
    wanted = {name: value for name, value in call.fields(_Config).config.items() if value is not None}
    problems = _problems(wanted, kept)
    if problems:
        raise errors.unprocessable("; ".join(problems))
    groups = {name: {**kept.get(name, {}), **value} for name, value in wanted.items() if isinstance(value, dict)}
    update(call.store, cluster.id, private={"config": kept | wanted | groups})
    record(call.store, cluster.id, "cluster_update")
    return Response(status_code=200)


def _problems(wanted: Body, kept: Body, group: str = "") -> list[str]:
    found = []
    for name, value in wanted.items():
        path = f"config.{group}{name}".replace("/", ".")
        if isinstance(value, dict) and any(known.startswith(f"{name}/") for known in _settings()):
            found += _problems(value, kept.get(name, {}), f"{name}/")
        elif (setting := _settings().get(group + name)) is None:
            found.append(f"{path}: no setting of PostgreSQL clusters")
        elif problem := setting.problem(value, kept.get(name)):
            found.append(f"{path}: {problem}, got {json.dumps(value)}")
        elif name == _SENDER_TIMEOUT[0] and 0 < value < _SENDER_TIMEOUT[1]:
            found.append(f"{path}: must be 0 or at least {_SENDER_TIMEOUT[1]}, got {value}")
    return found
