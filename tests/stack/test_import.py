"""What was clicked together by hand can be taken over: `pulumi import` of a VPC and a Space, then no difference."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.world.world import World
from tests.api_client import Api, connect
from tests.commands import run

PROGRAM = """\
import pulumi
import pulumi_digitalocean as digitalocean

digitalocean.Vpc("net", name="by-hand", region="nyc3", ip_range="10.99.0.0/20",
                 opts=pulumi.ResourceOptions(protect=True))
digitalocean.SpacesBucket("uploads", name="made-by-hand", region="nyc3", opts=pulumi.ResourceOptions(protect=True))
"""


@pytest.fixture
def made_by_hand(api_world: World) -> Iterator[Api]:
    """A VPC and a Space that Pulumi does not know."""
    with connect(api_world) as api:
        vpc = api.vpc("by-hand", "10.99.0.0/20")
        api.bucket("made-by-hand")
        yield api
        api.s3().delete_bucket(Bucket="made-by-hand")
        api.raw.delete(f"/v2/vpcs/{vpc['id']}")


def test_what_exists_is_taken_over(made_by_hand: Api, tmp_path: Path) -> None:
    """Nothing is created, changed or deleted; what does not exist is refused."""
    world = made_by_hand.world
    (tmp_path / "Pulumi.yaml").write_text("name: scratch\nruntime: python\n")
    (tmp_path / "__main__.py").write_text(PROGRAM)

    def pulumi(*argv: str, check: bool = True) -> str:
        command = ("sandbox", "exec", "pulumi", "--cwd", str(tmp_path), "--non-interactive", *argv)
        done = run(*command, home=world.home, check=check)
        return done.stdout + done.stderr

    pulumi("stack", "init", "scratch")
    options = ("--yes", "--skip-preview", "--generate-code=false")
    vpc = made_by_hand.vpc("by-hand")["id"]
    pulumi("import", "digitalocean:index/vpc:Vpc", "net", vpc, *options)
    pulumi("import", "digitalocean:index/spacesBucket:SpacesBucket", "uploads", "nyc3,made-by-hand", *options)
    missing = pulumi("import", "digitalocean:index/vpc:Vpc", "no", "00000000-0000-4000-8000-000000000000",
                     *options, check=False)  # fmt: skip
    assert "does not exist" in missing

    pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    state = json.loads(run("sandbox", "exec", "pulumi", "--cwd", str(tmp_path), "stack", "export",
                           home=world.home).stdout)  # fmt: skip
    ids = {found["urn"].rpartition("::")[2]: found.get("id") for found in state["deployment"]["resources"]}
    assert (ids["net"], ids["uploads"]) == (vpc, "made-by-hand")
