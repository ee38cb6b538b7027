"""The command `sandbox`: help, refusals that say what to do, and the environment of `exec`."""

import json
import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from sandbox.api import switches
from sandbox.api.switches import Switches
from sandbox.client import environment, plugin
from sandbox.command_line import checks
from sandbox.command_line.cli import main
from sandbox.machines import inherited
from sandbox.model.store import Store
from sandbox.network import namespaces
from sandbox.world import world as worlds
from sandbox.world.world import Depth, WorldError


def sandbox(*argv: str) -> tuple[int, str]:
    """Run the command; return its exit status and what it prints."""
    done = CliRunner().invoke(main, list(argv))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


@pytest.mark.parametrize("command", ["up", "down", "status", "exec", "logs", "path", "switch"])
def test_every_command_has_help(command: str) -> None:
    """`--help` says what a command does, and which world it means."""
    status, text = sandbox(command, "--help")
    assert status == 0
    assert "--home" in text


def test_path_prints_the_home(tmp_path: Path) -> None:
    """Scripts find the world by it."""
    assert sandbox("path", "--home", str(tmp_path / "w")) == (0, f"{tmp_path}/w\n")


@pytest.mark.parametrize("command", [["status"], ["exec", "true"], ["logs"], ["switch"]])
def test_no_world_is_a_clear_error(tmp_path: Path, command: list[str]) -> None:
    """The message names the directory and the command that starts a world."""
    status, text = sandbox(command[0], "--home", str(tmp_path), *command[1:])
    assert (status, text) == (1, f"sandbox: {tmp_path}: no world here; start one with `sandbox up`\n")


def test_down_without_a_world_is_fine(tmp_path: Path) -> None:
    """Taking down twice is not an error."""
    assert sandbox("down", "--home", str(tmp_path)) == (0, f"{tmp_path}: no world here, nothing to do\n")


def test_a_home_with_other_files_is_refused(tmp_path: Path) -> None:
    """`down` removes the home, so `up` must not make one of somebody's directory."""
    (tmp_path / "thesis.txt").write_text("years of work")
    status, text = sandbox("up", "--depth", "api", "--home", str(tmp_path))
    assert status == 1
    assert "--home: must be a world, an empty directory or none yet" in text
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_another_depth_is_refused(tmp_path: Path) -> None:
    """A world keeps its depth."""
    worlds.create(tmp_path / "w", "full", proxy_port=1)
    status, text = sandbox("up", "--depth", "api", "--home", str(tmp_path / "w"))
    assert status == 1
    assert "is a world of depth full, got api" in text


def test_up_takes_the_depth_of_the_world_that_is_there(running: worlds.World) -> None:
    """Else the command that messages name would be refused in a world of depth `api`."""
    status, text = sandbox("up", "--home", str(running.home))
    assert (status, "world api" in text) == (0, True), text


def test_a_home_with_spaces_is_refused(tmp_path: Path) -> None:
    """Said at once, and not by the first service that stumbles."""
    status, text = sandbox("up", "--depth", "api", "--home", str(tmp_path / "my world"))
    assert status == 1
    assert "--home: must have no spaces" in text


def test_a_stopped_world_says_so(tmp_path: Path) -> None:
    """`status` has an exit status for scripts, `exec` refuses."""
    home = tmp_path / "w"
    worlds.create(home, "api", proxy_port=1)
    assert sandbox("status", "--home", str(home)) == (3, f"api world in {home}: stopped\n")
    status, text = sandbox("exec", "--home", str(home), "true")
    assert status == 1
    assert "this world is stopped; start it with `sandbox up --depth api`" in text


def test_switches_are_shown_and_set(tmp_path: Path) -> None:
    """Each with its value, the others that it may have, and its meaning; in a world that stands still too."""
    home = str(tmp_path / "w")
    worlds.create(tmp_path / "w", "api", proxy_port=1)
    status, new = sandbox("switch", "--home", home)
    assert status == 0
    assert [line.split()[:5] for line in new.splitlines()] == [
        ["old-clusters", "off", "(or", "on):", "the"],
        ["advanced-pools", "on", "(or", "off):", "Advanced"],
        ["advanced-ca", "none", "(or", "empty", "or"],
        ["droplet-limit", "90", "(or", "3", "or"],
        ["rate-limit", "off", "(or", "on):", "the"],
    ]
    assert sandbox("switch", "--home", home, "old-clusters", "on")[1].startswith("old-clusters    on ")
    assert sandbox("switch", "--home", home, "advanced-ca", "own")[0] == 0
    store = Store(worlds.load(tmp_path / "w").database)
    assert switches.read(store) == Switches(old_clusters=True, advanced_ca="own")
    store.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("old-cluster", "on"),
            (
                "switch: must be one of old-clusters, advanced-pools, advanced-ca, droplet-limit, rate-limit, "
                'got "old-cluster"'
            ),
        ),
        (("old-clusters", "yes"), 'old-clusters: must be one of on, off, got "yes"'),
        (("advanced-ca", "on"), 'advanced-ca: must be one of none, empty, own, got "on"'),
        (("advanced-ca",), "advanced-ca: to what? `sandbox switch` alone shows all with their values"),
    ],
)
def test_a_switch_that_is_none_is_refused(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """With those that there are; nothing is changed."""
    worlds.create(tmp_path / "w", "api", proxy_port=1)
    assert sandbox("switch", "--home", str(tmp_path / "w"), *words) == (1, f"sandbox: {said}\n")
    assert "off" in sandbox("switch", "--home", str(tmp_path / "w"))[1].splitlines()[0]


def test_full_depth_without_root_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message offers sudo and the depth that needs none."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(WorldError, match=r"needs root, got user 1000; .* `--depth api`"):
        checks.run(worlds.create(tmp_path / "w", "full", proxy_port=1))


def test_all_problems_are_said_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing tool and a busy port are one message, each with its remedy."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(checks, "TOOLS", {"no-such-tool": "its-package"})
    monkeypatch.setattr(namespaces, "namespaces", list)
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(WorldError) as refused:
            checks.run(worlds.create(tmp_path / "w", "full", proxy_port=port))
    assert "apt-get install its-package" in str(refused.value)
    assert f"--proxy-port: {port} of 127.0.0.1 must be free" in str(refused.value)


def test_resolver_inside_the_public_range_is_noticed() -> None:
    """Mirror names that lead into the world's own range would never be reached."""
    assert namespaces.overlaps(["192.0.2.1", "198.51.100.77"]) == ["198.51.100.77"]


@pytest.mark.parametrize("depth", ["full", "api"])
def test_clients_get_credentials_and_trust_but_no_address(tmp_path: Path, depth: Depth) -> None:
    """Nothing that a cloud run hasn't got, but trust, backend, PATH, and at depth `api` the proxy."""
    world = worlds.create(tmp_path / "w", depth, proxy_port=4242)
    foreign = {"SSL_CERT_DIR": "/etc/ssl/certs", "AWS_ENDPOINT_URL": "http://x", "AWS_CA_BUNDLE": "/x"}
    base = {"PATH": "/bin", "SANDBOX_PLUGIN": "own"} | foreign
    variables = environment.clients(world, base)
    added = variables.keys() - base.keys()
    of_depth = {
        "api": {"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"},
        "full": {"AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"},
    }
    assert added == of_depth[depth] | {
        *inherited.TRUST_VARIABLES,
        "NODE_EXTRA_CA_CERTS",
        "DIGITALOCEAN_TOKEN",
        "DIGITALOCEAN_ACCESS_TOKEN",
        "DIGITALOCEAN_CONFIG",
        "SPACES_ACCESS_KEY_ID",
        "PULUMI_HOME",
        "SPACES_SECRET_ACCESS_KEY",
        "PULUMI_BACKEND_URL",
        "PULUMI_CONFIG_PASSPHRASE_FILE",
        "PULUMI_SKIP_UPDATE_CHECK",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION",
        "SANDBOX_HOME",
    }
    assert base.keys() - variables.keys() == foreign.keys()
    assert variables["PATH"].endswith(":/bin")


def test_doctl_has_the_token_and_a_file_of_the_world_s_own(tmp_path: Path) -> None:
    """`doctl auth init` writes the token down: not over the user's own, and a context of theirs isn't asked for."""
    world = worlds.create(tmp_path / "w", "api", proxy_port=1)
    theirs = {"DIGITALOCEAN_ACCESS_TOKEN": "theirs", "DIGITALOCEAN_CONTEXT": "theirs", "DIGITALOCEAN_CONFIG": "/theirs"}
    variables = environment.clients(world, theirs)
    assert variables["DIGITALOCEAN_ACCESS_TOKEN"] == world.token
    assert Path(variables["DIGITALOCEAN_CONFIG"]).parent == world.home
    assert "DIGITALOCEAN_CONTEXT" not in variables


def looks_on_path(variables: dict[str, str]) -> bool:
    """Whether the engine finds the sandbox's own plugin: it looks on PATH first, unless it is told not to."""
    own = str(plugin.OWN) in variables["PATH"].split(":")
    return own and environment.IGNORE_AMBIENT not in variables


def test_the_official_plugin_is_used_where_it_is_installed(tmp_path: Path) -> None:
    """Unless another one is named; an installation that was interrupted is none."""
    world = worlds.create(tmp_path / "w", "api", proxy_port=1)
    base = {"PATH": "/bin", "PULUMI_HOME": str(tmp_path), "PULUMI_IGNORE_AMBIENT_PLUGINS": "true"}
    assert looks_on_path(environment.clients(world, base))
    folder = tmp_path / "plugins" / "resource-digitalocean-v4.84.1"
    folder.mkdir(parents=True)
    assert not looks_on_path(environment.clients(world, base))
    assert not looks_on_path(environment.clients(world, base | {"SANDBOX_PLUGIN": "official"}))
    assert looks_on_path(environment.clients(world, base | {"SANDBOX_PLUGIN": "own"}))
    folder.with_name(f"{folder.name}.partial").touch()
    assert looks_on_path(environment.clients(world, base))


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("offical", 'SANDBOX_PLUGIN: must be one of auto, own, official, got "offical"'),
        ("official", "SANDBOX_PLUGIN: the official plugin must be installed in "),
    ],
)
def test_a_plugin_that_is_not_there_is_refused(
    running: worlds.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: str, said: str
) -> None:
    """By the commands that would use it, with what is there."""
    monkeypatch.setenv("SANDBOX_PLUGIN", choice)
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path))
    for command in (["plugin"], ["exec", "--home", str(running.home), "true"]):
        status, text = sandbox(*command)
        assert (status, said in text) == (1, True), text


def test_passphrase_is_made_once_for_its_owner(tmp_path: Path) -> None:
    """Stacks stay readable after the next `up`, for nobody else."""
    world = worlds.create(tmp_path / "w", "api", proxy_port=1)
    environment.prepare_pulumi(world)
    passphrase = world.pulumi / "passphrase"
    first = passphrase.read_text()
    environment.prepare_pulumi(world)
    assert passphrase.read_text() == first
    assert passphrase.stat().st_mode & 0o777 == 0o600


@pytest.fixture(scope="module")
def running(api_world: worlds.World) -> worlds.World:
    """Name the shared world of depth `api` after its state."""
    return api_world


def test_status_of_a_running_world(running: worlds.World) -> None:
    """For people a table with a total, for programs the same as JSON."""
    status, text = sandbox("status", "--home", str(running.home))
    assert status == 0
    assert text.splitlines()[1].split() == ["NAME", "PRODUCT", "STATE", "ADDRESS", "MEMORY"]
    assert text.splitlines()[-1].startswith("total")
    _, text = sandbox("status", "--json", "--home", str(running.home))
    rows = {row["name"]: row for row in json.loads(text)["parts"]}
    assert rows["api"]["product"] == "API v2"
    assert rows["api"]["memory_mib"] > 0


def test_unknown_log_is_refused_with_the_known_ones(running: worlds.World) -> None:
    """The message lists what there is."""
    status, text = sandbox("logs", "--home", str(running.home), "nonsense")
    assert status == 1
    assert 'got "nonsense"' in text
    assert "api" in text
