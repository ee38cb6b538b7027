from typing import Any

import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config as ClientConfig

from provider.actions import ActionError
from provider.uploads import spaces_client
from provider.uploads.spaces_client import Credentials, credentials
from tests.unit.conftest import Buckets

KEYS = Credentials("DO00KEY", "spaces-secret")


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACES_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("SPACES_SECRET_ACCESS_KEY", raising=False)


def test_keys_of_the_environment_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI sets these."""
    monkeypatch.setenv("SPACES_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("SPACES_SECRET_ACCESS_KEY", "key")
    assert credentials() == ("id", "key")


def test_half_a_pair_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two halves of two accounts would be refused by Spaces with a riddle."""
    monkeypatch.setenv("SPACES_ACCESS_KEY_ID", "id")
    with pytest.raises(ActionError, match=r"found none \(or half a pair\)"):
        credentials()


def test_keys_are_not_shown() -> None:
    """A traceback with the locals of a frame must not have them."""
    assert "secret" not in f"{KEYS!r} {KEYS}"


def test_the_request_is_the_one_that_spaces_takes() -> None:
    """The bucket is in the host's name, and there is no checksum trailer."""
    client = spaces_client.spaces_client.__wrapped__("nyc3", KEYS)
    seen: list[AWSRequest] = []

    def stop(request: AWSRequest, **_: Any) -> None:  # noqa: ANN401  # botocore's handlers
        seen.append(request)
        raise InterruptedError

    client.meta.events.register("before-send.s3.PutObject", stop)
    with pytest.raises(InterruptedError):
        client.put_object(Bucket="releases", Key="a/b.json", Body=b"{}")
    assert seen[0].url == "https://releases.nyc3.digitaloceanspaces.com/a/b.json"
    assert not [name for name in seen[0].headers if "checksum" in name.lower() or "trailer" in name.lower()]


def test_a_missing_object_is_none_and_a_missing_bucket_is_said(buckets: Buckets) -> None:
    """The first is the normal case of a first release; the second is not."""
    assert buckets.client.get_json(buckets.releases, "good.json") is None
    with pytest.raises(ActionError, match=r"no-such/good\.json: could not read it, .*NoSuchBucket.*`pulumi refresh`"):
        buckets.client.get_json("no-such", "good.json")


def test_what_is_no_json_is_said(buckets: Buckets) -> None:
    """The bucket is private, but hands can write into it."""
    buckets.client.put(buckets.releases, "good.json", b"{", "application/json")
    with pytest.raises(ActionError, match=r"good\.json: must be JSON, .*; something else wrote it"):
        buckets.client.get_json(buckets.releases, "good.json")


def test_an_unreachable_region_is_said(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo in the region, or no network."""
    monkeypatch.setattr(spaces_client, "spaces_endpoint", lambda _region: "http://127.0.0.1:1")
    no_retries = spaces_client.CLIENT_CONFIG.merge(ClientConfig(retries={"max_attempts": 1}))
    monkeypatch.setattr(spaces_client, "CLIENT_CONFIG", no_retries)
    away = spaces_client.Spaces("nowhere", KEYS)
    with pytest.raises(ActionError, match="check the network, `region` and the proxy variables"):
        away.exists(buckets.releases, "good.json")
