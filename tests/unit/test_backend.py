"""What `operations backend` says and refuses without a real Space; tests/stack/test_backend.py has one."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import MagicMock

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from operations import backend
from operations.__main__ import main
from operations.stack import Stack

START = datetime(2026, 11, 27, 12, tzinfo=UTC)


class Bucket:
    """Spaces with one bucket, which a policy may open to others; or an answer about it that is an error."""

    def __init__(self, code: str) -> None:
        self.code = code

    def head_bucket(self, **_: str) -> None:
        """Look whether it is there."""
        if self.code:
            raise ClientError({"Error": {"Code": self.code}}, "HeadBucket")

    def get_bucket_acl(self, **_: str) -> dict[str, Any]:
        """Answer that it is the owner's alone."""
        return {"Grants": [{"Grantee": {"ID": "owner"}, "Permission": "FULL_CONTROL"}]}

    def get_bucket_policy(self, **_: str) -> dict[str, str]:
        """Answer with some policy."""
        return {"Policy": "{}"}


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPACES_ACCESS_KEY_ID", "SPACES_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "given")


def test_the_login_to_pulumi_cloud() -> None:
    """Two commands, and nothing is asked."""
    done = CliRunner().invoke(main, ["backend", "cloud", "--organisation", "acme"])
    assert (done.exit_code, done.output) == (0, "pulumi login\npulumi org set-default acme\n")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("403", "acme-state: must be yours, belongs to somebody"),
        ("", "acme-state: must be private, but it has a bucket policy"),
    ],
)
def test_a_space_that_is_not_ours_alone_is_refused(monkeypatch: pytest.MonkeyPatch, code: str, says: str) -> None:
    """Somebody else's, and one that a policy may open."""
    monkeypatch.setattr(backend, "client", lambda *_: Bucket(code))
    with pytest.raises(backend.BackendError, match=says):
        backend.make_space("acme-state", "fra1")


def test_without_a_key_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variables' names."""
    monkeypatch.delenv("SPACES_SECRET_ACCESS_KEY")
    with pytest.raises(backend.BackendError, match="SPACES_SECRET_ACCESS_KEY: must be set, got nothing; export"):
        backend.make_space("acme-state", "fra1")


def test_other_backends_have_no_versions_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder has none, Pulumi Cloud has its own."""
    monkeypatch.setattr(backend, "pulumi", lambda *_: json.dumps({"url": "https://api.pulumi.com"}))
    with pytest.raises(backend.BackendError, match=r"must be a Space .*stack export -s dev --version N"):
        backend.States.of(Stack(name="dev"))


def test_a_space_of_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an endpoint it would be Amazon's."""
    monkeypatch.setattr(backend, "pulumi", lambda *_: json.dumps({"url": "s3://acme-state?region=fra1"}))
    with pytest.raises(backend.BackendError, match="must name its endpoint"):
        backend.States.of(Stack(name="dev"))


def test_listed_is_what_an_update_has_ended_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not its steps, nor one that was killed, nor a stack without anything."""
    done: dict[str, Any] = {"resources": [{}, {}]}
    killed = done | {"pending_operations": [{}]}
    kept = {0: {}, 10: {"resources": [{}]}, 11: done, 20: killed, 30: done, 31: killed, 32: done}
    states = backend.States(spaces=MagicMock(), bucket="acme-state", key="dev.json")
    newest_first = [(START + timedelta(seconds=second), str(second)) for second in sorted(kept, reverse=True)]
    monkeypatch.setattr(backend.States, "versions", lambda _: newest_first)
    monkeypatch.setattr(backend.States, "read", lambda _, version: {"version": 3, "deployment": kept[int(version)]})
    assert [(version, resources) for _, version, resources in states.settled()] == [("32", 2), ("11", 2)]
