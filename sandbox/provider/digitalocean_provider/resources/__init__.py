"""One file per product: its properties as data, then create, read, update, delete."""

import importlib
import importlib.util
import re
from typing import Protocol, cast

from digitalocean_provider.errors import ProviderError
from digitalocean_provider.operation import Operation
from digitalocean_provider.schema import Schema
from plugin_base.wire import Properties


class Resource(Protocol):
    """What each module of this package is.

    It may also have `update(op, id_, state, inputs, changed)`, where inputs can change in place, and
    `locate(imported) -> (id, state)`, where `pulumi import` takes another id than the resource's own.
    """

    SCHEMA: Schema

    @staticmethod
    def create(op: Operation, inputs: Properties) -> Properties:
        """Create, call `op.keep` as soon as the id is known, return the properties that the API has."""

    @staticmethod
    def read(op: Operation, id_: str, state: Properties) -> Properties | None:
        """Return the properties that the API has, or None when the resource is gone."""

    @staticmethod
    def delete(op: Operation, id_: str, state: Properties) -> None:
        """Delete; what is gone already is not an error."""


def resource(token: str) -> Resource:
    """Return the module of a type token, for example `digitalocean:index/vpc:Vpc`."""
    match = re.fullmatch(r"digitalocean:index/(\w+):\w+", token)
    module = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", match[1]).lower() if match else ""
    name = f"{__name__}.{module}"
    if not module or importlib.util.find_spec(name) is None:
        raise ProviderError(f"{token}: not a resource that the sandbox's provider has; add it to sandbox/provider")
    return cast("Resource", importlib.import_module(name))
