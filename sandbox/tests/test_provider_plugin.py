import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from digitalocean_provider.clients import Clients, Reply, settings_from
from digitalocean_provider.errors import ApiError, Unreachable
from digitalocean_provider.operation import Operation, go_time
from digitalocean_provider.plugin import Provider
from digitalocean_provider.resources.database_cluster import uri
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from plugin_base.wire import UNKNOWN, Secret, decode, encode

LAUNCHER = Path(__file__).parents[1] / "provider" / "pulumi-resource-digitalocean"
VPC_URN = "urn:pulumi:s::p::digitalocean:index/vpc:Vpc::net"
CLUSTER_URN = "urn:pulumi:s::p::digitalocean:index/databaseCluster:DatabaseCluster::db"
CLUSTER_INPUTS = {
    "name": "db",
    "engine": "pg",
    "version": "17",
    "size": "db-s-1vcpu-2gb",
    "region": "nyc3",
    "nodeCount": 1,
    "__defaults": [],
}
DEADLINE = 20  # seconds

Answer = Callable[[dict[str, Any] | None], Any]  # of the body that was sent


class Canned(Clients):
    """Clients that answer from a table of `METHOD path`, and remember what was asked."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        super().__init__(settings_from({"token": "t", "httpRetryWaitMin": "0.01"}))
        self.answers = answers
        self.asked: list[str] = []

    def send(self, method: str, *path: str | int, body: dict[str, Any] | None = None, **_query: object) -> Reply:
        """Answer, or raise what the table's function raises."""
        where = "/".join(map(str, path))
        self.asked.append(f"{method} {where}")
        answer = self.answers[self.asked[-1]](body)
        status, found = answer if isinstance(answer, tuple) else (200, answer)
        return Reply(method=method, url=f"https://api/v2/{where}", status=status, body=found, retry_after=None)


def error(status: int, message: str) -> tuple[int, dict[str, str]]:
    """An error document of the API."""
    return status, {"id": "x", "message": message, "request_id": "r1"}


def in_turn(*answers: object) -> Answer:
    """Answer once each, then the last for ever."""
    left = list(answers)

    def answer(_body: dict[str, Any] | None) -> Any:  # noqa: ANN401 -- JSON
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return found

    return answer


def cluster(status: str, password: str = "") -> dict[str, Any]:
    """The API's document of a cluster."""
    connection = {
        "uri": "postgresql://doadmin@public.example:25060/defaultdb?sslmode=require",
        "host": "public.example",
        "port": 25060,
        "user": "doadmin",
        "database": "defaultdb",
        "password": password,
    }
    fields = {"id": "c1", "name": "db", "engine": "pg", "version": "17", "size": "db-s-1vcpu-2gb", "region": "nyc3"}
    return {"database": fields | {"num_nodes": 1, "status": status, "connection": connection, "tags": []}}


def vpc(**changes: str) -> dict[str, Any]:
    """The API's document of a network."""
    fields = {"id": "v1", "urn": "do:vpc:v1", "name": "n", "region": "nyc3", "ip_range": "10.0.0.0/20"}
    return {"vpc": fields | {"description": "", "default": False, "created_at": "2026-11-23T10:00:00Z"} | changes}


class Served:
    """A provider behind real gRPC, with canned clients."""

    def __init__(self) -> None:
        self.provider = Provider()
        self._server = grpc.server(ThreadPoolExecutor(8))
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(self.provider, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=(("grpc.enable_http_proxy", 0),))
        self.stub = provider_pb2_grpc.ResourceProviderStub(self._channel)

    def answers(self, answers: dict[str, Answer]) -> Canned:
        """Give the provider its API."""
        self.provider._clients = clients = Canned(answers)
        return clients

    def stop(self) -> None:
        """End server and channel."""
        self.provider.end()
        self._channel.close()
        self._server.stop(grace=None).wait()


@pytest.fixture
def served() -> Iterator[Served]:
    """A provider behind gRPC."""
    served = Served()
    yield served
    served.stop()


def kept(failure: grpc.RpcError) -> Any:  # noqa: ANN401 -- a protobuf message
    """What the engine keeps of a resource whose creation or update failed."""
    metadata = dict(failure.trailing_metadata())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    detail = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(detail)
    return detail


class TestCreate:
    """What exists is never orphaned."""

    def test_an_interrupted_creation_keeps_the_cluster_and_its_password(self, served: Served) -> None:
        """Ctrl-C while a cluster is being made: its id, and the password that only the POST had, stay in the state."""
        answers = {
            "POST databases": in_turn(cluster("creating", "pw")),
            "GET databases/c1": in_turn(cluster("creating")),
        }
        clients = served.answers(answers)
        request = provider_pb2.CreateRequest(urn=CLUSTER_URN, properties=encode(CLUSTER_INPUTS))
        pending = served.stub.Create.future(request)
        deadline = time.monotonic() + DEADLINE
        while "GET databases/c1" not in clients.asked and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        started = time.monotonic()
        served.stub.Cancel(empty_pb2.Empty())
        served.stub.Cancel(empty_pb2.Empty())
        with pytest.raises(grpc.RpcError) as failure:
            pending.result(timeout=DEADLINE)

        detail = kept(failure.value)
        assert (detail.id, decode(detail.properties)["password"]) == ("c1", Secret("pw"))
        assert list(detail.reasons) == ["Error creating database cluster c1: cancelled by the user"]
        assert time.monotonic() - started < 1

    def test_a_bug_after_the_creation_orphans_nothing(self, served: Served) -> None:
        """An answer without the expected members is shown, and the resource is kept."""
        served.answers({"POST vpcs": in_turn(vpc()), "GET vpcs/v1": in_turn({"vpc": {}})})
        request = provider_pb2.CreateRequest(urn=VPC_URN, properties=encode({"name": "n", "region": "nyc3"}))
        with pytest.raises(grpc.RpcError) as failure:
            served.stub.Create(request)

        assert (kept(failure.value).id, "KeyError" in failure.value.details()) == ("v1", True)

    def test_a_refused_creation_keeps_nothing(self, served: Served) -> None:
        """There is nothing to keep; the text has the API's."""
        served.answers({"POST vpcs": in_turn(error(422, "name taken"))})
        request = provider_pb2.CreateRequest(urn=VPC_URN, properties=encode({"name": "n", "region": "nyc3"}))
        with pytest.raises(grpc.RpcError) as failure:
            served.stub.Create(request)

        assert failure.value.details() == 'Error creating VPC: POST https://api/v2/vpcs: 422 (request "r1") name taken'
        assert "grpc-status-details-bin" not in dict(failure.value.trailing_metadata())

    def test_nothing_is_created_after_an_interruption(self, served: Served) -> None:
        """A creation that had not begun does not begin."""
        clients = served.answers({})
        served.stub.Cancel(empty_pb2.Empty())
        with pytest.raises(grpc.RpcError, match="cancelled by the user"):
            served.stub.Create(provider_pb2.CreateRequest(urn=VPC_URN, properties=encode({"region": "nyc3"})))

        assert clients.asked == []

    def test_a_preview_asks_nothing(self, served: Served) -> None:
        """A preview of a new resource makes no request; what the API sets is unknown."""
        clients = served.answers({})
        request = provider_pb2.CreateRequest(
            urn=VPC_URN, properties=encode({"name": "n", "region": "nyc3"}), preview=True
        )
        properties = decode(served.stub.Create(request).properties)

        assert (properties["vpcUrn"], clients.asked) == (UNKNOWN, [])

    def test_an_unknown_resource_is_named(self, served: Served) -> None:
        """The sandbox has what the program uses, and says so."""
        urn = "urn:pulumi:s::p::digitalocean:index/volume:Volume::v"
        with pytest.raises(grpc.RpcError, match="index/volume:Volume: not a resource that the sandbox's provider has"):
            served.stub.Check(provider_pb2.CheckRequest(urn=urn))


class TestRead:
    """The API decides, never the state."""

    def test_what_is_gone_is_gone(self, served: Served) -> None:
        """An empty id without properties: "deleted" in a refresh, "does not exist" in an import."""
        served.answers({"GET vpcs/v1": in_turn(error(404, "not found"))})
        response = served.stub.Read(provider_pb2.ReadRequest(id="v1", urn=VPC_URN))

        assert (response.id, response.HasField("properties"), response.HasField("inputs")) == ("", False, False)

    def test_a_refresh_shows_what_somebody_else_changed(self, served: Served) -> None:
        """In the properties and in the inputs."""
        served.answers({"GET vpcs/v1": in_turn(vpc(description="theirs"))})
        old = encode({"name": "n", "region": "nyc3", "description": "ours"})
        response = served.stub.Read(provider_pb2.ReadRequest(id="v1", urn=VPC_URN, properties=old, inputs=old))

        assert [decode(bag)["description"] for bag in (response.properties, response.inputs)] == ["theirs", "theirs"]

    def test_an_import_of_a_part_takes_cluster_and_name(self, served: Served) -> None:
        """The resource's own id differs from the one that `pulumi import` takes."""
        served.answers(
            {"GET databases/c1/users/app": in_turn({"user": {"name": "app", "password": "pw", "role": "normal"}})}
        )
        urn = "urn:pulumi:s::p::digitalocean:index/databaseUser:DatabaseUser::u"
        response = served.stub.Read(provider_pb2.ReadRequest(id="c1,app", urn=urn))

        assert (response.id, decode(response.properties)["password"]) == ("c1/user/app", Secret("pw"))


class TestUpdate:
    """What changed is in the state, what didn't is tried again."""

    def test_a_failed_update_keeps_what_the_api_has(self, served: Served) -> None:
        """The next `up` sees the difference that is left."""
        served.answers({"PUT vpcs/v1": in_turn(error(422, "bad name")), "GET vpcs/v1": in_turn(vpc())})
        old = {"name": "n", "region": "nyc3", "description": "", "__defaults": []}
        request = provider_pb2.UpdateRequest(
            id="v1", urn=VPC_URN, olds=encode(old), old_inputs=encode(old), news=encode(old | {"name": "bad"})
        )
        with pytest.raises(grpc.RpcError) as failure:
            served.stub.Update(request)

        assert decode(kept(failure.value).inputs)["name"] == "n"

    def test_an_interrupted_creation_is_finished(self, served: Served) -> None:
        """The engine calls Update without a change: the cluster is waited for, then its window is set."""
        clients = served.answers(
            {
                "GET databases/c1": in_turn(cluster("creating"), cluster("online")),
                "PUT databases/c1/maintenance": in_turn((204, None)),
            }
        )
        inputs = CLUSTER_INPUTS | {"maintenanceWindows": [{"day": "monday", "hour": "03:00"}]}
        state = encode(inputs | {"password": Secret("pw")})
        request = provider_pb2.UpdateRequest(
            id="c1", urn=CLUSTER_URN, olds=state, old_inputs=encode(inputs), news=encode(inputs)
        )
        properties = decode(served.stub.Update(request).properties)

        assert clients.asked == [
            "GET databases/c1",
            "GET databases/c1",
            "PUT databases/c1/maintenance",
            "GET databases/c1",
        ]
        assert properties["uri"] == Secret("postgresql://doadmin:pw@public.example:25060/defaultdb?sslmode=require")

    def test_what_the_program_has_ceased_to_say_leaves_the_state(self, served: Served) -> None:
        """Else the next preview would remove it again; the cluster keeps its window."""
        window = {"day": "monday", "hour": "03:00", "pending": False}
        served.answers(
            {"GET databases/c1": in_turn({"database": cluster("online")["database"] | {"maintenance_window": window}})}
        )
        old = CLUSTER_INPUTS | {"maintenanceWindows": [{"day": "monday", "hour": "03:00"}]}
        request = provider_pb2.UpdateRequest(
            id="c1", urn=CLUSTER_URN, olds=encode(old), old_inputs=encode(old), news=encode(CLUSTER_INPUTS)
        )

        assert "maintenanceWindows" not in decode(served.stub.Update(request).properties)

    def test_a_grown_disk_is_not_named_in_a_resize(self, served: Served) -> None:
        """The API would take the size for a wish; what the program doesn't say is not sent."""
        sent: list[Any] = []

        def resize(body: dict[str, Any] | None) -> tuple[int, None]:
            sent.append(body)
            return 202, None

        served.answers({"PUT databases/c1/resize": resize, "GET databases/c1": in_turn(cluster("online"))})
        request = provider_pb2.UpdateRequest(
            id="c1",
            urn=CLUSTER_URN,
            olds=encode(CLUSTER_INPUTS | {"storageSizeMib": "51200"}),
            old_inputs=encode(CLUSTER_INPUTS),
            news=encode(CLUSTER_INPUTS | {"size": "db-s-2vcpu-4gb"}),
        )
        served.stub.Update(request)

        assert sent == [{"size": "db-s-2vcpu-4gb", "num_nodes": 1}]


class TestCalls:
    """Retries as the official plugin makes them."""

    @pytest.mark.parametrize("passing", [error(429, "slow down"), error(503, "busy"), Unreachable("no route")])
    def test_a_passing_fault_is_tried_again(self, passing: object) -> None:
        """429, 5xx and lost connections pass."""
        clients = Canned({"GET vpcs/v1": in_turn(passing, passing, vpc())})

        assert Operation(clients, threading.Event()).call("GET", "vpcs", "v1") == vpc()

    def test_it_gives_up_after_four_retries(self) -> None:
        """Five requests in all, then the API's text."""
        clients = Canned({"GET vpcs/v1": in_turn(error(500, "broken"))})
        with pytest.raises(ApiError, match=r"500 .* broken"):
            Operation(clients, threading.Event()).call("GET", "vpcs", "v1")

        assert clients.asked == ["GET vpcs/v1"] * 5

    @pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 501])
    def test_a_refusal_is_final(self, status: int) -> None:
        """The same request would be refused again."""
        clients = Canned({"GET vpcs/v1": in_turn(error(status, "no"))})
        with pytest.raises(ApiError):
            Operation(clients, threading.Event()).call("GET", "vpcs", "v1")

        assert clients.asked == ["GET vpcs/v1"]


def test_a_uri_gets_user_and_password() -> None:
    """Special characters are escaped as Go escapes them, and a password in the API's URI is replaced."""
    connection = {"uri": "postgresql://u:old@host:25061/pool?sslmode=require", "user": "app"}

    assert uri(connection, "p@s:s/w+d") == "postgresql://app:p%40s%3As%2Fw+d@host:25061/pool?sslmode=require"


def test_times_are_written_as_go_writes_them() -> None:
    """Outputs of the official plugin that come from Time.String()."""
    assert go_time("2026-11-23T10:00:00Z") == "2026-11-23 10:00:00 +0000 UTC"


def launch(home: Path, token: str, cwd: Path) -> subprocess.Popen[str]:
    """Start the plugin as the engine does: by its name on PATH."""
    environment = os.environ | {
        "PATH": f"{LAUNCHER.parent}{os.pathsep}{os.environ['PATH']}",
        "SANDBOX_HOME": str(home),
        "DIGITALOCEAN_TOKEN": token,
    }
    return subprocess.Popen(
        [LAUNCHER.name, "127.0.0.1:1"],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class TestLauncher:
    """It serves sandboxes, from anywhere, and nothing else."""

    def test_it_prints_its_port_and_ends_when_told(self, tmp_path: Path) -> None:
        """From a folder whose modules must not be imported instead of its own."""
        (tmp_path / "world.json").write_text(json.dumps({"token": "sandbox_v1_x"}))
        (tmp_path / "digitalocean_provider.py").write_text("raise SystemExit('the wrong module')")
        with launch(tmp_path, "sandbox_v1_x", tmp_path) as plugin:
            assert plugin.stdout is not None
            port = plugin.stdout.readline()
            plugin.terminate()

            assert (port.strip().isdigit(), plugin.wait(DEADLINE)) == (True, 0)

    @pytest.mark.parametrize(
        ("token", "reason"),
        [
            ("dop_v1_0123", "got one of a real account"),
            ("sandbox_v1_other", "must be the token of the sandbox in"),
            ("", "must be the token of the sandbox in"),
        ],
    )
    def test_it_refuses_other_tokens(self, tmp_path: Path, token: str, reason: str) -> None:
        """Before it serves, with the reason on stderr."""
        (tmp_path / "world.json").write_text(json.dumps({"token": "sandbox_v1_x"}))
        with launch(tmp_path, token, tmp_path) as plugin:
            _, stderr = plugin.communicate(timeout=DEADLINE)

        assert (plugin.returncode, reason in stderr) == (1, True)

    def test_it_refuses_where_there_is_no_sandbox(self, tmp_path: Path) -> None:
        """A token alone makes no sandbox."""
        with launch(tmp_path / "none", "sandbox_v1_x", tmp_path) as plugin:
            _, stderr = plugin.communicate(timeout=DEADLINE)

        assert (plugin.returncode, "start one with `sandbox up`" in stderr) == (1, True)
