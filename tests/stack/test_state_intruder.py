"""Somebody who can write the state, and what the runner's next command does for them. Recorded, not prevented."""

import base64
import io
import json
import os
import pickle
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.commands import PATH

URN = "urn:pulumi:prod::site::"
ID = "11111111-1111-4111-8111-111111111111"
# What the official CLI brings along as pulumi-resource-pulumi-python; this project's toolchain leaves it out.
HOST = '#!/bin/sh\nexec python -u -m pulumi.dynamic "$@"\n'


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A runner with a stack of its own, whose state is in a folder; `ran` is what an intruder's code makes."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def ran(self) -> Path:
        """A file that only an intruder's code makes."""
        return self.folder / "ran"

    def pulumi(self, *argv: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run Pulumi as the runner does."""
        home = self.folder / "home"
        environment = os.environ | {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{PATH}",
            "PULUMI_BACKEND_URL": f"file://{self.folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "correct-horse",
            "PULUMI_HOME": str(home),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        return subprocess.run(
            ["pulumi", "-C", self.folder / "project", "--non-interactive", *argv],
            env=environment | self.environment, input=given, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    def plant(self, provider: dict[str, Any], resource: dict[str, Any]) -> None:
        """Write a resource and its provider into the state, as who has the backend can."""
        state = json.loads(self.pulumi("stack", "export", "--stack", "prod").stdout)
        package = str(resource["type"]).partition(":")[0]
        kind = f"pulumi:providers:{package}"
        state["deployment"]["resources"] = [
            {"urn": f"{URN}{kind}::default", "custom": True, "id": ID, "type": kind} | provider,
            {"urn": f"{URN}{resource['type']}::planted", "custom": True, "id": "x"}
            | {"provider": f"{URN}{kind}::default::{ID}"} | resource,
        ]  # fmt: skip
        done = self.pulumi("stack", "import", "--stack", "prod", given=json.dumps(state))
        assert done.returncode == 0, done.stderr

    def refresh(self) -> str:
        """Run the most harmless of the commands that look at resources, as the nightly search for drift does."""
        done = self.pulumi("refresh", "--yes", "--skip-preview", "--stack", "prod")
        return done.stdout + done.stderr


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A runner that has deployed nothing yet."""
    for name in ("bin", "home", "project", "state"):
        (tmp_path / name).mkdir()
    (tmp_path / "project" / "Pulumi.yaml").write_text("name: site\nruntime: python\n")
    runner = Runner(folder=tmp_path)
    assert runner.pulumi("stack", "init", "prod").returncode == 0
    return runner


@dataclass(frozen=True)
class Touch:
    """Code in a pickle."""

    path: str

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_code_in_the_state_runs_where_the_host_of_dynamic_providers_is(runner: Runner) -> None:
    """It is part of the official CLI, so our own resources having no code is not a wall."""
    host = runner.folder / "bin" / "pulumi-resource-pulumi-python"
    host.write_text(HOST)
    host.chmod(0o755)
    code = {"__provider": base64.b64encode(pickle.dumps(Touch(str(runner.ran)))).decode()}
    runner.plant({}, {"type": "pulumi-python:dynamic:Resource", "inputs": code, "outputs": code})
    said = runner.refresh()
    assert runner.ran.exists(), said


class Server:
    """Gives everybody a plugin that runs the intruder's code."""

    def __init__(self, ran: Path) -> None:
        code = f"#!/bin/sh\nmkdir {ran}\n".encode()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            member = tarfile.TarInfo("pulumi-resource-planted")
            member.mode, member.size = 0o755, len(code)
            tar.addfile(member, io.BytesIO(code))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(archive.getvalue())))
                self.end_headers()
                self.wfile.write(archive.getvalue())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server(runner: Runner) -> Iterator[Server]:
    """Serve for one test."""
    server = Server(runner.ran)
    yield server
    server.server.shutdown()
    server.server.server_close()


def planted_plugin(runner: Runner, server: Server, package: str) -> str:
    """Let the state name a plugin and where it comes from; return what a refresh says."""
    inputs = {"version": "1.0.0", "pluginDownloadURL": server.url}
    provider = {"inputs": inputs, "outputs": inputs}
    runner.plant(provider, {"type": f"{package}:index:Thing", "inputs": {}, "outputs": {}})
    return runner.refresh()


def test_a_plugin_that_the_state_names_is_downloaded_and_run(runner: Runner, server: Server) -> None:
    """From wherever the state says: who can write the state has the runner. Hence docs/security.md."""
    said = planted_plugin(runner, server, "planted")
    assert runner.ran.exists(), said


def test_without_downloads_a_plugin_that_the_state_names_is_not_run(runner: Runner, server: Server) -> None:
    """PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION closes this way, on a runner that has its plugins."""
    runner.environment["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    said = planted_plugin(runner, server, "planted")
    assert not runner.ran.exists()
    assert "pulumi-resource-planted" in said
