import base64
import pickletools
from typing import Any

import pytest
from pulumi.dynamic import ResourceProvider
from pulumi.dynamic.dynamic import serialize_provider

from provider.artifact import Artifact, ArtifactProvider
from provider.database_grants import DatabaseGrants, DatabaseGrantsProvider
from provider.discarded_key import DiscardedKey, DiscardedKeyProvider
from provider.environment import Environment, EnvironmentProvider
from provider.probe import Probe, ProbeProvider
from provider.rollout import Rollout, RolloutProvider
from provider.secret import Secret, SecretProvider

# Written down in the state of every stack. Never change a line of this table: add lines.
FROZEN: list[tuple[type[ResourceProvider], type[Any], str, str]] = [
    (SecretProvider, Secret, "dynamic.secret SecretProvider", "dynamic/django-do:Secret"),
    (
        DiscardedKeyProvider,
        DiscardedKey,
        "dynamic.discarded_key DiscardedKeyProvider",
        "dynamic/django-do:DiscardedKey",
    ),
    (
        DatabaseGrantsProvider,
        DatabaseGrants,
        "dynamic.database_grants DatabaseGrantsProvider",
        "dynamic/django-do:DatabaseGrants",
    ),
    (ArtifactProvider, Artifact, "dynamic.artifact ArtifactProvider", "dynamic/django-do:Artifact"),
    (EnvironmentProvider, Environment, "dynamic.environment EnvironmentProvider", "dynamic/django-do:Environment"),
    (RolloutProvider, Rollout, "dynamic.rollout RolloutProvider", "dynamic/django-do:Rollout"),
    (ProbeProvider, Probe, "dynamic.probe ProbeProvider", "dynamic/django-do:Probe"),
]


@pytest.mark.parametrize(("provider", "resource", "path", "token"), FROZEN)
def test_the_state_holds_a_reference_that_stays(
    provider: type[ResourceProvider], resource: type[Any], path: str, token: str
) -> None:
    """A renamed class could not be destroyed by the stacks that exist (docs/adr/0007-frozen-dynamic-class-paths.md)."""
    pickled = base64.b64decode(serialize_provider(provider()))
    # Protocol 4 pushes module and class name, then takes them with STACK_GLOBAL.
    names = [str(argument) for opcode, argument, _ in pickletools.genops(pickled) if "UNICODE" in opcode.name]
    assert " ".join(names[:2]) == path
    assert resource._resource_type_name == token


@pytest.mark.parametrize("provider", [provider for provider, *_ in FROZEN])
def test_the_reference_is_all_that_the_state_holds(provider: type[ResourceProvider]) -> None:
    """Code in the state would make every change of the code a change of the resource."""
    assert len(base64.b64decode(serialize_provider(provider()))) < 200


@pytest.mark.parametrize("provider", [provider for provider, *_ in FROZEN])
def test_deleting_does_nothing(provider: type[ResourceProvider], monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases stay for a rollback, rights go with the cluster; destroy must work without keys and network."""
    monkeypatch.delenv("SPACES_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("SPACES_SECRET_ACCESS_KEY", raising=False)
    provider().delete("id", {})
    assert provider.delete is ResourceProvider.delete
