"""The program's plugin over real gRPC, and the way the engine starts it."""

import inspect
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import engine_pb2_grpc, provider_pb2, provider_pb2_grpc, status_pb2

from plugin_base.wire import UNKNOWN, Secret, decode, encode
from protocol.release import DESIRED, Desired, Release
from provider import resources
from provider.plugin import PACKAGE, PROVIDERS, Runner
from tests.unit.conftest import Buckets

ROOT = Path(__file__).parent.parent.parent
DIGEST = "1" * 64
RELEASE = "11111111-11111111"
LAUNCHER = ROOT / "provider" / "pulumi-resource-django-do-runner"
DEADLINE = 20  # seconds
# Written down in the state of every stack. Never change a line of this table: add lines, or give the resource an alias.
TYPES = {
    "django-do-runner:index:AgentPackage",
    "django-do-runner:index:Artifact",
    "django-do-runner:index:BalancerEnd",
    "django-do-runner:index:DatabaseGrants",
    "django-do-runner:index:DiscardedKey",
    "django-do-runner:index:Environment",
    "django-do-runner:index:Handover",
    "django-do-runner:index:Member",
    "django-do-runner:index:NewAddress",
    "django-do-runner:index:Probe",
    "django-do-runner:index:Rollout",
    "django-do-runner:index:Secret",
}


class Engine(engine_pb2_grpc.EngineServicer):
    """What the plugin tells its engine."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, bool]] = []

    def Log(self, request: Any, _context: object) -> Any:  # noqa: ANN401, N802 -- gRPC's name and types
        """Keep a line."""
        self.said.append((request.urn.rpartition("::")[2], request.message, request.ephemeral))
        return empty_pb2.Empty()


class Served:
    """The plugin's service and an engine, each behind real gRPC."""

    def __init__(self) -> None:
        self.engine = Engine()
        self._servers = [grpc.server(ThreadPoolExecutor(8)) for _ in range(2)]
        engine, own = [server.add_insecure_port("127.0.0.1:0") for server in self._servers]
        self.runner = Runner(f"127.0.0.1:{engine}")
        engine_pb2_grpc.add_EngineServicer_to_server(self.engine, self._servers[0])
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(self.runner, self._servers[1])
        for server in self._servers:
            server.start()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{own}", options=(("grpc.enable_http_proxy", 0),))
        self.stub = provider_pb2_grpc.ResourceProviderStub(self._channel)

    def create(self, kind: str, **inputs: object) -> Any:  # noqa: ANN401 -- a message
        """Ask for a resource."""
        request = provider_pb2.CreateRequest(urn=urn(kind), type=f"{PACKAGE}:index:{kind}", properties=encode(inputs))
        return self.stub.Create(request, timeout=DEADLINE)

    def stop(self) -> None:
        """End servers and channel."""
        self.runner.end()
        self._channel.close()
        for server in self._servers:
            server.stop(grace=None).wait()


def urn(kind: str) -> str:
    """The URN of a resource in a component."""
    return f"urn:pulumi:s::p::django-do:release:Release${PACKAGE}:index:{kind}::{kind.lower()}"


@pytest.fixture
def served() -> Iterator[Served]:
    """Serve for one test."""
    served = Served()
    yield served
    served.stop()


def refused(error: pytest.ExceptionInfo[grpc.RpcError]) -> str:
    """What the engine would show."""
    return str(error.value.details())


def test_the_types_are_those_of_every_state() -> None:
    """Another name would be a delete and a create: of a secret, too."""
    declared = {
        f"{resources.PACKAGE}:index:{name}"
        for name, kind in inspect.getmembers(resources, inspect.isclass)
        if issubclass(kind, resources._Resource) and kind is not resources._Resource
    }
    assert declared == PROVIDERS.keys() == TYPES


def test_the_plugins_name_is_no_namespace_of_settings() -> None:
    """The engine gives every setting of a namespace, secrets too, to the provider of that name: into the state."""
    settings = "".join(path.read_text() for path in ROOT.glob("Pulumi.*.yaml"))
    assert "django-do:" in settings
    assert f"{PACKAGE}:" not in settings


@pytest.mark.parametrize("kind", sorted(PROVIDERS))
def test_deleting_never_fails(served: Served, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases stay for a rollback, rights go with the cluster; destroy must work without keys and network."""
    monkeypatch.delenv("SPACES_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("SPACES_SECRET_ACCESS_KEY", raising=False)
    request = provider_pb2.DeleteRequest(id="id", type=kind)
    request.properties.CopyFrom(encode({"droplet_id": "7", "region": "nyc3"}))
    assert served.stub.Delete(request) == empty_pb2.Empty()


def test_a_kind_that_there_is_not_is_said(served: Served) -> None:
    """With those that there are."""
    with pytest.raises(grpc.RpcError) as error:
        served.create("Spell")
    assert refused(error).startswith("django-do-runner:index:Spell: must be one of django-do-runner:index:Secret, ")


def test_a_refusal_is_the_whole_answer(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback comes before it, where nobody would look for it after that."""
    monkeypatch.delenv("SPACES_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("SPACES_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(grpc.RpcError) as error:
        served.create("Artifact", bucket="releases", region="nyc3")
    assert refused(error).startswith("Spaces keys: must be set, found none")
    assert len(refused(error).splitlines()) == 1


def test_a_bug_is_one_line_and_its_traceback_is_in_the_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """Without it nobody could say where it is."""
    with pytest.raises(grpc.RpcError) as error:
        served.create("Artifact")
    assert refused(error) == "a bug in provider/: KeyError: 'bucket'; its traceback is in the log"
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None


def test_problems_of_inputs_are_told_and_name_no_property(served: Served) -> None:
    """For a named one the engine prints its value, secret or not; the inputs are kept as they came."""
    news = encode({"length": 3, "other": Secret("hidden")})
    answer = served.stub.Check(provider_pb2.CheckRequest(urn=urn("Secret"), type=f"{PACKAGE}:index:Secret", news=news))
    assert [(failure.property, failure.reason) for failure in answer.failures] == [
        ("", "secret.length: must be a whole number from 16 to 1024 characters, got 3")
    ]
    assert answer.inputs == news


def test_what_a_dynamic_provider_made_is_refused_with_what_to_do(served: Served) -> None:
    """The program's aliases lead to it; it would be made anew else, secrets too."""
    request = provider_pb2.CheckRequest(urn=urn("Secret"), type=f"{PACKAGE}:index:Secret", news=encode({"length": 50}))
    request.olds.CopyFrom(encode({"length": 50, "__provider": "pickled"}))
    with pytest.raises(grpc.RpcError) as error:
        served.stub.Check(request)
    assert "destroy it with that version" in refused(error)


def test_a_difference_is_found_below_the_marks_of_secrets(served: Served) -> None:
    """A value that became secret is the same one; what is not known yet is another."""
    request = provider_pb2.DiffRequest(id="id", type=f"{PACKAGE}:index:Secret", olds=encode({"length": 50}))
    answers = []
    for length in (Secret(50), 64, UNKNOWN):
        request.news.CopyFrom(encode({"length": length}))
        answer = served.stub.Diff(request)
        answers.append((answer.changes, list(answer.replaces)))
    some = provider_pb2.DiffResponse.DIFF_SOME
    assert answers == [(provider_pb2.DiffResponse.DIFF_NONE, []), (some, ["length"]), (some, ["length"])]


def test_what_is_made_of_secrets_is_secret(served: Served) -> None:
    """The generated value always, an input if it came so, wherever in it the secret is."""
    answer = decode(served.create("Secret", length=Secret(20)).properties)
    assert isinstance(answer["value"], Secret)
    assert len(answer["value"].value) == 20
    assert answer["length"] == Secret(20)
    key = decode(served.create("DiscardedKey").properties)
    assert key["public_key"].startswith("ssh-ed25519 ")


def test_a_preview_makes_nothing(served: Served) -> None:
    """The inputs are known, marked as they were; what will be made is not."""
    inputs = encode({"length": 20, "other": Secret("hidden")})
    create = provider_pb2.CreateRequest(type=f"{PACKAGE}:index:Secret", properties=inputs, preview=True)
    update = provider_pb2.UpdateRequest(type=f"{PACKAGE}:index:Secret", news=inputs, preview=True)
    assert [served.stub.Create(create).id, served.stub.Create(create).properties] == ["", inputs]
    assert served.stub.Update(update).properties == inputs


@pytest.fixture
def inputs(buckets: Buckets) -> dict[str, Any]:
    """A rollout whose Droplet never reports."""
    artifact, environment = f"artifacts/{DIGEST}.tar", f"environments/{DIGEST}.json"
    for key in (artifact, environment):
        buckets.client.put(buckets.releases, key, b"", "application/octet-stream")
    return {
        "releases_bucket": buckets.releases,
        "state_bucket": buckets.state,
        "region": buckets.region,
        "release": RELEASE,
        "artifact": artifact,
        "sha256": DIGEST,
        "environment": environment,
        "droplet_ids": ["101"],
        "max_unavailable": 1,
        "deadline": 60,
    }


def test_a_droplets_note_stays_in_the_engines_display(served: Served, buckets: Buckets, inputs: dict[str, Any]) -> None:
    """A line of progress is gone with the operation; this is a warning."""
    report = {"release": RELEASE, "attempt": 1, "phase": "done", "healthy": True, "error": None, "at": "…"}
    buckets.client.put_json(buckets.state, "nodes/101.json", report | {"notes": ["no superuser was made"]})
    served.create("Rollout", **inputs)
    assert ("rollout", "Droplet 101: no superuser was made", False) in served.engine.said


def test_the_engines_request_ends_the_waits_and_what_was_begun_is_kept(
    served: Served, buckets: Buckets, inputs: dict[str, Any]
) -> None:
    """At once, in place of the minute; the state then has what the Droplets will run, and desired.json stays."""
    threading.Timer(1, lambda: served.stub.Cancel(empty_pb2.Empty())).start()
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as error:
        served.create("Rollout", **inputs | {"sha256": Secret(DIGEST)})
    assert time.monotonic() - started < 15
    assert refused(error) == "interrupted while waiting; run `pulumi up` again, it goes on from there"
    assert ("rollout", "attempt 1, Droplet 101: not begun", True) in served.engine.said

    [(_, details)] = [item for item in error.value.trailing_metadata() if item[0] == "grpc-status-details-bin"]
    status, kept = status_pb2.Status(), provider_pb2.ErrorResourceInitFailed()
    status.ParseFromString(details)
    assert status.details[0].Unpack(kept)
    assert kept.id == f"{buckets.releases}/{DESIRED}"
    assert decode(kept.properties) == inputs | {"sha256": Secret(DIGEST), "attempt": 1, "unfinished": True}
    assert decode(kept.inputs) == inputs | {"sha256": Secret(DIGEST)}
    assert buckets.client.get_json(buckets.releases, DESIRED)["release"] == RELEASE


def test_nothing_is_begun_after_an_interruption(served: Served, buckets: Buckets, inputs: dict[str, Any]) -> None:
    """The engine has asked already; the state has nothing of it."""
    served.stub.Cancel(empty_pb2.Empty())
    with pytest.raises(grpc.RpcError) as error:
        served.create("Rollout", **inputs)
    assert refused(error).startswith("interrupted")
    assert [key for key, _ in error.value.trailing_metadata() or () if key == "grpc-status-details-bin"] == []
    assert "desired.json" not in buckets.keys(buckets.releases)


def test_what_is_gone_is_told_to_a_refresh(served: Served, buckets: Buckets, inputs: dict[str, Any]) -> None:
    """No id and no properties; what is there comes back with its secrets."""
    request = provider_pb2.ReadRequest(id="id", type=f"{PACKAGE}:index:Rollout", inputs=encode(inputs))
    request.properties.CopyFrom(encode(inputs | {"sha256": Secret(DIGEST)}))
    gone = served.stub.Read(request)
    assert (gone.id, gone.HasField("properties")) == ("", False)
    release = Release(**{name: inputs[name] for name in ("release", "artifact", "sha256", "environment")})
    buckets.client.put_json(buckets.releases, DESIRED, Desired(release=release, attempt=1).document())
    read = served.stub.Read(request)
    assert (read.id, decode(read.properties)["sha256"], read.inputs) == ("id", Secret(DIGEST), request.inputs)


def test_an_import_is_refused(served: Served) -> None:
    """There is nothing that could be taken over."""
    with pytest.raises(grpc.RpcError) as error:
        served.stub.Read(provider_pb2.ReadRequest(id="id", type=f"{PACKAGE}:index:Secret"))
    assert refused(error) == "django-do-runner:index:Secret: can't be imported; `pulumi up` makes it"


def launch(folder: Path, launcher: Path = LAUNCHER, **environment: str) -> subprocess.Popen[str]:
    """Start the plugin as the engine does, with nothing else in its environment."""
    return subprocess.Popen(
        [launcher, "127.0.0.1:1"],
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answers(plugin: subprocess.Popen[str]) -> bool:
    """Whether a plugin says its port, and ends when it is told."""
    assert plugin.stdout is not None
    port = plugin.stdout.readline().strip()
    plugin.terminate()
    said = plugin.communicate(timeout=DEADLINE)[1]
    assert port.isdigit(), said
    return plugin.returncode == 0


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Another clone of the program, without an environment of its own."""
    clone = tmp_path / "clone"
    (clone / "plugin_base" / "src").mkdir(parents=True)  # not to be taken for the package that is in there
    for folder in ("provider", "protocol"):
        shutil.copytree(ROOT / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return clone


def test_it_starts_from_any_folder(tmp_path: Path) -> None:
    """Also where a module of its name lies about, and by a link to its folder, as scripts/stack makes one."""
    (tmp_path / "provider.py").write_text("raise SystemExit('the wrong module')")
    (tmp_path / "link").symlink_to(LAUNCHER.parent)
    assert answers(launch(tmp_path))
    assert answers(launch(tmp_path, tmp_path / "link" / LAUNCHER.name))


@pytest.mark.parametrize("variable", ["UV_PROJECT_ENVIRONMENT", "VIRTUAL_ENV", "PATH"])
def test_its_environment_may_be_elsewhere(clone: Path, variable: str) -> None:
    """Named to uv, active as `uv run` makes it, or the first on PATH."""
    environment = Path(sys.executable).parent.parent
    value = f"{environment}/bin{os.pathsep}{os.defpath}" if variable == "PATH" else str(environment)
    assert answers(launch(clone, clone / "provider" / LAUNCHER.name, **{variable: value}))


def test_a_missing_environment_is_said(clone: Path) -> None:
    """One line with the fix, in place of a module that is not found."""
    plugin = launch(clone, clone / "provider" / LAUNCHER.name)
    said = plugin.communicate(timeout=DEADLINE)[1]
    assert (plugin.returncode, len(said.splitlines())) == (1, 1)
    assert f"run `uv sync` in {clone}" in said


# Starts a plugin and waits, as the engine does.
PARENT = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(600)"


def test_it_ends_with_an_engine_that_is_killed(tmp_path: Path) -> None:
    """Nobody else would ever end it."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, LAUNCHER, "127.0.0.1:1"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline().strip().isdigit()
    parent.kill()
    started = time.monotonic()
    # The plugin has the other end: this returns when it has ended.
    assert parent.communicate(timeout=DEADLINE) == ("", None)
    assert time.monotonic() - started < 5
