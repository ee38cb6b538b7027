"""Ways to the end of a stack: what is protected stays, what holds uploads asks first, and the database never opens."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.model.store import Bodies, Store
from sandbox.world import certificates
from sandbox.world.world import World
from tests.api_client import Api
from tests.pulumi_stack import PulumiStack, Secret
from tests.worlds import last_request

PROTECTED = {"address", "domain", "db", "media", "secret-key", "superuser-password"}


@pytest.fixture
def stack(api_world: World) -> Iterator[PulumiStack]:
    """The stack "local", not deployed yet; nothing of it is left in the end."""
    stack = PulumiStack(api_world)
    yield stack
    stack.forget()


def trusted_sources(world: World, after: int) -> list[list[str]]:
    """Every list of trusted sources that the API was given, as types of rules."""
    requests: Bodies = Store(world.database, read_only=True).requests(after)
    bodies = [json.loads(r["body"]) for r in requests if r["method"] == "PUT" and r["path"].endswith("/firewall")]
    return [[rule["type"] for rule in body["rules"]] for body in bodies]


def test_what_is_protected_survives_destroy(stack: PulumiStack) -> None:
    """`destroy` says how to go on; with --exclude-protected the rest goes, and the database stays closed."""
    mark = last_request(stack.world)
    stack.up(settings={"protect": True})
    refused = stack.run("destroy", "--yes", check=False)
    assert refused.returncode != 0
    assert "protected" in refused.stdout + refused.stderr
    assert "unprotect" in refused.stdout + refused.stderr

    stack.steps("destroy", "--exclude-protected")
    left = set(stack.resources())
    assert left >= PROTECTED, left
    assert not left & {"web-1", "direct-firewall", "pool", "assets", "releases", "rollout"}, left
    cluster = stack.resources()["db"]["id"]
    rules = Store(stack.world.database, read_only=True).get("database", cluster)
    assert rules is not None
    assert trusted_sources(stack.world, mark) == [["tag"]]


@pytest.mark.prove
def test_an_address_that_others_know_is_protected_alone(stack: PulumiStack, tmp_path: Path) -> None:
    """What leads it to a Droplet is replaced with that; to give it up, it is unprotected first, as the runbook says."""
    settings = {"protect": True, "dns": "external", "dnsPatience": 0}
    stack.up(settings=settings)
    replaced = {step.what for step in stack.up(settings={**settings, "web.threads": 2})}
    assert replaced >= {"replace web-1", "replace assignment", "replace member-1"}

    crt, key = certificates.issue(stack.world, ["polls.example"], tmp_path / "site")
    own = {"web.certificate.chain": Secret(crt.read_text()), "web.certificate.privateKey": Secret(key.read_text())}
    balanced = {**settings, "web.threads": 2, "web.loadBalancer": True, **own}
    refused = stack.run("preview", settings=balanced, check=False)
    assert refused.returncode != 0
    assert "polls-local-address" in refused.stdout
    assert "protected" in refused.stdout
    unprotect(stack, "address")
    assert "delete address" in {step.what for step in stack.up(settings=balanced)}

    crt, key = certificates.issue(stack.world, ["polls.example"], tmp_path / "renewed")
    renewed = {"web.certificate.chain": Secret(crt.read_text()), "web.certificate.privateKey": Secret(key.read_text())}
    assert "replace certificate" in {step.what for step in stack.up(settings={**balanced, **renewed})}
    unprotect(stack, "balancer", "balancer-end")
    assert "delete balancer" in {step.what for step in stack.up(settings={**settings, "web.threads": 2})}


def unprotect(stack: PulumiStack, *names: str) -> None:
    """Let these be deleted."""
    for name in names:
        stack.run("state", "unprotect", stack.resources()[name]["urn"], "--yes")


def test_uploads_are_not_destroyed_unasked(stack: PulumiStack, api: Api) -> None:
    """`destroy` refuses a Space with objects and says which; after `storage.forceDestroy: true` and an `up` it goes.

    Without a preview, too, the cluster is deleted while its trusted sources are still those of the program.
    """
    mark = last_request(stack.world)
    stack.up(settings={"storage.forceDestroy": False})
    bucket = stack.outputs()["buckets"]["media"]
    api.s3().put_object(Bucket=bucket, Key="uploads/cat.jpg", Body=b"the only photograph")

    refused = stack.run("destroy", "--yes", "--skip-preview", check=False)
    text = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert bucket in text
    assert "BucketNotEmpty" in text
    assert api.s3().get_object(Bucket=bucket, Key="uploads/cat.jpg")["Body"].read() == b"the only photograph"

    stack.up(settings={"storage.forceDestroy": True})
    stack.steps("destroy")
    assert bucket not in {found["Name"] for found in api.s3().list_buckets()["Buckets"]}

    log = Store(stack.world.database, read_only=True).requests(mark)
    deleted = [r["path"] for r in log if r["method"] == "DELETE" and r["path"].startswith("/v2/databases/")]
    clusters = [path for path in deleted if path.count("/") == 3]  # /v2/databases/<id>
    assert len(clusters) == len(set(clusters)) > 0, deleted
    assert trusted_sources(stack.world, mark) == [["tag"]] * len(clusters)
