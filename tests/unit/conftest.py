"""Spaces for the tests of the providers, moto's server in this process; and a site."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from provider.uploads import spaces_client
from provider.uploads.spaces_client import Credentials, Spaces
from tests.unit import site_server

NUMBERS = itertools.count(1)
KEYS = Credentials("DO00TEST", "spaces-secret")


@dataclass(frozen=True, kw_only=True)
class Buckets:
    """Two empty buckets and the client that the providers use."""

    releases: str
    state: str
    region: str
    client: Spaces

    def keys(self, bucket: str) -> list[str]:
        """List a bucket's objects by name."""
        return sorted(self.client.newest(bucket, "", 1000))

    def body(self, bucket: str, key: str) -> bytes:
        """Read an object."""
        client = spaces_client.spaces_client(self.region, KEYS)
        return client.get_object(Bucket=bucket, Key=key)["Body"].read()


@pytest.fixture(scope="session")
def spaces_endpoint() -> Iterator[str]:
    """Run moto's server; a request to any host is served, buckets are in the path."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def buckets(spaces_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Buckets:
    """Make two buckets where `provider` looks for Spaces, with the runner's keys in the environment."""
    by_path = Config(s3={"addressing_style": "path"})
    monkeypatch.setattr(spaces_client, "CLIENT_CONFIG", spaces_client.CLIENT_CONFIG.merge(by_path))
    monkeypatch.setattr(spaces_client, "spaces_endpoint", lambda _region: spaces_endpoint)
    monkeypatch.setenv("SPACES_ACCESS_KEY_ID", KEYS.access_key)
    monkeypatch.setenv("SPACES_SECRET_ACCESS_KEY", KEYS.secret_key)
    number = next(NUMBERS)
    found = Buckets(releases=f"releases-{number}", state=f"state-{number}", region="nyc3", client=Spaces("nyc3", KEYS))
    client = spaces_client.spaces_client("nyc3", KEYS)
    for bucket in (found.releases, found.state):
        # The types know Amazon's regions only.
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "nyc3"})  # type: ignore[typeddict-item]
    return found


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[site_server.Site]:
    """A site that is asked from outside."""
    with site_server.serving(tmp_path, monkeypatch) as site:
        yield site
