"""A state in a folder after a kill has cut off one of its files, and what is looked for in the account."""

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import digitalocean
from operations import recover
from provider import resources


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    """The folder of a project's states, with one stack of two steps."""
    folder = tmp_path / ".pulumi/stacks/django-do"
    folder.mkdir(parents=True)
    for name, text in {"dev.json": '{"step": 2}', "dev.json.bak": '{"step": 1}', "dev.json.attrs": "{}"}.items():
        (folder / name).write_text(text)
    return folder


def repaired(stacks: Path) -> dict[str, str]:
    """What is there after the repair."""
    recover.repair("dev", {"PULUMI_BACKEND_URL": f"file://{stacks.parent.parent.parent}"})
    return {path.name: path.read_text() for path in stacks.iterdir()}


def test_a_whole_state_stays(stacks: Path) -> None:
    """Nothing goes back a step without need."""
    before = {path.name: path.read_text() for path in stacks.iterdir()}
    assert repaired(stacks) == before


@pytest.mark.parametrize("cut", ["", '{"st'])
def test_a_state_that_was_cut_off_is_the_one_before(stacks: Path, cut: str) -> None:
    """The engine keeps it beside the state."""
    (stacks / "dev.json").write_text(cut)
    assert repaired(stacks)["dev.json"] == '{"step": 1}'


def test_attributes_that_were_cut_off_go(stacks: Path) -> None:
    """Pulumi ends with "EOF" where they are empty, and makes do without them."""
    (stacks / "dev.json.attrs").write_text("")
    assert sorted(repaired(stacks)) == ["dev.json", "dev.json.bak"]


def test_nothing_whole_is_left(stacks: Path) -> None:
    """It says where older ones are."""
    for name in ("dev.json", "dev.json.bak"):
        (stacks / name).write_text("{")
    with pytest.raises(recover.RecoveryError, match=r"dev\.json: is cut off, and so is dev\.json\.bak; .*backups"):
        repaired(stacks)


@pytest.mark.parametrize("backend", ["", "s3://states", "https://api.pulumi.com", "file:///nowhere"])
def test_other_backends_write_all_or_nothing(backend: str) -> None:
    """There is nothing to repair, and nothing in the folder where one happens to be is touched."""
    recover.repair("dev", {"PULUMI_BACKEND_URL": backend, "PULUMI_HOME": "/nowhere"})


def test_a_folder_of_a_login_is_repaired_too(stacks: Path, tmp_path: Path) -> None:
    """Not only the one that is named by the environment."""
    (stacks / "dev.json").write_text("")
    (tmp_path / "credentials.json").write_text(json.dumps({"current": f"file://{tmp_path}"}))
    recover.repair("dev", {"PULUMI_HOME": str(tmp_path)})
    assert (stacks / "dev.json").read_text() == '{"step": 1}'


def test_a_login_that_can_not_be_read_is_an_error_of_the_command(tmp_path: Path) -> None:
    """Not a traceback."""
    (tmp_path / "credentials.json").write_text('{"current": null}')
    with pytest.raises(recover.RecoveryError, match=r"credentials\.json: current: must be a URL, got null; .*login"):
        recover.repair("dev", {"PULUMI_HOME": str(tmp_path)})


# What is not looked for but made again, and why nothing is there twice then.
MADE_AGAIN = {
    "DatabaseFirewall": "its rules take the place of those that are there",
    "ReservedIpAssignment": "an address has one Droplet at most",
    "SpacesBucketCorsConfiguration": "it takes the place of the one that is there",
    "DatabaseGrants": "its statements change nothing the second time",
    "Secret": "it is in the state alone",
    "DiscardedKey": "it is in the state alone",
    "AgentPackage": "its object has the name of its contents",
    "Artifact": "its object has the name of its contents",
    "Environment": "its object has the name of its contents",
    "Rollout": "it goes on with the attempt that is there",
    "Probe": "it asks",
    "NewAddress": "it asks",
    "Handover": "it waits",
    "Member": "it lets a Droplet stay that stays",
    "BalancerEnd": "it makes nothing, it ends something",
}


def test_every_kind_of_resource_is_looked_for_or_can_be_made_again() -> None:
    """One that is neither would be an orphan after a kill, billed, and in the way of `destroy`."""
    kinds = {
        kind.__name__
        for module in (digitalocean, resources)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, pulumi.CustomResource) and not kind.__name__.startswith("_")
    }
    assert kinds == recover.FINDERS.keys() | MADE_AGAIN.keys()
    assert not recover.FINDERS.keys() & MADE_AGAIN.keys()


@pytest.mark.parametrize(
    ("kind", "listing", "identity"),
    [
        ("LoadBalancer", "load_balancers", "id-1"),
        ("VpcNatGateway", "vpc_nat_gateways", "id-1"),
        ("Certificate", "certificates", "shop-1a2b3c4"),  # whose id is another one once it is renewed
    ],
)
def test_what_takes_minutes_to_be_made_is_found_by_its_name(
    monkeypatch: pytest.MonkeyPatch, kind: str, listing: str, identity: str
) -> None:
    """In the state it has the id that DigitalOcean's provider gives it; two of a name are nobody's to choose from."""
    items = [{"id": "id-1", "name": "shop-1a2b3c4"}, {"id": "id-2", "name": "other"}]

    def get(_self: object, path: str) -> dict[str, Any] | None:
        return {listing: items} if path.partition("?")[0] == listing else None

    monkeypatch.setattr(recover.api.Api, "get", get)
    account = recover.Account({"DIGITALOCEAN_TOKEN": "a token"})
    find = recover.FINDERS[kind]
    assert find(account, {"name": "shop-1a2b3c4"}) == identity
    assert find(account, {"name": "shop-5d6e7f8"}) is None
    items.append({"id": "id-3", "name": "other"})
    with pytest.raises(recover.RecoveryError, match="must have at most one"):
        find(account, {"name": "other"})


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> recover.Account:
    """An account that answers 404 to everything."""
    monkeypatch.setattr(recover.api.Api, "get", lambda _self, _path: None)
    return recover.Account({"DIGITALOCEAN_TOKEN": "a token"})


def test_a_listing_that_is_not_there_is_one_error(empty: recover.Account) -> None:
    """It says which, and what may be wrong."""
    rule = r"https://\S+/vpcs: must be a listing, got 404 \(not found\); .*DIGITALOCEAN_TOKEN"
    with pytest.raises(recover.RecoveryError, match=rule):
        recover.FINDERS["Vpc"](empty, {"name": "web"})


def test_a_record_goes_with_its_domain(empty: recover.Account) -> None:
    """The next update makes both again."""
    inputs = {"domain": "polls.example", "type": "A", "name": "@", "value": "192.0.2.7"}
    assert recover.FINDERS["DnsRecord"](empty, inputs) is None
