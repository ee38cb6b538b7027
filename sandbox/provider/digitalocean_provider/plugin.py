"""The plugin's gRPC service: Pulumi's provider protocol over the resources' schemas and functions.

A plain synchronous servicer, because `pulumi.provider.experimental` drops old inputs, auto-naming and partial states.
"""

# The protocol's names are not Python's (Create, deleteBeforeReplace): ruff's naming rules are off for this file.
# ruff: noqa: N802

import contextlib
import gc
import logging
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
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

from digitalocean_provider import guard, schema
from digitalocean_provider.clients import Clients, settings_from
from digitalocean_provider.errors import ProviderError
from digitalocean_provider.invokes import invoke
from digitalocean_provider.operation import Operation
from digitalocean_provider.resources import Resource, resource
from digitalocean_provider.wire import Properties, bare, decode, encode

VERSION = "4.84.1"  # of pulumi-digitalocean, whose properties these are
WORKERS = 64  # operations at a time; the engine's default --parallel is lower
AUTONAMING_DISABLED = 2  # CheckRequest.AutonamingOptions.Mode
ENGINE_CHECK = 1.0  # seconds between looks whether the engine still lives
REPORT_TIMEOUT = 2.0  # seconds

log = logging.getLogger("digitalocean_provider")

# Requests are protobuf classes without useful static types.
Message = Any
Context = Any  # grpc.ServicerContext: grpcio has no types


def explain(error: Exception) -> str:
    """Return the text for the user; what isn't ours is a bug, so its traceback goes to the log."""
    if isinstance(error, ProviderError):
        return str(error)
    log.error("bug in the sandbox's provider", exc_info=error)
    return f"bug in the sandbox's provider: {type(error).__name__}: {error}"


def refuse(context: Context, why: str) -> NoReturn:
    """End the request with an error; the engine shows the text as it is."""
    context.abort(grpc.StatusCode.UNKNOWN, why)
    raise AssertionError("abort raises")


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The provider, one per process. Requests come concurrently, each in a thread of its own."""

    def __init__(self, engine: str = "") -> None:
        """`engine` is the address of the engine's own service, for messages."""
        self._engine = engine
        self._stub: engine_pb2_grpc.EngineStub | None = None
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self.ended = threading.Event()
        self._clients: Clients | None = None

    # Life of the plugin

    def Handshake(self, request: Message, _context: Context) -> Message:
        """Tell what this provider can do. Secrets come in plain and are marked again by the engine, by their name."""
        self._engine = request.engine_address or self._engine
        return provider_pb2.ProviderHandshakeResponse(supports_autonaming_configuration=True)

    def Attach(self, request: Message, _context: Context) -> Message:
        """Serve the engine at another address: how a debugger's provider is used."""
        self._engine = request.address
        return empty_pb2.Empty()

    def GetPluginInfo(self, _request: Message, _context: Context) -> Message:
        """Return the version."""
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, _request: Message, _context: Context) -> Message:
        """Return a schema that only names the package: up, preview, refresh, import and destroy don't ask for it."""
        return provider_pb2.GetSchemaResponse(schema=f'{{"name": "digitalocean", "version": "{VERSION}"}}')

    def CheckConfig(self, request: Message, _context: Context) -> Message:
        """Accept the configuration; Configure judges it."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Message, _context: Context) -> Message:
        """Compare honestly: without a change the engine would go on with an old token."""
        olds, news = bare(decode(request.olds)), bare(decode(request.news))
        changed = sorted(name for name in olds.keys() | news.keys() if olds.get(name) != news.get(name))
        changes = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=changes, diffs=changed)

    def Configure(self, request: Message, context: Context) -> Message:
        """Take the settings. No request is made."""
        settings = settings_from(bare(decode(request.args)))
        if problem := guard.refusal_of_token(settings.token):
            refuse(context, problem.replace("DIGITALOCEAN_TOKEN", "digitalocean:token or DIGITALOCEAN_TOKEN"))
        self._clients = Clients(settings)
        self._clients.warm()
        return provider_pb2.ConfigureResponse(supportsPreview=True, supports_autonaming_configuration=True)

    def Cancel(self, _request: Message, _context: Context) -> Message:
        """End all waiting; called at Ctrl-C, perhaps more than once."""
        self._cancelled.set()
        return empty_pb2.Empty()

    def end(self) -> None:
        """End all waiting, then the process."""
        self._cancelled.set()
        self.ended.set()

    # Resources

    def Check(self, request: Message, context: Context) -> Message:
        """Validate and fill in."""
        naming = schema.Naming(
            resource=request.name or request.urn.rpartition("::")[2],
            seed=request.randomSeed,
            proposed=request.autonaming.proposed_name,
            disabled=request.autonaming.mode == AUTONAMING_DISABLED,
        )
        inputs, failures = schema.check(
            self._resource(request, context).SCHEMA, decode(request.olds), decode(request.news), naming
        )
        return provider_pb2.CheckResponse(
            inputs=encode(inputs),
            failures=[provider_pb2.CheckFailure(property=item.property, reason=item.reason) for item in failures],
        )

    def Diff(self, request: Message, context: Context) -> Message:
        """Say what changes, and whether in place."""
        kind = self._resource(request, context).SCHEMA
        news = decode(request.news)
        changes = schema.diff(kind, decode(request.olds), decode(request.old_inputs), news)
        changes = {name: change for name, change in changes.items() if name not in request.ignoreChanges}
        kinds = provider_pb2.PropertyDiff.Kind
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changes else provider_pb2.DiffResponse.DIFF_NONE,
            replaces=[name for name, change in changes.items() if change.replaces],
            deleteBeforeReplace=schema.deletes_before_replacing(kind, news, changes),
            diffs=list(changes),
            detailedDiff={
                name: provider_pb2.PropertyDiff(kind=kinds.Value(change.kind), inputDiff=True)
                for name, change in changes.items()
            },
            hasDetailedDiff=True,
        )

    def Create(self, request: Message, context: Context) -> Message:
        """Create; what exists when something fails is kept in the engine's state."""
        module = self._resource(request, context)
        kind = module.SCHEMA
        inputs = decode(request.properties)
        if request.preview:
            foretold = schema.preview(kind, {}, inputs, None)
            return provider_pb2.CreateResponse(properties=encode(schema.seal(kind, foretold)))
        op = self._operation(request, context)
        stored = schema.stored_inputs(kind, inputs)
        properties: Properties = {}
        problem = ""
        try:
            op.pause(0)  # nothing new after an interruption
            properties = module.create(op, inputs)
            if not properties:
                problem = "it was created, but is gone already"
        except Exception as error:  # noqa: BLE001 -- whatever went wrong, what exists must not be orphaned
            problem = explain(error)
        if problem and op.id:
            kept = stored | {name: value for name, value in op.known.items() if value is not None}
            why = f"Error creating {kind.label} {op.id}: {problem}"
            self._keep_partial(context, why, id_=op.id, state=schema.seal(kind, kept), inputs=inputs)
        if problem:
            refuse(context, f"Error creating {kind.label}: {problem}")
        state = schema.new_state(kind, stored, properties)
        return provider_pb2.CreateResponse(id=op.id, properties=encode(schema.seal(kind, state)))

    def Read(self, request: Message, context: Context) -> Message:
        """Ask the API: for refresh, and for import, when there is no state."""
        module = self._resource(request, context)
        kind = module.SCHEMA
        op = self._operation(request, context)
        state, inputs, id_ = bare(decode(request.properties)), decode(request.inputs), request.id
        importing = not state and not inputs
        try:
            if importing and (locate := getattr(module, "locate", None)):
                id_, state = locate(id_)
            properties = module.read(op, id_, state)
        except ProviderError as error:
            refuse(context, f"Error reading {kind.label} {request.id}: {error}")
        if properties is None:
            # Without properties: the engine says "deleted" in a refresh and "does not exist" in an import.
            return provider_pb2.ReadResponse(id="")
        now = schema.inputs_from(kind, properties) if importing else schema.drifted_inputs(kind, inputs, properties)
        fresh = schema.new_state(kind, {} if importing else state, properties)
        return provider_pb2.ReadResponse(id=id_, properties=encode(schema.seal(kind, fresh)), inputs=encode(now))

    def Update(self, request: Message, context: Context) -> Message:
        """Change in place; when something fails, state and inputs become what the API has by then."""
        module = self._resource(request, context)
        kind = module.SCHEMA
        state, old_inputs = bare(decode(request.olds)), decode(request.old_inputs)
        inputs = decode(request.news)
        changes = schema.diff(kind, state, old_inputs, inputs)
        if request.preview:
            foretold = schema.preview(kind, state, inputs, changes)
            return provider_pb2.UpdateResponse(properties=encode(schema.seal(kind, foretold)))
        op = self._operation(request, context)
        wanted = schema.wanted(kind, state, inputs)
        problem = ""
        properties: Properties | None = None
        try:
            op.pause(0)
            if update := getattr(module, "update", None):
                update(op, request.id, state, inputs, set(changes) - set(request.ignoreChanges))
            properties = module.read(op, request.id, wanted)
            if properties is None:
                problem = "it is gone; run `pulumi refresh`"
        except Exception as error:  # noqa: BLE001 -- part of the change may have been made, which state must tell
            problem = explain(error)
        if problem:
            self._keep_what_changed(
                context, module, op, request, f"Error updating {kind.label} {request.id}: {problem}"
            )
        fresh = schema.new_state(kind, wanted, properties or {})
        return provider_pb2.UpdateResponse(properties=encode(schema.seal(kind, fresh)))

    def Delete(self, request: Message, context: Context) -> Message:
        """Delete; an error leaves the resource in the state."""
        module = self._resource(request, context)
        op = self._operation(request, context)
        try:
            op.pause(0)
            module.delete(op, request.id, bare(decode(request.properties)))
        except ProviderError as error:
            refuse(context, f"Error deleting {module.SCHEMA.label} {request.id}: {error}")
        return empty_pb2.Empty()

    def Invoke(self, request: Message, context: Context) -> Message:
        """Call a function."""
        op = self._operation(request, context)
        response = provider_pb2.InvokeResponse()
        try:
            result = invoke(op, request.tok, bare(decode(request.args)))
        except ProviderError as error:
            refuse(context, f"{request.tok}: {error}")
        getattr(response, "return").CopyFrom(encode(result))
        return response

    # Parts of the above

    def _resource(self, request: Message, context: Context) -> Resource:
        token = request.type or request.urn.split("::")[-2].rpartition("$")[2]
        try:
            return resource(token)
        except ProviderError as error:
            refuse(context, str(error))

    def _operation(self, request: Message, context: Context) -> Operation:
        if self._clients is None:
            refuse(context, "the provider is not configured yet")
        urn = getattr(request, "urn", "")
        return Operation(
            self._clients,
            self._cancelled,
            timeout=getattr(request, "timeout", 0),
            report=lambda text: self._report(urn, text),
        )

    def _report(self, urn: str, text: str) -> None:
        """Show a line in the engine's display, for as long as the operation lasts."""
        if not self._engine:
            return
        with self._lock:
            if self._stub is None:
                channel = grpc.insecure_channel(self._engine, options=(("grpc.enable_http_proxy", 0),))
                self._stub = engine_pb2_grpc.EngineStub(channel)
        request = engine_pb2.LogRequest(severity=engine_pb2.INFO, message=text, urn=urn, ephemeral=True)
        with contextlib.suppress(grpc.RpcError):  # a courtesy: an engine that is gone misses nothing
            self._stub.Log(request, timeout=REPORT_TIMEOUT)

    def _keep_partial(self, context: Context, why: str, *, id_: str, state: Properties, inputs: Properties) -> NoReturn:
        """End the request with an error, but let the engine keep the resource; `state` is sealed."""
        detail = provider_pb2.ErrorResourceInitFailed(
            id=id_, properties=encode(state), inputs=encode(inputs), reasons=[why]
        )
        status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=why)
        status.details.add().Pack(detail)
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        refuse(context, why)

    def _keep_what_changed(
        self, context: Context, module: Resource, op: Operation, request: Message, why: str
    ) -> NoReturn:
        kind, state = module.SCHEMA, bare(decode(request.olds))
        try:
            properties = module.read(op, request.id, state)
        except ProviderError:
            properties = None
        if properties is None:
            refuse(context, why)  # the engine keeps the state that it has
        fresh = schema.new_state(kind, state, properties)
        inputs = schema.drifted_inputs(kind, decode(request.old_inputs), properties)
        self._keep_partial(context, why, id_=request.id, state=schema.seal(kind, fresh), inputs=inputs)


def serve(engine: str) -> None:
    """Serve on a free loopback port until the engine ends the process or is gone itself."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")  # to stderr, which the engine shows
    provider = Provider(engine)
    # How the engine ends its plugins, which have process groups of their own: Ctrl-C arrives as a Cancel request.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: provider.end())
    server = grpc.server(
        ThreadPoolExecutor(WORKERS),
        options=(("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)),
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    parent = os.getppid()
    server.start()
    print(port, flush=True)  # noqa: T201 -- how the engine learns the port
    while not provider.ended.wait(ENGINE_CHECK):
        if os.getppid() != parent:  # the engine was killed: nobody will ever end this process
            provider.end()
    server.stop(grace=None)
    gc.freeze()  # the engine waits for the end, which would take longer by a search for garbage among all modules
