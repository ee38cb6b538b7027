"""What DigitalOcean's API has, from its OpenAPI description: `operations.tsv`, which toolchain/openapi-facts makes."""

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("operations.tsv")
_VARIABLE = re.compile(r"\{[^/]+\}")
# What DigitalOcean's own clients call and its description lacks: godo v1.240.0, and tests of the Terraform provider.
_NOT_DESCRIBED = re.compile(r"/v2/(vpcs/[^/]+/subnets|microdroplets|security/secrets)(/.*)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One call of the API: a method and a path with variable parts, and what clients may send with it."""

    tag: str  # the product, as DigitalOcean's documentation groups them
    id: str
    method: str
    path: str
    query: frozenset[str]
    fields: frozenset[str]  # of the body

    @property
    def shape(self) -> str:
        """The path without the names of its variables, which differ from place to place."""
        return shape(self.path)


def shape(path: str) -> str:
    """Return a path with `{}` for each variable."""
    return _VARIABLE.sub("{}", path)


def specificity(path: str) -> list[bool]:
    """Return a key by which a literal part comes before a variable one in the same place."""
    return [part.startswith("{") for part in path.split("/")]


@cache
def commit() -> str:
    """Return the state of the description that the list was read from."""
    return _FILE.read_text().splitlines()[0].split()[-1]


@cache
def everything() -> tuple[Operation, ...]:
    """Return all operations, by product and name."""
    found = []
    for line in _FILE.read_text().splitlines()[1:]:
        tag, name, method, path, query, fields = line.split("\t")
        found.append(
            Operation(
                tag=tag,
                id=name,
                method=method,
                path=path,
                query=frozenset(filter(None, query.split(","))),
                fields=frozenset(filter(None, fields.split(","))),
            )
        )
    return tuple(found)


@cache
def by_id() -> dict[str, Operation]:
    """Return all operations by name."""
    return {operation.id: operation for operation in everything()}


@cache
def _by_parts() -> dict[int, list[tuple[re.Pattern[str], dict[str, Operation]]]]:
    """Return the paths by their number of parts, those with literal parts first, each with its methods."""
    paths: dict[str, dict[str, Operation]] = defaultdict(dict)
    for operation in everything():
        paths[operation.shape][operation.method] = operation
    found: dict[int, list[tuple[re.Pattern[str], dict[str, Operation]]]] = defaultdict(list)
    for path in sorted(paths, key=specificity):
        pattern = re.compile("[^/]+".join(re.escape(part) for part in path.split("{}")))
        found[path.count("/")].append((pattern, paths[path]))
    return found


def at(path: str) -> dict[str, Operation]:
    """Return the operations of a request's path by method; none for a path that DigitalOcean doesn't have."""
    for pattern, methods in _by_parts()[path.count("/")]:
        if pattern.fullmatch(path):
            return methods
    return {}


def only_clients_know(path: str) -> bool:
    """Say whether DigitalOcean has a path that its description lacks."""
    return _NOT_DESCRIBED.fullmatch(path) is not None
