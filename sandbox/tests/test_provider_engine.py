"""The sandbox's provider with the real engine: one stack of every resource, which all tests here take further in turn.

Each test leaves the stack deployed, with the settings that it says, and the last one takes it down.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sandbox.world.world import World
from tests.api_client import Api, connect, until
from tests.commands import PATH, ROOT, run

PROGRAM = Path(__file__).parent / "provider_program"
DEADLINE = 120  # seconds
NAME = "engine"
ON = {"enabled": True, "thresholdPercent": 80, "incrementGib": 20}


class Stack:
    """A stack of the program that has one resource of every kind, in a copy of its folder."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.file = folder / f"Pulumi.{NAME}.yaml"

    def command(self, *argv: str) -> tuple[str, ...]:
        """Pulumi in the world."""
        return ("sandbox", "exec", "pulumi", "-C", str(self.folder), "--non-interactive", *argv)

    def pulumi(self, *argv: str, check: bool = True) -> str:
        """Run Pulumi in the world and return what it printed."""
        return run(*self.command(*argv), home=self.world.home, check=check).stdout

    def set(self, **settings: object) -> None:
        """Change settings; None takes one away."""
        document = yaml.safe_load(self.file.read_text())
        config = document.setdefault("config", {})
        for name, value in settings.items():
            config[f"provider:{name}"] = value
            if value is None:
                del config[f"provider:{name}"]
        self.file.write_text(yaml.safe_dump(document))

    def up(self) -> str:
        """Deploy without a preview."""
        return self.pulumi("up", "--yes", "--skip-preview")

    def update(self, *argv: str, **settings: object) -> dict[str, list[str]]:
        """Deploy with other settings; what was done, as `step name`, with the inputs that made the difference."""
        self.set(**settings)
        lines = self.pulumi("up", "--yes", "--skip-preview", "--json", *argv).splitlines()
        found = [json.loads(line).get("resOutputsEvent") for line in lines if line.startswith("{")]
        done = [event["metadata"] for event in found if event]
        return {
            f"{step['op']} {step['urn'].rpartition('::')[2]}": step.get("diffs") or []
            for step in done
            if step["op"] not in {"same", "refresh", "read"} and not step["type"].endswith(":Stack")
        }

    def steps(self, *argv: str) -> list[str]:
        """What a preview would do, as `step type`, without what stays the same."""
        done = json.loads(self.pulumi("preview", "--json", *argv))
        changes = [step for step in done["steps"] if step["op"] not in ("same", "read", "refresh")]
        return sorted(f"{step['op']} {step['urn'].split('::')[-2]}" for step in changes)

    def quiet(self) -> bool:
        """Whether nothing drifted and there is nothing to do, by one preview: it shows both.

        What a refresh leaves as it was in the state, a preview without one would not change either.
        """
        done = json.loads(self.pulumi("preview", "--json", "--refresh"))
        read = [step for step in done["steps"] if step["op"] == "refresh"]
        # A tag has numbers of what is tagged.
        moved = [step["urn"] for step in read if step["oldState"] != step["newState"] and ":Tag::" not in step["urn"]]
        wanted = [step["urn"] for step in done["steps"] if step["op"] not in ("same", "read", "refresh")]
        assert (len(read) > 1, moved, wanted) == (True, [], [])
        return True

    def resources(self) -> dict[str, dict[str, object]]:
        """The state, by the resources' names in the program."""
        state = json.loads(self.pulumi("stack", "export"))
        return {str(found["urn"]).rpartition("::")[2]: found for found in state["deployment"]["resources"]}


@pytest.fixture(scope="module")
def api(api_world: World) -> Iterator[Api]:
    """The API, past Pulumi; what the tests leave behind is deleted."""
    with connect(api_world) as api:
        yield api
        api.delete_everything()


@pytest.fixture(scope="module")
def stack(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A new stack with nothing in it."""
    folder = tmp_path_factory.mktemp("engine") / "program"
    shutil.copytree(PROGRAM, folder)
    stack = Stack(api.world, folder)
    stack.pulumi("stack", "init", NAME)
    public = Ed25519PrivateKey.generate().public_key()
    text = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    stack.set(publicKey=text, autoscale=ON)
    return stack


@dataclass(frozen=True, slots=True)
class Interrupted:
    """An `up` that was stopped by Ctrl-C."""

    status: int
    printed: str
    cluster: object  # its id in the state


@pytest.fixture(scope="module")
def interrupted(stack: Stack, api: Api) -> Interrupted:
    """The first `up`, until the cluster is being made."""
    api.fault(kind="slow", of="database", seconds=8)
    with subprocess.Popen(
        stack.command("up", "--yes", "--skip-preview"),
        cwd=ROOT,
        env=os.environ | {"PATH": PATH, "SANDBOX_HOME": str(api.world.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as command:
        until(lambda: api.raw.get("/v2/databases").json()["databases"], bool, DEADLINE)
        command.send_signal(signal.SIGINT)
        printed, _ = command.communicate(timeout=DEADLINE)
    return Interrupted(command.returncode, printed, stack.resources()["cluster"]["id"])


@pytest.fixture(scope="module")
def deployed(stack: Stack, interrupted: Interrupted) -> Stack:  # noqa: ARG001 - goes on where that one stopped
    """The stack with all of its resources, and a disk that grows by itself."""
    stack.up()
    return stack


def test_an_interrupted_up_keeps_the_cluster_and_the_next_one_goes_on(
    interrupted: Interrupted, deployed: Stack
) -> None:
    """Ctrl-C while the cluster is being made: the command ends at once, and no second cluster is made."""
    said = (interrupted.status != 0, "cancelled by the user" in interrupted.printed)
    assert said == (True, True), interrupted.printed
    assert deployed.resources()["cluster"]["id"] == interrupted.cluster


def test_a_stack_of_every_resource_lives(deployed: Stack, api: Api) -> None:
    """Create, nothing to do, nothing drifted, no secret in plain."""
    assert deployed.quiet()
    secrets = json.loads(deployed.pulumi("stack", "output", "--json", "--show-secrets"))
    exported = deployed.pulumi("stack", "export")
    assert [name for name in ("password", "clusterPassword", "secretKey") if secrets[name] in exported] == []
    assert storage(api) == {"enabled": True, "threshold_percent": 80, "increment_gib": 20}  # as it was created


def cluster_id(api: Api) -> str:
    """The one cluster."""
    (cluster,) = api.client.databases.list_clusters()["databases"]
    return str(cluster["id"])


def storage(api: Api) -> object:
    """How the disk grows, says the API."""
    return api.client.databases.get_autoscale(cluster_id(api))["storage"]


def test_drift_is_shown_and_fixed(deployed: Stack, api: Api) -> None:
    """What somebody changes or deletes in the control panel comes back with the next `up --refresh`."""
    resources = deployed.resources()
    network = f"/v2/vpcs/{resources['net']['id']}"
    api.raw.put(network, json={"name": "theirs", "description": "theirs"})
    api.raw.delete(f"/v2/domains/provider.example/records/{resources['www']['id']}")
    api.client.databases.update_autoscale(cluster_id(api), {"storage": {"enabled": False}})

    assert deployed.update("--refresh") == {
        "create www": [],
        "update net": ["description"],  # the name was Pulumi's own choice
        "update cluster": ["storageAutoscale"],
    }
    assert api.raw.get(network).json()["vpc"]["description"] == "first"
    assert storage(api) == {"enabled": True, "threshold_percent": 80, "increment_gib": 20}


@pytest.fixture(scope="module")
def changed(deployed: Stack) -> str:
    """What an update printed that replaces a pool and a Droplet, and changes a network and a cluster in place."""
    deployed.set(
        userData="two", poolSize="30", description="second", autoscale=ON | {"thresholdPercent": 95}, natSize="2"
    )
    return deployed.up()


def test_replacement_is_in_the_right_order(changed: str) -> None:
    """Of what has an explicit name the old one goes first; of what has an automatic one, the new one comes first."""
    for lines in (
        ("DatabaseConnectionPool pool deleted original", "DatabaseConnectionPool pool created replacement"),
        (
            "Droplet web created replacement",
            "ReservedIpAssignment assignment created replacement",
            "Droplet web deleting original",
        ),
    ):
        order = [changed.index(line) for line in lines]
        assert order == sorted(order)


@pytest.mark.usefixtures("changed")
def test_a_nat_gateway_is_resized_in_place(deployed: Stack, api: Api) -> None:
    """With its address, and still the default of its VPC, though the update has not named that."""
    [gateway] = api.raw.get("/v2/vpc_nat_gateways").json()["vpc_nat_gateways"]
    assert (gateway["size"], gateway["vpcs"][0]["default_gateway"]) == (2, True)
    outputs = deployed.resources()["nat"]["outputs"]
    assert outputs["egresses"][0]["publicGateways"] == gateway["egresses"]["public_gateways"]
    assert deployed.quiet()


@pytest.mark.usefixtures("changed")
def test_a_disk_that_has_grown_is_no_drift(deployed: Stack, api: Api) -> None:
    """Neither a preview nor a refresh wants the old size back, and another plan keeps what has grown."""
    cluster = cluster_id(api)
    grown = api.grow(cluster)
    assert [deployed.steps(), deployed.steps("--refresh")] == [[], []]

    assert deployed.update("--refresh", clusterSize="db-s-2vcpu-4gb") == {"update cluster": ["size"]}
    found = api.client.databases.get_cluster(cluster)["database"]
    assert (found["size"], found["storage_size_mib"]) == ("db-s-2vcpu-4gb", 61440 + grown - 30720)
    assert deployed.quiet()


@pytest.mark.prove
@pytest.mark.usefixtures("changed")
def test_autoscale_is_changed_in_place(deployed: Stack, api: Api) -> None:
    """Another threshold, off, and no longer said, which leaves the cluster as it is; then on again.

    That a change elsewhere is drift is seen above.
    """
    assert storage(api) == {"enabled": True, "threshold_percent": 95, "increment_gib": 20}
    for said in ({"enabled": False}, None):
        deployed.update(autoscale=said)
        assert storage(api) == {"enabled": False}
        assert deployed.quiet()
    assert deployed.update(autoscale=ON) == {"update cluster": ["storageAutoscale"]}
    assert storage(api) == {"enabled": True, "threshold_percent": 80, "increment_gib": 20}


def test_a_resource_is_imported_quietly(stack: Stack, api: Api) -> None:
    """An existing network is taken over with an id, a missing one is refused."""
    body = {"name": "existing", "region": "nyc3", "ip_range": "10.99.0.0/20"}
    created = api.raw.post("/v2/vpcs", json=body).json()["vpc"]
    arguments = ("--yes", "--generate-code=false", "--protect=false")
    stack.pulumi("import", "digitalocean:index/vpc:Vpc", "existing", created["id"], *arguments)

    assert stack.resources()["existing"]["id"] == created["id"]

    missing = stack.pulumi("import", "digitalocean:index/vpc:Vpc", "missing", "nope", *arguments, check=False)
    assert "resource 'nope' does not exist" in missing


def test_a_stack_of_every_resource_dies(deployed: Stack, api: Api) -> None:
    """Nothing is left; the last of these tests, since it is everybody's stack."""
    assert api.raw.get("/_sandbox/resources").json()["resources"] != []
    deployed.pulumi("destroy", "--yes", "--skip-preview")
    # What other tests of this world have left: a region's default VPC can't be deleted.
    defaults = {vpc["id"] for vpc in api.client.vpcs.list()["vpcs"] if vpc["default"]}
    left = api.raw.get("/_sandbox/resources").json()["resources"]
    assert [resource for resource in left if resource["id"] not in defaults] == []
