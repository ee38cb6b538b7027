"""The bytes of the user data, and what is refused before there are any."""

import dataclasses
import difflib
import os
from pathlib import Path

import pytest
import yaml

from droplet.user_data import SOURCES, UserDataError, render_user_data
from sizing.plans import USER_DATA_LIMIT
from tests.golden.droplet import BALANCED, SPEC


def test_bytes_are_the_golden_ones() -> None:
    """Other bytes replace every Droplet; so a change is seen here first. UPDATE_GOLDEN=1 accepts it."""
    golden = Path(__file__).with_name("user_data.yaml")
    text = render_user_data(SPEC)
    if os.environ.get("UPDATE_GOLDEN") == "1":
        golden.write_text(text, encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == text


def test_behind_a_load_balancer_other_bytes_are_the_golden_ones() -> None:
    """What such a Droplet has instead, as a difference."""
    golden = Path(__file__).with_name("user_data.balanced.diff")
    texts = [render_user_data(spec).splitlines(keepends=True) for spec in (SPEC, BALANCED)]
    text = "".join(difflib.unified_diff(*texts, "direct", "balanced", n=1))
    if os.environ.get("UPDATE_GOLDEN") == "1":
        golden.write_text(text, encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == text


def test_only_the_agents_key_is_secret() -> None:
    """The one secret of the user data is in one file, which only root reads."""
    config = yaml.safe_load(render_user_data(SPEC))
    holders = [file for file in config["write_files"] if SPEC.agent_secret_key in file["content"]]
    assert [(file["path"], file["permissions"]) for file in holders] == [("/etc/release-agent/config.json", "0600")]
    assert SPEC.agent_secret_key not in repr(SPEC)


def test_it_stays_below_half_of_the_limit() -> None:
    """Each file as it is in the repository, comments too: the agent, which would not fit, is fetched."""
    assert len(render_user_data(SPEC).encode()) <= USER_DATA_LIMIT / 2
    files = {Path(file["path"]).name: file["content"] for file in yaml.safe_load(render_user_data(SPEC))["write_files"]}
    for path in ("start.py", "app-server/run-gunicorn.py"):
        assert files[Path(path).name] == (SOURCES / path).read_text(encoding="utf-8")


def test_too_much_is_refused_with_numbers() -> None:
    """The limit is DigitalOcean's; the message names what to shorten."""
    spec = dataclasses.replace(SPEC, packages=tuple(f"package-{number:05}" for number in range(3000)))
    with pytest.raises(
        UserDataError, match=rf"user_data: must be at most {USER_DATA_LIMIT} bytes .* shorten web.packages"
    ):
        render_user_data(spec)


def test_values_that_would_be_other_configuration_are_refused_together() -> None:
    """No value can break out of the file that it is written into."""
    spec = dataclasses.replace(
        SPEC,
        domain="polls.example; return 200",
        vpc="10.20.0.0/20; deny all",
        workers=0,
        packages=("--allow-downgrades",),
        acme_email='"',
    )
    with pytest.raises(UserDataError) as caught:
        render_user_data(spec)
    rules = [line.partition(":")[0] for line in str(caught.value).splitlines()]
    assert rules == ["domain", "network.cidr", "web.workers", "web.packages", "web.acmeEmail"]
