"""The plugin's gRPC service: Pulumi's provider protocol over the providers of the single resources."""

# The protocol's names are not Python's (Create, acceptSecrets): ruff's naming rules are off for this file.
# ruff: noqa: N802

import logging
from collections.abc import Callable
from functools import wraps

from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2

from plugin_base.service import Context, Message, Service, keep_partial, kind_of, refuse
from plugin_base.wire import Properties, Secret, bare, decode, encode, has_secret
from protocol.document import DocumentError
from provider.actions import ActionError, Operation, PartlyMade, ResourceProvider, pause, running
from provider.database_grants import DatabaseGrantsProvider
from provider.discarded_key import DiscardedKeyProvider
from provider.secret import SecretProvider
from provider.traffic.balancer_end import BalancerEndProvider
from provider.traffic.handover import HandoverProvider
from provider.traffic.member import MemberProvider
from provider.traffic.new_address import NewAddressProvider
from provider.traffic.probe import ProbeProvider
from provider.traffic.rollout import RolloutProvider
from provider.uploads.agent_package import AgentPackageProvider
from provider.uploads.artifact import ArtifactProvider
from provider.uploads.environment import EnvironmentProvider

# Not the project's name: the engine passes every setting of a namespace to the provider of that name.
PACKAGE = "django-do-runner"
VERSION = "0.1.0"

# What the state of every stack has: rename only with an alias.
PROVIDERS: dict[str, ResourceProvider] = {
    f"{PACKAGE}:index:Secret": SecretProvider(),
    f"{PACKAGE}:index:DiscardedKey": DiscardedKeyProvider(),
    f"{PACKAGE}:index:DatabaseGrants": DatabaseGrantsProvider(),
    f"{PACKAGE}:index:AgentPackage": AgentPackageProvider(),
    f"{PACKAGE}:index:Artifact": ArtifactProvider(),
    f"{PACKAGE}:index:Environment": EnvironmentProvider(),
    f"{PACKAGE}:index:Rollout": RolloutProvider(),
    f"{PACKAGE}:index:Probe": ProbeProvider(),
    f"{PACKAGE}:index:Member": MemberProvider(),
    f"{PACKAGE}:index:BalancerEnd": BalancerEndProvider(),
    f"{PACKAGE}:index:NewAddress": NewAddressProvider(),
    f"{PACKAGE}:index:Handover": HandoverProvider(),
}

log = logging.getLogger(PACKAGE)

Method = Callable[["Runner", Message], Message]


def seal(provider: ResourceProvider, outs: Properties, *sources: Properties) -> Properties:
    """Mark the secrets among the outputs: what is one always, and what is one in the inputs or in the state."""
    hidden = {name for source in sources for name, value in source.items() if has_secret(value)} | {*provider.secrets}
    return {name: Secret(value) if name in hidden and value is not None else value for name, value in outs.items()}


def answered(method: Method) -> Callable[["Runner", Message, Context], Message]:
    """Let a method raise: the user gets the one message, the log the traceback of what nobody foresaw."""

    @wraps(method)
    def answer(self: "Runner", request: Message, context: Context) -> Message:
        operation = Operation(
            self.cancelled, lambda text: self.report(request.urn, text), lambda text: self.warn(request.urn, text)
        )
        try:
            with running(operation):
                return method(self, request)
        except PartlyMade as error:
            partly = error
        except ActionError as error:
            refuse(context, str(error))
        except DocumentError as error:
            refuse(context, f"{error}; see docs/releases.md")
        except Exception as error:
            log.exception("a bug in provider/")
            refuse(context, f"a bug in provider/: {type(error).__name__}: {error}; its traceback is in the log")
        inputs = decode(request.news if isinstance(request, provider_pb2.UpdateRequest) else request.properties)
        state = seal(PROVIDERS[kind_of(request)], partly.outs, inputs)
        return keep_partial(context, str(partly), id_=partly.id, state=state, inputs=inputs)

    return answer


class Runner(Service):
    """The provider, one per process. Requests come concurrently, each in a thread of its own."""

    def __init__(self, engine: str = "") -> None:
        super().__init__(PACKAGE, VERSION, engine)

    def Configure(self, _request: Message, _context: Context) -> Message:
        """Take no settings; secrets are to come, and go, marked as such."""
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    @answered
    def Check(self, request: Message) -> Message:
        """Refuse what can't be done."""
        if "__provider" in request.olds.fields:
            raise ActionError(
                "this stack: must be made by this version, was made by an older one, whose dynamic providers it can't "
                "use; destroy it with that version, then make it anew"
            )
        result = self._provider(request).check(bare(decode(request.olds)), bare(decode(request.news)))
        failures = [provider_pb2.CheckFailure(reason=reason) for reason in result.failures]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    @answered
    def Diff(self, request: Message) -> Message:
        """Compare the state with the inputs."""
        result = self._provider(request).diff(request.id, bare(decode(request.olds)), bare(decode(request.news)))
        changes = provider_pb2.DiffResponse.DIFF_SOME if result.changes else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=changes, replaces=result.replaces)

    @answered
    def Create(self, request: Message) -> Message:
        """Make a resource; in a preview the inputs are what is known of it."""
        provider, inputs = self._provider(request), decode(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=request.properties)
        pause(0)  # nothing new after an interruption
        result = provider.create(bare(inputs))
        return provider_pb2.CreateResponse(id=result.id, properties=encode(seal(provider, result.outs, inputs)))

    @answered
    def Update(self, request: Message) -> Message:
        """Change a resource in place; in a preview the inputs are what is known of it."""
        provider, inputs = self._provider(request), decode(request.news)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=request.news)
        pause(0)
        result = provider.update(request.id, bare(decode(request.olds)), bare(inputs))
        return provider_pb2.UpdateResponse(properties=encode(seal(provider, result.outs, inputs)))

    @answered
    def Read(self, request: Message) -> Message:
        """Look whether a resource is still as the state says, for `pulumi refresh`."""
        provider, state = self._provider(request), decode(request.properties)
        if not state:
            raise ActionError(f"{kind_of(request)}: can't be imported; `pulumi up` makes it")
        result = provider.read(request.id, bare(state))
        if result.id is None:
            # Without properties: the engine takes it for deleted.
            return provider_pb2.ReadResponse(id="")
        outs = encode(seal(provider, result.outs, state))
        return provider_pb2.ReadResponse(id=result.id, properties=outs, inputs=request.inputs)

    @answered
    def Delete(self, request: Message) -> Message:
        """Forget a resource."""
        self._provider(request).delete(request.id, bare(decode(request.properties)))
        return empty_pb2.Empty()

    @staticmethod
    def _provider(request: Message) -> ResourceProvider:
        kind = kind_of(request)
        if kind not in PROVIDERS:
            raise ActionError(f"{kind}: must be one of {', '.join(PROVIDERS)}; another version of the program made it?")
        return PROVIDERS[kind]
