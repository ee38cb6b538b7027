"""Run the program against mocks and keep what it asked the engine for: inputs, options, dependencies."""

import asyncio
import json
import runpy
import signal
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime
from google.protobuf.json_format import MessageToDict
from pulumi.runtime import mocks
from pulumi.runtime.proto import resource_pb2

with warnings.catch_warnings():
    # The SDK warns of its own deprecated functions when it is imported; here warnings are errors.
    warnings.filterwarnings("ignore", r"digitalocean\.", DeprecationWarning)
    import pulumi_digitalocean as _  # noqa: F401 imported first here, so that later imports are silent

ROOT = Path(__file__).parent.parent.parent
SECRET = "4dabf18193072939515e22adb298388d"  # the engine's mark of a secret in a property
ADMIN_PASSWORD = "doadmin-password"
EVERYWHERE = ["0.0.0.0/0", "::/0"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """One resource as the engine was asked for it; `secrets` are the inputs that hold a secret."""

    urn: str
    type: str
    name: str
    parent: str
    custom: bool
    inputs: dict[str, Any]
    secrets: frozenset[str]
    dependencies: frozenset[str]
    options: resource_pb2.RegisterResourceRequest


@dataclass(slots=True)
class Graph:
    """Every resource of a program, by the name of its role: `vpc` for "shop-vpc"."""

    prefix: str
    registrations: dict[str, Registration] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    secret_outputs: set[str] = field(default_factory=set)

    def __getitem__(self, role: str) -> Registration:
        """The one custom resource of a role."""
        (found,) = (r for r in self.registrations.values() if r.custom and r.name == f"{self.prefix}-{role}")
        return found

    def __contains__(self, role: str) -> bool:
        """Whether there is such a resource."""
        return any(r.custom and r.name == f"{self.prefix}-{role}" for r in self.registrations.values())

    def of_type(self, suffix: str) -> list[Registration]:
        """All resources whose type ends so, for example ":Droplet"."""
        return [r for r in self.registrations.values() if r.type.endswith(suffix)]

    def waits_for(self, role: str, other: str) -> bool:
        """Whether a resource is made after another one, directly or through what is between them."""
        return self[other].urn in self._before(self[role].urn)

    def _before(self, urn: str) -> set[str]:
        seen: set[str] = set()
        ahead = [urn]
        while ahead:
            for dependency in self.registrations[ahead.pop()].dependencies - seen:
                seen.add(dependency)
                ahead.append(dependency)
        return seen

    def deleted_with(self, role: str) -> str:
        """The name of the resource with which another one goes, or nothing."""
        urn = self[role].options.deletedWith
        return urn and self.registrations[urn].name


class Recorder(mocks.MockMonitor):
    """A monitor that keeps each request."""

    def __init__(self, answers: mocks.Mocks, graph: Graph) -> None:
        super().__init__(answers)
        self.graph = graph

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> Any:  # noqa: ANN401, N802 as its base
        """Keep the request and answer as the mocks say."""
        answer = super().RegisterResource(request)
        if request.type != "pulumi:pulumi:Stack":
            raw = MessageToDict(request.object)
            self.graph.registrations[answer.urn] = Registration(
                urn=answer.urn,
                type=request.type,
                name=request.name,
                parent=request.parent,
                custom=request.custom,
                inputs={key: plain(value) for key, value in raw.items()},
                secrets=frozenset(key for key, value in raw.items() if SECRET in json.dumps(value)),
                dependencies=frozenset(request.dependencies),
                options=request,
            )
        return answer


def plain(value: Any) -> Any:  # noqa: ANN401 any JSON
    """The value without the marks of secrets."""
    if isinstance(value, dict):
        return plain(value["value"]) if SECRET in value else {key: plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list) else value


def _cluster(name: str, _inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "host": f"{name}.example",
        "privateHost": f"private-{name}.example",
        "port": 25060,
        "uri": pulumi.Output.secret(f"postgres://doadmin:{ADMIN_PASSWORD}@{name}.example:25060/defaultdb"),
        "password": pulumi.Output.secret(ADMIN_PASSWORD),
    }


ANSWERS: dict[str, Callable[[str, Mapping[str, Any]], dict[str, Any]]] = {
    "DatabaseCluster": _cluster,
    "DatabaseUser": lambda name, _: {"password": pulumi.Output.secret(f"{name}-password")},
    "DatabaseConnectionPool": lambda name, _: {"privateHost": f"private-{name}.example", "port": 25061},
    "SpacesBucket": lambda name, _: {"name": f"{name}-1a2b3c4", "bucketDomainName": f"{name}.nyc3.example"},
    "SpacesKey": lambda name, _: {"accessKey": f"{name}-id", "secretKey": pulumi.Output.secret(f"{name}-secret")},
    "Cdn": lambda name, _: {"endpoint": f"{name}.cdn.example"},
    "ReservedIp": lambda _name, _: {"ipAddress": "203.0.113.9"},
    "SshKey": lambda name, _: {"fingerprint": f"{name}-fingerprint"},
    "Secret": lambda name, _: {"value": f"{name}-value"},
    "DiscardedKey": lambda _name, _: {"public_key": "ssh-ed25519 AAAA"},
    "LoadBalancer": lambda _name, _: {"ip": "203.0.113.80"},
    "VpcNatGateway": lambda _name, _: {"egresses": [{"publicGateways": [{"ipv4": "203.0.113.190"}]}]},
    "Rollout": lambda _name, _: {"attempt": 1},
}


class Answers(mocks.Mocks):
    """Plausible outputs for what the program creates."""

    def __init__(self, outputs: Mapping[str, Any]) -> None:
        self.droplets = 100
        self.outputs = outputs  # of the last update

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        """Inputs come back as outputs, and what the cloud adds."""
        kind = args.typ.replace("/", ":").rpartition(":")[2]
        made = ANSWERS.get(kind[0].upper() + kind[1:], lambda _name, _inputs: {})(args.name, args.inputs)
        identity = f"{args.name}-id"
        if kind == "Droplet":
            self.droplets += 1
            identity = str(self.droplets)
        return identity, {**args.inputs, **made}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        """The one data source of the program, and the stack's outputs as they were."""
        if args.token == "pulumi:pulumi:readStackOutputs":
            return {"outputs": dict(self.outputs)}, []
        assert args.token == "digitalocean:index/getDatabaseCa:getDatabaseCa"
        return {"id": "ca", "clusterId": args.args["clusterId"], "certificate": "cluster-ca"}, []


# The SDK takes for granted that its thread has one; a test that called asyncio.run() has left none.
LOOP = asyncio.new_event_loop()


def set_mocks(*arguments: Any, **options: Any) -> None:  # noqa: ANN401 -- pulumi's
    """Let Pulumi talk to mocks."""
    asyncio.set_event_loop(LOOP)
    pulumi.runtime.set_mocks(*arguments, **options)


def run_program(
    settings: Mapping[str, Any],
    *,
    preview: bool = False,
    outputs: Mapping[str, Any] | None = None,
    provider: Mapping[str, str] | None = None,
) -> Graph:
    """Run `__main__.py` with these settings, those of DigitalOcean's `provider`, and the last update's `outputs`.

    Every resource is waited for.
    """
    graph = Graph(prefix=str(settings["name"]))
    answers = Answers(outputs or {})
    monitor = Recorder(answers, graph)
    set_mocks(answers, project="django-do", stack="test", preview=preview, monitor=monitor)
    pulumi.runtime.set_all_config(
        {f"django-do:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
        | {f"digitalocean:{key}": value for key, value in (provider or {}).items()}
    )

    def resolve(outputs: list[Any]) -> None:
        graph.outputs, secret = outputs[0], outputs[1]
        graph.secret_outputs = {key for key, hidden in zip(graph.outputs, secret, strict=True) if hidden}

    # pulumi.runtime.test waits for everything that is under way; without it the graph would be half there.
    @pulumi.runtime.test
    def program() -> pulumi.Output[None]:
        exported: dict[str, Any] = {}
        original = pulumi.export
        on_interrupt = signal.getsignal(signal.SIGINT)  # the program's own way to end is not the tests'
        pulumi.export = exported.__setitem__
        try:
            runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")
        finally:
            pulumi.export = original
            signal.signal(signal.SIGINT, on_interrupt)
        hidden = [pulumi.Output.from_input(value).is_secret() for value in exported.values()]
        return pulumi.Output.all(pulumi.Output.all(**exported), pulumi.Output.all(*hidden)).apply(resolve)

    try:
        program()
    finally:
        pulumi.runtime.set_all_config({})
    return graph
