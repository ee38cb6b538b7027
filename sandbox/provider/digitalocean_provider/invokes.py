"""Functions that a program can call: data that isn't a resource."""

import base64
from collections.abc import Callable

from digitalocean_provider.errors import ProviderError
from digitalocean_provider.operation import Operation
from plugin_base.wire import Properties


def get_database_ca(op: Operation, arguments: Properties) -> Properties:
    """Return the PEM certificate that signs a cluster's server certificate."""
    cluster = arguments["clusterId"]
    ca = op.call("GET", "databases", cluster, "ca")["ca"]
    return {"id": cluster, "clusterId": cluster, "certificate": base64.b64decode(ca["certificate"]).decode()}


FUNCTIONS: dict[str, Callable[[Operation, Properties], Properties]] = {
    "digitalocean:index/getDatabaseCa:getDatabaseCa": get_database_ca,
}


def invoke(op: Operation, token: str, arguments: Properties) -> Properties:
    """Call the function with this token."""
    if token not in FUNCTIONS:
        raise ProviderError(f"{token}: not a function that the sandbox's provider has; it has {', '.join(FUNCTIONS)}")
    return FUNCTIONS[token](op, arguments)
