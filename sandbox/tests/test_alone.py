"""The sandbox by itself, installed into an environment of its own, as somebody has it who never saw the program."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sandbox.client import environment, exports
from sandbox.world import world as worlds
from tests.commands import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with what `pip install ./sandbox` puts there."""
    venv = tmp_path_factory.mktemp("alone") / "venv"
    subprocess.run(["uv", "venv", "--quiet", venv], check=True)
    # As `pip install ./sandbox` does, but from uv's cache.
    command = ["uv", "pip", "install", "--quiet", "--python", venv / "bin" / "python", "./sandbox"]
    subprocess.run(command, cwd=ROOT, check=True)
    return venv


@pytest.fixture(scope="module")
def stranger(installed: Path) -> Iterator[dict[str, str]]:
    """The variables of a person with an empty home, a shell and nothing of this repository, while a world is up."""
    home = Path(tempfile.mkdtemp(prefix="h-"))  # short, as homes are: a UNIX socket's path has at most 107 characters
    kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    variables = kept | {"HOME": str(home), "PATH": f"{installed / 'bin'}:{os.defpath}:/usr/local/bin"}
    shell(variables, "sandbox up --depth api")
    yield variables
    shell(variables, "sandbox down")
    assert not (home / ".local" / "state" / "django-do" / "api").exists()
    shutil.rmtree(home)


def shell(variables: Mapping[str, str], script: str) -> str:
    """What a script says in the person's empty home."""
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(
        command, env=dict(variables), cwd=variables["HOME"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_shell_becomes_a_client(stranger: dict[str, str]) -> None:
    """By one line; then DigitalOcean's name answers with a certificate that is trusted."""
    script = (
        'eval "$(sandbox env)"; '
        'curl --silent --header "Authorization: Bearer $DIGITALOCEAN_TOKEN" https://api.digitalocean.com/v2/regions'
    )
    regions = json.loads(shell(stranger | {"DIGITALOCEAN_API_URL": "https://elsewhere.example"}, script))["regions"]
    assert "nyc3" in {region["slug"] for region in regions}


def test_env_is_what_exec_gives(stranger: dict[str, str]) -> None:
    """The same variables, no more and no fewer, but for where Pulumi's plugins are."""
    inside = shell(stranger, "sandbox exec env --null").split("\0")
    given = shell(stranger, 'eval "$(sandbox env)"; env --null').split("\0")
    own = ("_=", "SHLVL=", "PWD=", "OLDPWD=", "PULUMI_HOME=")  # bash, which runs the second, sets most of them
    assert sorted(line for line in given if not line.startswith(own)) == sorted(
        line for line in inside if not line.startswith(own)
    )


def test_the_choice_of_the_plugin_is_pulumi_s(stranger: dict[str, str]) -> None:
    """The sandbox's own is not among what was installed, and PATH does not pretend that it is."""
    assert shell(stranger, "sandbox plugin").startswith("provider plugin: the official one, ")
    assert "/provider:" not in shell(stranger, "sandbox exec sh -c 'echo $PATH'")
    refused = subprocess.run(
        ["sandbox", "plugin"], env=stranger | {"SANDBOX_PLUGIN": "own"}, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert refused.stderr == (
        "sandbox: SANDBOX_PLUGIN: the sandbox's own plugin needs the extra `program`, which is not installed\n"
    )


@pytest.mark.parametrize("depth", ["api", "full"])
def test_a_shell_outside_is_led_by_the_proxy(tmp_path: Path, depth: worlds.Depth) -> None:
    """At both depths: `sandbox exec` enters the network of a full world, a shell stays where it is."""
    world = worlds.create(tmp_path / "w", depth, proxy_port=4242)
    changed = exports.changes(world, {"PATH": "/bin", "AWS_PROFILE": "work"})
    assert changed["HTTPS_PROXY"] == "http://127.0.0.1:4242"
    assert changed["AWS_PROFILE"] is None
    assert "unset AWS_PROFILE" in exports.lines(changed)
    assert environment.clients(world, {}).keys() <= changed.keys() | {"PATH", "PULUMI_HOME"}


def test_the_shell_keeps_its_path(stranger: dict[str, str]) -> None:
    """Where nothing is added to it: `sandbox env` may be run in a container, whose programs are elsewhere."""
    assert "PATH" not in json.loads(shell(stranger, "sandbox env --json"))


def test_values_survive_the_shell() -> None:
    """Whatever characters are in them."""
    value = 'a\'b "c" $(d) `e`'
    [line] = exports.lines({"X": value})
    assert shell({"HOME": "/", "PATH": os.defpath}, f'{line}; printf %s "$X"') == value
