"""What every plugin answers alike, and what it tells the engine: progress, errors, partly made resources.

A plain synchronous servicer, because `pulumi.provider.experimental` drops old inputs, auto-naming and partial states.
"""

# The protocol's names are not Python's (Handshake, deleteBeforeReplace): ruff's naming rules are off for this file.
# ruff: noqa: N802

import contextlib
import json
import threading
from typing import Any, NoReturn

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

from plugin_base.wire import Properties, bare, decode, encode

REPORT_TIMEOUT = 2.0  # seconds

# Requests are protobuf classes without useful static types.
Message = Any
Context = Any  # grpc.ServicerContext: grpcio has no types


def refuse(context: Context, why: str) -> NoReturn:
    """End the request with an error; the engine shows the text as it is."""
    context.abort(grpc.StatusCode.UNKNOWN, why)
    raise AssertionError("abort raises")


def keep_partial(context: Context, why: str, *, id_: str, state: Properties, inputs: Properties) -> NoReturn:
    """End the request with an error, but let the engine keep the resource; the next `up` updates it."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=id_, properties=encode(state), inputs=encode(inputs), reasons=[why]
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=why)
    status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    refuse(context, why)


class Service(provider_pb2_grpc.ResourceProviderServicer):
    """A provider, one per process. Requests come concurrently, each in a thread of its own.

    `engine` is the address of the engine's own service, for messages.
    """

    def __init__(self, name: str, version: str, engine: str = "") -> None:
        self._name = name
        self._version = version
        self._engine = engine
        self._stub: engine_pb2_grpc.EngineStub | None = None
        self._lock = threading.Lock()
        self.cancelled = threading.Event()
        self.ended = threading.Event()

    def Handshake(self, request: Message, _context: Context) -> Message:
        """Learn where the engine is."""
        self._engine = request.engine_address or self._engine
        return provider_pb2.ProviderHandshakeResponse()

    def Attach(self, request: Message, _context: Context) -> Message:
        """Serve the engine at another address: how a debugger's provider is used."""
        self._engine = request.address
        return empty_pb2.Empty()

    def GetPluginInfo(self, _request: Message, _context: Context) -> Message:
        """Return the version."""
        return plugin_pb2.PluginInfo(version=self._version)

    def GetSchema(self, _request: Message, _context: Context) -> Message:
        """Return a schema that only names the package: up, preview, refresh, import and destroy don't ask for it."""
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": self._name, "version": self._version}))

    def CheckConfig(self, request: Message, _context: Context) -> Message:
        """Accept the configuration; Configure judges it."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Message, _context: Context) -> Message:
        """Compare honestly: without a change the engine would go on with an old configuration."""
        olds, news = bare(decode(request.olds)), bare(decode(request.news))
        changed = sorted(name for name in olds.keys() | news.keys() if olds.get(name) != news.get(name))
        changes = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=changes, diffs=changed)

    def Cancel(self, _request: Message, _context: Context) -> Message:
        """End all waiting; called at Ctrl-C, perhaps more than once."""
        self.cancelled.set()
        return empty_pb2.Empty()

    def end(self) -> None:
        """End all waiting, then the process."""
        self.cancelled.set()
        self.ended.set()

    def report(self, urn: str, text: str) -> None:
        """Show a line in the engine's display, for as long as the operation lasts."""
        self._log(engine_pb2.LogRequest(severity=engine_pb2.INFO, message=text, urn=urn, ephemeral=True))

    def warn(self, urn: str, text: str) -> None:
        """Show a warning in the engine's display, which stays there."""
        self._log(engine_pb2.LogRequest(severity=engine_pb2.WARNING, message=text, urn=urn))

    def _log(self, request: Message) -> None:
        if not self._engine:
            return
        with self._lock:
            if self._stub is None:
                channel = grpc.insecure_channel(self._engine, options=(("grpc.enable_http_proxy", 0),))
                self._stub = engine_pb2_grpc.EngineStub(channel)
        with contextlib.suppress(grpc.RpcError):  # a courtesy: an engine that is gone misses nothing
            self._stub.Log(request, timeout=REPORT_TIMEOUT)


def kind_of(request: Message) -> str:
    """Return the type token of the resource; where the request does not say it, its URN does."""
    return str(request.type or request.urn.split("::")[-2].rpartition("$")[2])
