import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sandbox.world import World
from tests.commands import PATH, ROOT, run
from tests.sandbox.api_client import Api, until

PROGRAM = Path(__file__).parent / "provider_program"
DEADLINE = 120  # seconds


class Stack:
    """A stack of the program that has one resource of every kind, in a copy of its folder."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder

    def pulumi(self, *argv: str, check: bool = True) -> str:
        """Run Pulumi in the world and return what it printed."""
        command = ("sandbox", "exec", "pulumi", "-C", str(self.folder), "--non-interactive", *argv)
        return run(*command, home=self.world.home, check=check).stdout

    def set(self, name: str, value: str) -> None:
        """Change a setting."""
        self.pulumi("config", "set", name, value)

    def up(self) -> str:
        """Deploy without a preview."""
        return self.pulumi("up", "--yes", "--skip-preview")

    def steps(self, *argv: str) -> list[str]:
        """What a preview would do, as `step type`, without what stays the same."""
        done = json.loads(self.pulumi("preview", "--json", *argv))
        changes = [step for step in done["steps"] if step["op"] not in ("same", "read", "refresh")]
        return sorted(f"{step['op']} {step['urn'].split('::')[-2]}" for step in changes)

    def resources(self) -> dict[str, dict[str, object]]:
        """The state, by the resources' names in the program."""
        state = json.loads(self.pulumi("stack", "export"))
        return {str(found["urn"]).rpartition("::")[2]: found for found in state["deployment"]["resources"]}


@pytest.fixture
def stack(api: Api, tmp_path: Path) -> Iterator[Stack]:
    """A new stack; what a test leaves is deleted with the API's other resources."""
    folder = tmp_path / "program"
    shutil.copytree(PROGRAM, folder)
    stack = Stack(api.world, folder)
    name = f"provider-{time.time_ns()}"
    stack.pulumi("stack", "init", name)
    public = Ed25519PrivateKey.generate().public_key()
    text = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    stack.set("publicKey", text)
    yield stack
    stack.pulumi("destroy", "--yes", "--skip-preview")
    stack.pulumi("stack", "rm", name, "--yes")


def test_a_stack_of_every_resource_lives_and_dies(stack: Stack, api: Api) -> None:
    """Create, nothing to do, nothing drifted, no secret in plain, replacement in the right order, nothing left."""
    stack.up()
    secrets = json.loads(stack.pulumi("stack", "output", "--json", "--show-secrets"))

    assert [stack.steps(), stack.steps("--refresh")] == [[], []]

    exported = stack.pulumi("stack", "export")
    assert [name for name in ("password", "clusterPassword", "secretKey") if secrets[name] in exported] == []

    stack.set("userData", "two")
    stack.set("poolSize", "30")
    stack.set("description", "second")
    text = stack.up()
    order = [
        text.index(line)
        for line in (
            "DatabaseConnectionPool pool deleted original",  # its explicit name must be free first
            "DatabaseConnectionPool pool created replacement",
        )
    ]
    assert order == sorted(order)
    order = [
        text.index(line)
        for line in (
            "Droplet web created replacement",  # an automatic name: the new one comes before the old one goes
            "ReservedIpAssignment assignment created replacement",
            "Droplet web deleting original",
        )
    ]
    assert order == sorted(order)
    assert stack.steps() == []

    stack.pulumi("destroy", "--yes", "--skip-preview")
    assert api.raw.get("/_sandbox/resources").json()["resources"] == []


def test_drift_is_shown_and_mended(stack: Stack, api: Api) -> None:
    """What somebody changes or deletes in the control panel comes back with the next `up --refresh`."""
    stack.up()
    resources = stack.resources()
    api.raw.put(f"/v2/vpcs/{resources['net']['id']}", json={"name": "theirs", "description": "theirs"})
    api.raw.delete(f"/v2/domains/provider.example/records/{resources['www']['id']}")

    assert stack.steps("--refresh") == [
        "create digitalocean:index/dnsRecord:DnsRecord",
        "update digitalocean:index/vpc:Vpc",
    ]


ON = {"enabled": True, "thresholdPercent": 80, "incrementGib": 20}


def test_a_disk_that_has_grown_is_no_drift(stack: Stack, api: Api) -> None:
    """Neither a preview nor a refresh wants the old size back, and another plan keeps what has grown."""
    stack.set("autoscale", json.dumps(ON))
    stack.up()
    cluster = str(stack.resources()["cluster"]["id"])
    assert api.client.databases.get_autoscale(cluster)["storage"] == {
        "enabled": True,
        "threshold_percent": 80,
        "increment_gib": 20,
    }
    grown = api.grow(cluster)
    assert [stack.steps(), stack.steps("--refresh")] == [[], []]
    stack.pulumi("refresh", "--yes", "--skip-preview")
    assert stack.steps() == []

    stack.set("clusterSize", "db-s-2vcpu-4gb")
    assert stack.steps("--refresh") == ["update digitalocean:index/databaseCluster:DatabaseCluster"]
    stack.up()
    found = api.client.databases.get_cluster(cluster)["database"]
    assert (found["size"], found["storage_size_mib"]) == ("db-s-2vcpu-4gb", 61440 + grown - 30720)
    assert [stack.steps(), stack.steps("--refresh")] == [[], []]


def test_autoscale_is_changed_in_place(stack: Stack, api: Api) -> None:
    """Another threshold, off, and no longer said, which leaves the cluster as it is; a change elsewhere is drift."""
    stack.set("autoscale", json.dumps(ON))
    stack.up()
    cluster = str(stack.resources()["cluster"]["id"])

    def storage() -> object:
        return api.client.databases.get_autoscale(cluster)["storage"]

    for said, kept in (
        (ON | {"thresholdPercent": 95}, {"enabled": True, "threshold_percent": 95, "increment_gib": 20}),
        ({"enabled": False}, {"enabled": False}),
        (None, {"enabled": False}),
    ):
        stack.set("autoscale", json.dumps(said))
        stack.up()
        assert (storage(), stack.steps(), stack.steps("--refresh")) == (kept, [], [])
    stack.set("autoscale", json.dumps(ON))
    stack.up()
    api.client.databases.update_autoscale(cluster, {"storage": {"enabled": False}})
    assert stack.steps("--refresh") == ["update digitalocean:index/databaseCluster:DatabaseCluster"]


def test_an_interrupted_up_keeps_the_cluster_and_the_next_one_goes_on(stack: Stack, api: Api) -> None:
    """Ctrl-C while the cluster is being made: the command ends at once, and no second cluster is made."""
    fault = {"kind": "slow", "of": "database", "seconds": 8}
    assert api.raw.post("/_sandbox/faults", json=fault).is_success
    with subprocess.Popen(
        ["sandbox", "exec", "pulumi", "-C", str(stack.folder), "--non-interactive", "up", "--yes", "--skip-preview"],
        cwd=ROOT,
        env=os.environ | {"PATH": PATH, "SANDBOX_HOME": str(api.world.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as command:
        until(lambda: api.raw.get("/v2/databases").json()["databases"], bool, DEADLINE)
        command.send_signal(signal.SIGINT)
        printed, _ = command.communicate(timeout=DEADLINE)

    assert (command.returncode != 0, "cancelled by the user" in printed) == (True, True), printed
    interrupted = stack.resources()["cluster"]
    stack.up()
    assert stack.resources()["cluster"]["id"] == interrupted["id"]


def test_a_resource_is_imported_quietly(stack: Stack, api: Api) -> None:
    """An existing network is taken over with an id, a missing one is refused."""
    body = {"name": "existing", "region": "nyc3", "ip_range": "10.99.0.0/20"}
    created = api.raw.post("/v2/vpcs", json=body).json()["vpc"]
    arguments = ("--yes", "--generate-code=false", "--protect=false")
    stack.pulumi("import", "digitalocean:index/vpc:Vpc", "existing", created["id"], *arguments)

    assert stack.resources()["existing"]["id"] == created["id"]

    missing = stack.pulumi("import", "digitalocean:index/vpc:Vpc", "missing", "nope", *arguments, check=False)
    assert "resource 'nope' does not exist" in missing
