"""A team's backend, for real: a private, versioned Space, shared by two checkouts, with earlier states in it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from operations.backend import PAUSE
from sandbox.world.world import World
from tests.api_client import Api, until
from tests.commands import PATH, ROOT, run

NAME = "team-state"
PASSWORD = "a-secret-of-the-settings"
PROGRAM = """\
import os
import time

import pulumi
import pulumi_digitalocean as digitalocean

deadline = time.monotonic() + 60
while os.path.exists("wait") and time.monotonic() < deadline:
    time.sleep(0.05)
config = pulumi.Config()
digitalocean.Vpc("net", name="of-the-team", region="nyc3", ip_range="10.98.0.0/20", description=config.get("what"))
pulumi.export("password", config.require_secret("password"))
"""


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """Somebody's copy of the repository, and what is exported in their shell."""

    world: World
    folder: Path
    environment: dict[str, str]

    def start(self, *argv: str, **environment: str) -> "subprocess.Popen[str]":
        """Begin a command."""
        return subprocess.Popen(
            ["sandbox", "exec", "env", *map("=".join, (self.environment | environment).items()), *argv],
            cwd=self.folder,
            env=os.environ | {"PATH": PATH, "SANDBOX_HOME": str(self.world.home)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, *argv: str, status: int = 0, given: str = "", **environment: str) -> str:
        """Run a command to its end; return what it printed."""
        process = self.start(*argv, **environment)
        said = process.communicate(given, timeout=120)[0]
        assert (process.returncode == 0) == (status == 0), said
        return said

    def pulumi(self, command: str, *argv: str, status: int = 0, given: str = "", **environment: str) -> str:
        """Run a command of Pulumi on the stack."""
        return self.run("pulumi", *command.split(), "--stack", "dev", *argv, status=status, given=given, **environment)

    def up(self, *argv: str) -> str:
        """Deploy."""
        return self.pulumi("up --yes --skip-preview", *argv)

    def backend(self, *argv: str, status: int = 0, **environment: str) -> str:
        """Run a command of `operations backend`."""
        path = {"PYTHONPATH": str(ROOT)}
        return self.run("python", "-m", "operations", "backend", *argv, status=status, **path, **environment)


@pytest.fixture(scope="module")
def shell(api: Api) -> Iterator[dict[str, str]]:
    """What everybody of the team exports: the login that is printed for them, and a key for this Space alone."""
    made = run("sandbox", "exec", "python", "-m", "operations", "backend", "space", "--name", NAME, "--region", "nyc3",
               home=api.world.home)  # fmt: skip
    assert made.stderr == f"{NAME}: was made, private and versioned\n"
    command, url, end = made.stdout.split("'")
    assert (command, end) == ("pulumi login ", "\n")
    grants = [{"bucket": NAME, "permission": "readwrite"}]
    key = api.client.spaces_key.create({"name": NAME, "grants": grants})["key"]
    yield {
        "PULUMI_BACKEND_URL": url,
        "PULUMI_CONFIG_PASSPHRASE": "correct-horse",
        "AWS_ACCESS_KEY_ID": key["access_key"],
        "AWS_SECRET_ACCESS_KEY": key["secret_key"],
    }
    api.client.spaces_key.delete(key["access_key"])
    for kept in api.s3().get_paginator("list_object_versions").paginate(Bucket=NAME):
        versions = [*kept.get("Versions", []), *kept.get("DeleteMarkers", [])]
        objects: Any = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions]
        api.s3().delete_objects(Bucket=NAME, Delete={"Objects": objects})
    api.s3().delete_bucket(Bucket=NAME)


@pytest.fixture(scope="module")
def mine(api: Api, shell: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout with a stack that is deployed."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "Pulumi.yaml").write_text("name: shared\nruntime: python\n")
    (folder / "__main__.py").write_text(PROGRAM)
    checkout = Checkout(world=api.world, folder=folder, environment=shell)
    checkout.run("pulumi", "stack", "init", "dev")
    checkout.pulumi("config set --secret password", PASSWORD)
    checkout.up()
    yield checkout
    checkout.pulumi("destroy --yes --skip-preview")
    checkout.pulumi("stack rm --yes")


@pytest.fixture
def yours(mine: Checkout, tmp_path: Path) -> Checkout:
    """What a colleague has: the tracked files."""
    shutil.copytree(mine.folder, tmp_path / "yours")
    return Checkout(world=mine.world, folder=tmp_path / "yours", environment=mine.environment)


def test_the_space_is_private_versioned_and_made_once(api: Api, shell: dict[str, str]) -> None:
    """A second time it is only looked at; without a key nobody reads it."""
    space = ("sandbox", "exec", "python", "-m", "operations", "backend", "space", "--region", "nyc3", "--name")
    again = run(*space, NAME, home=api.world.home)
    assert again.stderr == f"{NAME}: is there, private and versioned\n"
    assert shell["PULUMI_BACKEND_URL"] in again.stdout
    assert api.s3().get_bucket_versioning(Bucket=NAME)["Status"] == "Enabled"
    with api.browser() as browser:
        assert browser.get(f"https://{NAME}.nyc3.digitaloceanspaces.com/").status_code == httpx.codes.FORBIDDEN

    api.bucket("open")
    api.s3().put_bucket_acl(Bucket="open", ACL="public-read")
    refused = run(*space, "open", home=api.world.home, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "operations backend space: open: must be private, but everybody has READ; take another name"
    )
    api.s3().delete_bucket(Bucket="open")
    assert run(*space, "No_Name", home=api.world.home, check=False).stderr.startswith(
        "operations backend space: --name: must be 3 to 63"
    )


def test_two_checkouts_share_a_stack(api: Api, yours: Checkout) -> None:
    """What one has made is there for the other, who needs the passphrase, too; the Space has no secret in plain."""
    yours.up("--expect-no-changes")
    assert yours.pulumi("stack output password --show-secrets").strip() == PASSWORD
    wrong = yours.pulumi("stack output password --show-secrets", status=1, PULUMI_CONFIG_PASSPHRASE="wrong")
    assert "incorrect passphrase" in wrong
    keys = [item["Key"] for item in api.s3().list_objects_v2(Bucket=NAME)["Contents"]]
    assert len(keys) > 2
    assert [key for key in keys if PASSWORD.encode() in api.s3().get_object(Bucket=NAME, Key=key)["Body"].read()] == []


def test_two_at_a_time_are_refused(api: Api, mine: Checkout, yours: Checkout) -> None:
    """The second is told who holds the lock, and is let in when the first has ended."""
    (mine.folder / "wait").touch()
    first = mine.start("pulumi", "up", "--stack", "dev", "--yes", "--skip-preview")
    until(lambda: api.s3().list_objects_v2(Bucket=NAME, Prefix=".pulumi/locks/")["KeyCount"], lambda locks: locks == 1)
    refused = yours.pulumi("up --yes --skip-preview", status=1)
    assert "the stack is currently locked by 1 lock(s)" in refused
    (mine.folder / "wait").unlink()
    assert first.communicate(timeout=60)[0]
    assert first.returncode == 0
    yours.up("--expect-no-changes")


def test_an_earlier_state_comes_back(api: Api, mine: Checkout) -> None:
    """Of a stack that somebody has removed, and that had moved on; nothing but the state changes."""

    def states() -> list[str]:
        return [line.split()[2] for line in mine.backend("earlier", "--stack", "dev").splitlines()]

    before = resources(mine)
    earlier = states()[0]
    # Two updates without a pause between them are listed as one.
    until(lambda: age(api), lambda seconds: seconds > 2 * PAUSE.total_seconds())
    mine.pulumi("config set what changed")
    mine.up()
    now = resources(mine)
    assert now != before
    newest = states()[0]

    mine.pulumi("stack rm --force --yes --preserve-config")
    mine.run("pulumi", "stack", "init", "dev")
    mine.backend("earlier", "--stack", "dev", "--restore", earlier)
    assert resources(mine) == before
    mine.backend("earlier", "--stack", "dev", "--restore", newest)
    assert resources(mine) == now
    mine.up("--expect-no-changes")
    assert "must be there, is not" in mine.backend("earlier", "--stack", "other", status=1)


def age(api: Api) -> float:
    """Seconds since a state was last written."""
    states = api.s3().list_objects_v2(Bucket=NAME, Prefix=".pulumi/stacks/")["Contents"]
    return (datetime.now(UTC) - max(state["LastModified"] for state in states)).total_seconds()


def resources(checkout: Checkout) -> dict[str, object]:
    """What the state says was asked for."""
    state = json.loads(checkout.pulumi("stack export"))
    return {found["urn"]: found.get("inputs") for found in state["deployment"]["resources"]}


def test_a_stack_moves_into_the_space(mine: Checkout, tmp_path: Path) -> None:
    """From a folder, with its secrets."""
    folder = f"file://{tmp_path}"
    mine.run("pulumi", "stack", "init", "moved", "--no-select", PULUMI_BACKEND_URL=folder)
    secret = ("pulumi", "config", "--stack", "moved")
    mine.run(*secret, "set", "--secret", "password", "of-the-folder", PULUMI_BACKEND_URL=folder)
    mine.run("pulumi", "stack", "migrate", folder, "moved", "--yes")
    assert mine.run(*secret, "get", "password").strip() == "of-the-folder"
    mine.run("pulumi", "stack", "rm", "--yes", "moved")


def change_provider(checkout: Checkout, passphrase: str, **environment: str) -> None:
    """Encrypt the stack's secrets with another passphrase."""
    twice = f"{passphrase}\n{passphrase}\n"
    checkout.pulumi("stack change-secrets-provider passphrase", given=twice, **environment)


def test_the_passphrase_is_rotated(mine: Checkout) -> None:
    """The new one opens state and settings, the old one neither, but the states before, with the settings of then."""
    new = {"PULUMI_CONFIG_PASSPHRASE": "battery-staple"}
    settings = mine.folder / "Pulumi.dev.yaml"
    before = settings.read_text()
    version = mine.backend("earlier", "--stack", "dev").split()[2]
    change_provider(mine, "battery-staple")
    for command in ("stack output password --show-secrets", "config get password"):
        assert mine.pulumi(command, **new).strip() == PASSWORD
        assert "incorrect passphrase" in mine.pulumi(command, status=1)

    restore = ("earlier", "--stack", "dev", "--restore", version)
    assert "incorrect passphrase" in mine.backend(*restore, status=1, **new)
    settings.write_text(before)
    mine.backend(*restore)
    assert mine.pulumi("stack output password --show-secrets").strip() == PASSWORD


def test_a_kms_takes_the_passphrases_place(mine: Checkout) -> None:
    """Amazon's, played by moto: no passphrase is asked for any more; without the KMS nobody reads a secret."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    kms = {"AWS_ENDPOINT_URL_KMS": "http://{}:{}".format(*server.get_host_and_port())}
    wrong = {"PULUMI_CONFIG_PASSPHRASE": "nobody-asks"}
    any_key = {"region_name": "us-east-1", "aws_access_key_id": "any", "aws_secret_access_key": "any"}
    client = boto3.client("kms", endpoint_url=kms["AWS_ENDPOINT_URL_KMS"], **any_key)
    key = client.create_key()["KeyMetadata"]["KeyId"]
    mine.pulumi("stack change-secrets-provider", f"awskms://{key}?region=us-east-1", **kms)
    assert mine.pulumi("stack output password --show-secrets", **kms, **wrong).strip() == PASSWORD
    away = {"AWS_ENDPOINT_URL_KMS": "http://127.0.0.1:9"}
    assert PASSWORD not in mine.pulumi("stack output password --show-secrets", status=1, **away)
    change_provider(mine, "correct-horse", **kms)
    server.stop()
