"""A state in a folder, after a kill has cut off one of its files."""

import json
from pathlib import Path

import pytest

from operations import recover


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
