"""The plugin's gRPC service: Pulumi's provider protocol over the resources' schemas and functions."""

# The protocol's names are not Python's (Create, deleteBeforeReplace): ruff's naming rules are off for this file.
# ruff: noqa: N802

import logging
from typing import NoReturn

from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2

from digitalocean_provider import guard, schema
from digitalocean_provider.clients import Clients, settings_from
from digitalocean_provider.errors import ProviderError
from digitalocean_provider.invokes import invoke
from digitalocean_provider.operation import Operation
from digitalocean_provider.resources import Resource, resource
from plugin_base.service import Context, Message, Service, keep_partial, kind_of, refuse
from plugin_base.wire import Properties, bare, decode, encode

VERSION = "4.84.1"  # of pulumi-digitalocean, whose properties these are
AUTONAMING_DISABLED = 2  # CheckRequest.AutonamingOptions.Mode

log = logging.getLogger("digitalocean_provider")


def explain(error: Exception) -> str:
    """Return the text for the user; what isn't ours is a bug, so its traceback goes to the log."""
    if isinstance(error, ProviderError):
        return str(error)
    log.error("bug in the sandbox's provider", exc_info=error)
    return f"bug in the sandbox's provider: {type(error).__name__}: {error}"


class Provider(Service):
    """The provider, one per process. Requests come concurrently, each in a thread of its own."""

    def __init__(self, engine: str = "") -> None:
        super().__init__("digitalocean", VERSION, engine)
        self._clients: Clients | None = None

    # Life of the plugin

    def Handshake(self, request: Message, context: Context) -> Message:
        """Tell what this provider can do. Secrets come in plain and are marked again by the engine, by their name."""
        super().Handshake(request, context)
        return provider_pb2.ProviderHandshakeResponse(supports_autonaming_configuration=True)

    def Configure(self, request: Message, context: Context) -> Message:
        """Take the settings. No request is made."""
        settings = settings_from(bare(decode(request.args)))
        if problem := guard.refusal_of_token(settings.token):
            refuse(context, problem.replace("DIGITALOCEAN_TOKEN", "digitalocean:token or DIGITALOCEAN_TOKEN"))
        self._clients = Clients(settings)
        return provider_pb2.ConfigureResponse(supportsPreview=True, supports_autonaming_configuration=True)

    # Resources

    def Check(self, request: Message, context: Context) -> Message:
        """Validate and fill in."""
        if self._clients and request.olds.fields:
            self._clients.warm()  # of what is there, even a preview asks something
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
            keep_partial(context, why, id_=op.id, state=schema.seal(kind, kept), inputs=inputs)
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
        try:
            return resource(kind_of(request))
        except ProviderError as error:
            refuse(context, str(error))

    def _operation(self, request: Message, context: Context) -> Operation:
        if self._clients is None:
            refuse(context, "the provider is not configured yet")
        urn = getattr(request, "urn", "")
        return Operation(
            self._clients,
            self.cancelled,
            timeout=getattr(request, "timeout", 0),
            report=lambda text: self.report(urn, text),
        )

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
        keep_partial(context, why, id_=request.id, state=schema.seal(kind, fresh), inputs=inputs)
