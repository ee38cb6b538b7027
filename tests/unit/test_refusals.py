"""A refusal of a dynamic provider reaches the user as one line, by Pulumi's own host and its wire."""

import pytest

from tests.provider_host import host_ended_by

# The first thing that the host hears of the provider: what answers is running before the provider is loaded.
CREATE = """
def end(interruption, stub):
    from google.protobuf.struct_pb2 import Struct
    from provider.artifact import ArtifactProvider
    from pulumi.dynamic.dynamic import serialize_provider
    from pulumi.runtime.proto.provider_pb2 import CreateRequest

    properties = Struct()
    properties.update({"__provider": serialize_provider(ArtifactProvider()), **INPUTS})
    try:
        stub.Create(CreateRequest(properties=properties), timeout=30)
    except grpc.RpcError as error:
        print(error.details(), file=sys.stderr, flush=True)
    os._exit(0)
"""


def answer(inputs: dict[str, str]) -> str:
    """Return what the host says when it is asked to make an artifact of these inputs."""
    return host_ended_by(f"INPUTS = {inputs!r}\n{CREATE}").stderr.strip()


def test_a_refusal_is_the_whole_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback comes before it, where nobody would look for it after that."""
    monkeypatch.delenv("SPACES_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("SPACES_SECRET_ACCESS_KEY", raising=False)
    said = answer({"bucket": "releases", "region": "nyc3"})
    assert said.startswith("Spaces keys: must be set, found none")
    assert len(said.splitlines()) == 1


def test_a_bug_has_its_traceback() -> None:
    """Without it nobody could say where it is."""
    said = answer({})
    assert said.startswith("Traceback (most recent call last):")
    assert said.endswith("KeyError: 'bucket'")
