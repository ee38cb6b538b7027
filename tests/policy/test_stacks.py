"""A stack that breaks a rule is stopped; that the project's own pass is shown by tests/stack/test_api_depth.py."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import analyzer_pb2_grpc

from policy.pack import NAME, RULES
from sandbox.world.world import World
from tests.commands import ROOT, run
from tests.pulumi_stack import PulumiStack, Secret
from tests.worlds import start


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A world of depth "api" for this stack alone, deployed: other tests' stacks have the same name."""
    home = Path(tempfile.mkdtemp(prefix="world-"))  # a short path: UNIX sockets are in it
    world = start("api", home)
    PulumiStack(world).up()
    yield world
    run("sandbox", "down", home=home)
    shutil.rmtree(home, ignore_errors=True)


PACK = ("--policy-pack", "policy/run")


def test_up_stops_before_it_makes_what_breaks_a_rule(world: World) -> None:
    """A rule of one resource holds before the API hears of it, even without a preview; two halves are the internet."""
    stack = PulumiStack(world)
    before = stack.resources()["direct-firewall"]["outputs"]
    done = stack.run(
        "up", "--yes", "--skip-preview", *PACK,
        settings={"network.sshFrom": ["0.0.0.0/1", "128.0.0.0/1"], "network.sshKeys": ["1"]}, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "ssh-not-public" in done.stdout
    assert stack.resources()["direct-firewall"]["outputs"] == before


def test_the_pack_sees_the_secrets_and_the_user_data_of_a_deployed_stack(world: World) -> None:
    """A secret of the settings whose value happens to be in the user data is found, and only its name is shown."""
    secret = "release-agent.service"
    settings = {"app.secrets.STRIPE_TOKEN": Secret(secret)}
    done = PulumiStack(world).run("preview", *PACK, settings=settings, check=False)
    assert done.returncode != 0
    assert "user-data-no-secrets" in done.stdout
    assert "got polls-local-environment.document.env.STRIPE_TOKEN; " in done.stdout
    assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "argv",
    [[str(ROOT / "policy" / "run")], [sys.executable, "-u", "-m", "pulumi.policy"]],
    ids=["executable", "folder"],
)
def test_both_ways_to_start_the_pack(argv: list[str], tmp_path: Path) -> None:
    """As an executable, and as the language host starts a folder: it prints its port and tells its rules."""
    arguments = ["127.0.0.1:1"] if len(argv) == 1 else ["127.0.0.1:1", str(ROOT / "policy")]
    with subprocess.Popen([*argv, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as pack:
        try:
            assert pack.stdout is not None
            port = int(pack.stdout.readline())
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                info = analyzer_pb2_grpc.AnalyzerStub(channel).GetAnalyzerInfo(empty_pb2.Empty(), timeout=10)
        finally:
            pack.terminate()
    assert info.name == NAME
    assert [found.name for found in info.policies] == [rule.name for rule in RULES]


def test_the_pack_explains_how_it_is_run(tmp_path: Path) -> None:
    """By hand it says so, instead of waiting for an engine."""
    helped = subprocess.run(
        [ROOT / "policy" / "run", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert helped.stdout.startswith("usage: pulumi preview --policy-pack policy/run")
