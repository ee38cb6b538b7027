"""From where intruders try it, and what they are after."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.machines import machine
from sandbox.machines.machine import Machine
from tests.pulumi_stack import PulumiStack
from tests.worlds import Deployment

SECRET = "4dabf18193072939515e22adb298388d"  # marks one: pulumi/pulumi, sdk/go/common/resource/properties.go
LONGEST = 100  # characters


@pytest.fixture(scope="session")
def web(deployed: Deployment) -> Machine:
    """The Droplet that serves the site."""
    # Asked now: an earlier test may have replaced it.
    [identifier] = PulumiStack(deployed.world).outputs()["droplet_ids"]
    return machine.load_machine(deployed.world, f"d{identifier}")


@pytest.fixture(scope="session")
def cluster(deployed: Deployment) -> Machine:
    """The machine of the database cluster."""
    [name] = [name for name in machine.names(deployed.world) if name.startswith("c")]
    return machine.load_machine(deployed.world, name)


@pytest.fixture(scope="session")
def state(deployed: Deployment) -> dict[str, Any]:
    """The stack's state with its secrets in plain."""
    exported: dict[str, Any] = json.loads(deployed.stack("stack", "export", "--show-secrets").stdout)
    return exported


@pytest.fixture(scope="session")
def secrets(deployed: Deployment, state: dict[str, Any]) -> dict[str, str]:
    """Every secret that Pulumi knows or was given, by where it is in the state: "migrator.password", for example."""
    runner = {"API token": deployed.world.token, "account's Spaces key": deployed.world.spaces_secret_key}
    names = {value: name for name, value in runner.items()}
    for resource in state["deployment"]["resources"]:
        name = resource["urn"].rpartition("::")[2].removeprefix("polls-local-")
        for path, value in _secrets(resource.get("outputs", {})):
            # Longer ones, and addresses, are made of the others.
            if "://" not in value and len(value) <= LONGEST:
                names.setdefault(value, name + path)
    return {name: value for value, name in names.items()}


@pytest.fixture(scope="session")
def environment(state: dict[str, Any]) -> dict[str, Any]:
    """The document of docs/releases.md that the release runs with."""
    resources = {resource["urn"].rpartition("::")[2]: resource for resource in state["deployment"]["resources"]}
    [text] = [value for path, value in _secrets(resources["polls-local-environment"]["inputs"]) if path == ".document"]
    document: dict[str, Any] = json.loads(text)
    return document


def _secrets(found: Any, path: str = "", *, secret: bool = False) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    """Walk through properties; yield path and text of what is secret."""
    if isinstance(found, dict) and SECRET in found:
        yield from _secrets(json.loads(found["plaintext"]), path, secret=True)
    elif isinstance(found, dict):
        for name, value in found.items():
            yield from _secrets(value, f"{path}.{name}", secret=secret)
    elif isinstance(found, list):
        for value in found:
            yield from _secrets(value, path, secret=secret)
    elif secret:
        yield path, str(found)
