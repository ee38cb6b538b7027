"""The search for secrets, by the real engine: the program shows none, and a program that shows some is found out."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.world.world import World
from tests.commands import ROOT, run

# Each secret is shown in one way. None is a setting: those Pulumi masks in what it prints.
PROGRAM = """\
import subprocess

import pulumi
import pulumi_digitalocean as digitalocean

pulumi.Config().require_secret("settings")
shown = {kind: f"what-{kind}-shows" for kind in ("export", "input", "log", "userdata", "process", "file")}

key = pulumi.Output.secret("the-agents-own-key")
net = digitalocean.Vpc("net", name="leaky", region="nyc3", ip_range="10.97.0.0/20", description=shown["input"])
digitalocean.Droplet("web", name="leaky", region="nyc3", size="s-1vcpu-1gb", image="debian-13-x64",
                     vpc_uuid=net.id,  # else the API makes a network of its own, which stays
                     user_data=pulumi.Output.concat("#cloud-config\\n# ", key, shown["userdata"]))
pulumi.export("known", pulumi.Output.secret(shown))
pulumi.export("export", shown["export"])
pulumi.export("web-agent-key", {"secretKey": key})
pulumi.log.warn(f"logging in with {shown['log']}")
# Longer than a look at the process list takes on a busy machine.
subprocess.Popen(["sh", "-c", "sleep 5", shown["process"]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
"""


WHERE = {
    "report of the preview": {"log"},
    "pulumi preview --diff": {"export", "input", "log"},
    "pulumi up --yes --skip-preview --diff": {"export", "input", "log"},
    "pulumi stack export": {"export", "input"},
    "pulumi stack output": {"export"},
    "pulumi stack output --json": {"export"},
    "pulumi stack": {"export"},
    "pulumi config": {"settings"},
    "process list meanwhile": {"process"},
    "Pulumi.leaky.yaml": {"settings"},
    "ci.log": {"file"},
    "user data of web": {"userdata"},
}


def found(said: str) -> dict[str, set[str]]:
    """Places with the names of secrets that were found there."""
    lines = re.findall(r"^  (\S.*?) +[\d,]+ characters: (.*)$", said, re.MULTILINE)
    assert len(lines) > 10, said
    return {
        place.rpartition("/")[2]: {re.split("[.:]", name)[-1] for name in names.split(", ")}
        for place, names in lines
        if names != "none"
    }


@pytest.fixture
def leaky(api_world: World, tmp_path: Path) -> Iterator[Path]:
    """The folder of a stack that will leak; not deployed yet."""
    (tmp_path / "Pulumi.yaml").write_text("name: leaky\nruntime: python\n")
    (tmp_path / "__main__.py").write_text(PROGRAM)
    pulumi = ("sandbox", "exec", "pulumi", "--cwd", str(tmp_path))
    run(*pulumi, "stack", "init", "leaky", home=api_world.home)
    run(*pulumi, "config", "set", "--secret", "settings", "what-settings-shows", home=api_world.home)
    yield tmp_path
    run(*pulumi, "destroy", "--yes", "--skip-preview", home=api_world.home)
    run(*pulumi, "stack", "rm", "--yes", home=api_world.home)


def test_leaks_are_found_each_where_it_is(api_world: World, leaky: Path) -> None:
    """Places and names, never a value."""
    log = leaky / "ci.log"
    log.write_text(json.dumps({"error": "no access for what-file-shows"}))

    settings = leaky / "Pulumi.leaky.yaml"
    settings.write_text(f"{settings.read_text()}  leaky:copy: what-settings-shows\n")
    done = run(
        *("sandbox", "exec", "python", "-m", "operations", "secrets", "check", "--stack", "leaky"),
        *("--project", str(leaky), "--up", "--log", str(log)),
        home=api_world.home,
        check=False,
    )
    assert (done.returncode, found(done.stdout + done.stderr)) == (1, WHERE)
    assert "-shows" not in done.stdout + done.stderr


def test_the_program_shows_no_secret() -> None:
    """`make secrets-check`, as people run it."""
    done = run("make", "secrets-check", home=ROOT)
    assert "secrets: DIGITALOCEAN_TOKEN, SPACES_SECRET_ACCESS_KEY, PULUMI_CONFIG_PASSPHRASE_FILE, " in done.stdout
    assert "user data of polls-local-web-1" in done.stdout
    assert found(done.stdout) == {}
