"""The authority of a cluster reaches the program, or the API's words reach the user."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import ROOT
from tests.sandbox.api_client import Api
from tests.sandbox.test_provider_engine import Stack

PROGRAM = Path(__file__).parent / "ca_program"


@pytest.fixture
def stack(api: Api, tmp_path: Path) -> Iterator[Stack]:
    """A stack of a cluster and of what needs its authority."""
    folder = tmp_path / "program"
    shutil.copytree(PROGRAM, folder)
    stack = Stack(api.world, folder)
    stack.pulumi("stack", "init", "ca")
    stack.set("root", str(ROOT))
    yield stack
    stack.pulumi("destroy", "--yes", "--skip-preview")
    stack.pulumi("stack", "rm", "ca", "--yes")


def failure(stack: Stack, *argv: str) -> str:
    """Everything that a command prints that must fail, which has no traceback."""
    done = stack.try_pulumi(*argv)
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert [word for word in ("Traceback", 'File "', "never retrieved", "Exception") if word in said] == [], said
    return said


def test_a_failing_authority_ends_in_the_apis_words(stack: Stack, api: Api) -> None:
    """In `up` and in a preview of what exists: what failed and what to do, once; the cluster is kept and goes on."""
    api.fault(kind="status", method="GET", path="/v2/databases/*/ca", status=403, message="you may not", count=1)
    said = failure(stack, "up", "--yes", "--skip-preview")
    cluster = str(stack.resources()["cluster"]["id"])
    assert f"database cluster {cluster}: its authority (CA), by which clients verify it, can't be fetched: " in said
    assert f"GET https://api.digitalocean.com/v2/databases/{cluster}/ca: 403" in said
    assert "you may not; run the command again" in said
    assert said.split("Diagnostics:")[1].count("you may not") == 1
    assert "user" not in stack.resources()

    stack.up()
    assert stack.resources()["cluster"]["id"] == cluster
    assert "BEGIN CERTIFICATE" in json.loads(stack.pulumi("stack", "output", "--json"))["certificate"]
    assert stack.steps() == []
    api.fault(kind="status", method="GET", path="/v2/databases/*/ca", status=404, message="no such thing", count=1)
    assert "no such thing; run the command again" in failure(stack, "preview")


def test_nobody_asks_for_the_authority_of_an_advanced_cluster(stack: Stack, api: Api) -> None:
    """It has none: clients verify it against the system's trust store, and no `up` fails."""
    stack.set("engine", "advanced_pg")
    stack.up()
    assert stack.steps() == []
    assert json.loads(stack.pulumi("stack", "output", "--json")) == {"certificate": ""}
    cluster = stack.resources()["cluster"]["id"]
    asked = [request["path"] for request in api.raw.get("/_sandbox/requests").json()["requests"]]
    assert [path for path in asked if path == f"/v2/databases/{cluster}/ca"] == []
