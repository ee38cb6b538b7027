"""What a user may get wrong: one clear message, an exit status, nothing half-made, and a next run that works."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.machines import images, inherited
from sandbox.model.store import Store
from sandbox.world import world as worlds
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import World
from tests.commands import CACHE, PATH, ROOT, run
from tests.worlds import Deployment

NOBODY = 65534
CLEAN_PATH = "/usr/local/bin:/usr/bin:/bin"
REAL_LOOKING = f"dop_v1_{'0123456789abcdef' * 4}"
OF_THE_ACCOUNT = {"project"}  # what an account has before anybody creates something
CONVERGE_DEADLINE = 180.0  # seconds, on a machine that is busy with other tests
PROMPTLY = 15.0  # seconds; what it interrupts would take minutes

Done = subprocess.CompletedProcess[str]


def refused(done: Done, *texts: str) -> None:
    """The command ended with a message that says all this, and no traceback."""
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "Traceback" not in said
    assert [text for text in texts if text not in said] == [], said


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory for a world that isn't there yet."""
    # Not pytest's tmp_path: the path of a UNIX socket may have 107 characters only.
    parent = Path(tempfile.mkdtemp(prefix="bad-"))
    yield parent / "w"
    if (parent / "w" / worlds.WORLD_FILE).exists():
        run("sandbox", "down", home=parent / "w")
    shutil.rmtree(parent)


@pytest.fixture(scope="module")
def own_world() -> Iterator[World]:
    """A world of depth "api" that the tests of this file have for themselves, empty; the last of them takes it down."""
    home = Path(tempfile.mkdtemp(prefix="own-"))
    run("sandbox", "up", "--depth", "api", home=home)
    yield worlds.load(home)
    if home.exists():
        run("sandbox", "down", home=home)


@pytest.fixture(scope="module")
def previewed(api_world: World) -> World:
    """A world with a stack "local" that has nothing in it, and the settings that the last command was run with."""
    run("scripts/stack", "local", "stack", home=api_world.home)
    return api_world


# 1. No root.


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """Somebody without root, with a checkout of their own."""

    checkout: Path
    tools: Path  # first on PATH

    def run(self, *argv: str, expected: int | None = 0, **variables: str) -> Done:
        """Run a command in the checkout as this user."""
        drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
        inherited = ("PIP_", "UV_", "SSL_", "SANDBOX_PLUGIN")
        kept = {name: value for name, value in os.environ.items() if name.startswith(inherited)}
        environment = kept | {
            "PATH": f"{self.tools}:{self.checkout / '.venv/bin'}:{CLEAN_PATH}",
            "HOME": str(self.checkout.parent / "home"),
            "LANG": "C.UTF-8",
        }
        done = subprocess.run(
            [*drop, *argv],
            cwd=self.checkout,
            env=environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert expected is None or done.returncode == expected, done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    """A user without root on a machine without the sandbox's packages, with the tools that `make setup` builds."""
    parent = Path(tempfile.mkdtemp(prefix="stranger-"))
    parent.chmod(0o755)
    checkout, tools, home = parent / "checkout", parent / "tools", parent / "home"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    home.mkdir()
    # Built from Go modules where the official archives can't be had: minutes that this test is not about.
    shutil.copytree(CACHE / "bin", home / ".cache/django-do/bin", ignore=shutil.ignore_patterns("uv*"))
    tools.mkdir()
    (tools / "dpkg-query").write_text("#!/bin/sh\nexit 1\n")
    (tools / "dpkg-query").chmod(0o755)
    made = Stranger(checkout=checkout, tools=tools)
    if os.geteuid() == 0:
        # The environment comes from root's cache instead of the network; its folders are then the stranger's.
        python = shutil.which("python3", path=CLEAN_PATH) or ""
        command = ["uv", "sync", "--frozen", "--quiet", "--python", python, "--project", str(checkout)]
        subprocess.run(command, check=True, env=os.environ | {"PATH": PATH})
        for folder, _, _ in os.walk(parent):
            os.chown(folder, NOBODY, NOBODY)
    made.run("scripts/setup")
    yield made
    shutil.rmtree(parent)


@pytest.mark.root
def test_setup_without_root_says_what_is_left_out(stranger: Stranger) -> None:
    """The packages are named with the command that installs them; everything else is set up."""
    done = stranger.run("scripts/setup")
    assert 'left out: depth "full" needs root and: apt-get install ' in done.stdout
    assert "systemd-container" in done.stdout


@pytest.mark.root
@pytest.mark.parametrize("command", [["sandbox", "up", "--depth", "full"], ["make", "up"]])
def test_depth_full_without_root(stranger: Stranger, command: list[str]) -> None:
    """It says what needs root, and which depth doesn't; nothing is made."""
    done = stranger.run(*command, expected=None)
    refused(done, "depth `full` makes network namespaces and machines: it needs root, got user", "`--depth api`")
    assert not (stranger.checkout.parent / "home/.local/state").exists()


@pytest.mark.root
def test_preview_without_root(stranger: Stranger) -> None:
    """All stacks are reported on, after the provider plugin; the world of the preview is gone afterwards."""
    done = stranger.run("make", "preview")
    assert "provider plugin: the sandbox's own, chosen by SANDBOX_PLUGIN" in done.stdout
    for stack in ("local", "dev", "staging", "prod"):
        assert f"### `{stack}`: " in done.stdout, done.stdout
    assert not (stranger.checkout.parent / "home/.local/state/django-do/preview").exists()


@pytest.mark.root
def test_depth_api_without_root(stranger: Stranger) -> None:
    """A world starts, answers and ends."""
    stranger.run("sandbox", "up", "--depth", "api")
    call = 'curl -sSf -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" https://api.digitalocean.com/v2/account'
    assert '"account"' in stranger.run("sandbox", "exec", "sh", "-c", call).stdout
    stranger.run("sandbox", "down")


# 2. A busy port.


def test_a_busy_port_is_named(home: Path) -> None:
    """With the option that chooses another; the next run with that works, and the world remembers it."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        done = run("sandbox", "up", "--depth", "api", "--proxy-port", str(port), home=home, check=False)
        refused(done, f"--proxy-port: {port} of 127.0.0.1 must be free", "Address already in use", "choose another")
        assert not home.exists()
    run("sandbox", "up", "--depth", "api", "--proxy-port", str(port), home=home)
    assert worlds.load(home).proxy_port == port


def test_a_world_that_was_killed_may_move_to_another_port(own_world: World) -> None:
    """What has the port now may be anything; the world goes on with a port that is free."""
    Supervisor(own_world).stop()
    with socket.socket() as busy:
        busy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        busy.bind(("127.0.0.1", own_world.proxy_port))
        busy.listen()
        refused(run("sandbox", "up", "--depth", "api", home=own_world.home, check=False), str(own_world.proxy_port))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = probe.getsockname()[1]
        run("sandbox", "up", "--depth", "api", "--proxy-port", str(free), home=own_world.home)
    assert worlds.load(own_world.home).proxy_port == free


# 3. A missing mirror, missing tools.


@pytest.mark.root
def test_a_missing_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of mmdebstrap is shown, no half image is left, and the next run builds."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(inherited, "debian_sources", lambda _: ["deb http://127.0.0.1:9/debian trixie main"])
    monkeypatch.setattr(inherited, "apt_options", lambda: ['Acquire::Retries "0";'])
    with pytest.raises(images.ImageError) as failed:
        images.ensure("base", lambda _: None)
    assert "image base: mmdebstrap failed with" in str(failed.value)
    assert "127.0.0.1:9" in str(failed.value)
    assert "/etc/apt" in str(failed.value)
    assert [path for path in images.folder().iterdir() if path.is_dir()] == []

    # Only that the way is free again: what mmdebstrap makes of a mirror that answers is proved by every full world.
    (tmp_path / "mmdebstrap").write_text('#!/bin/sh\nfor item; do case "$item" in /*) mkdir "$item";; esac; done\n')
    (tmp_path / "mmdebstrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert images.ensure("base", lambda _: None).is_dir()


@pytest.mark.root
def test_missing_tools_are_named_together(home: Path) -> None:
    """With the one command that installs them; nothing is made."""
    hidden = [shutil.which(tool, path=f"{PATH}:/usr/sbin:/sbin") for tool in ("nft", "systemd-nspawn", "pebble")]
    assert None not in hidden, hidden
    # In a mount namespace of its own: what can't be executed is not there for whoever looks.
    hide = "".join(f"mount --bind /dev/null {os.path.realpath(path or '')} && " for path in hidden)
    done = run("unshare", "--mount", "sh", "-c", f"{hide} sandbox up --depth full", home=home, check=False)
    refused(done, "missing tools: nft, pebble, systemd-nspawn; ", "apt-get install nftables pebble systemd-container")
    assert not home.exists()


@pytest.mark.root
def test_root_of_a_container_without_its_powers(home: Path) -> None:
    """It says which capability is missing, and how to get it."""
    drop = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    done = run(*drop, "sandbox", "up", "--depth", "full", home=home, check=False)
    refused(done, "root here lacks CAP_SYS_ADMIN", "--privileged", "`--depth api`")
    assert not home.exists()


# 4. A real-looking token.


def test_the_api_refuses_a_real_looking_token(api_world: World) -> None:
    """With a text that tells what to do, and without repeating the token."""
    call = ["curl", "-sS", "-w", "%{http_code}", "-H", f"Authorization: Bearer {REAL_LOOKING}"]
    done = run("sandbox", "exec", *call, "https://api.digitalocean.com/v2/account", home=api_world.home)
    assert "the token looks like a real one of DigitalOcean, so this local sandbox refuses it" in done.stdout
    assert done.stdout.endswith("401")
    assert REAL_LOOKING not in done.stdout


def test_the_provider_refuses_a_real_looking_token(previewed: World) -> None:
    """The engine shows the plugin's text; that the next run works is seen below."""
    command = ["pulumi", "preview", "--stack", "local", "--config-file", str(previewed.pulumi / "Pulumi.local.yaml")]
    variable = f"DIGITALOCEAN_TOKEN={REAL_LOOKING}"
    done = run("sandbox", "exec", "env", variable, *command, home=previewed.home, check=False)
    refused(done, "must be a sandbox's token, got one of a real account", "take sandbox/provider off PATH")
    assert REAL_LOOKING not in done.stdout + done.stderr


def test_a_switch_that_is_none(api_world: World) -> None:
    """Those that there are, and the values of one, are told; the world goes on as it was."""
    refused(run("sandbox", "switch", "new-clusters", "on", home=api_world.home, check=False), "one of old-clusters, ")
    done = run("sandbox", "switch", "old-clusters", "perhaps", home=api_world.home, check=False)
    refused(done, 'old-clusters: must be one of on, off, got "perhaps"')
    assert "old-clusters    off " in run("sandbox", "switch", home=api_world.home).stdout


# 5 and 6. Settings, and the app's path.


def preview_with(world: World, changes: dict[str, str], folder: Path) -> Done:
    """Preview the stack "local" with lines of its settings replaced."""
    settings = (ROOT / "Pulumi.local.yaml").read_text()
    for old, new in changes.items():
        assert old in settings, old
        settings = settings.replace(old, new)
    wrong = folder / "Pulumi.local.yaml"
    wrong.write_text(settings + (world.pulumi / "project/Pulumi.local.yaml").read_text())
    command = ["sandbox", "exec", "pulumi", "preview", "--stack", "local", "--config-file", str(wrong)]
    return run(*command, home=world.home, check=False)


def test_everything_wrong_in_the_settings_is_one_report(previewed: World, tmp_path: Path) -> None:
    """Path, rule, value and fix of each, before anything is planned; the exit status isn't 0."""
    done = preview_with(
        previewed,
        {
            "region: nyc3": "region: mars1",
            "cidr: 10.40.0.0/20": "cidr: 8.8.8.0/24",
            "size: db-s-1vcpu-1gb": "size: db-s-2vcpu-5gb",
            "size: s-1vcpu-1gb": "size: s-0vcpu-1gb",
            "forceDestroy: true": "forceDestory: true",
            "path: app": "path: docs",
            "  django-do:protect: false": "  django-do:protect: false\n  django-do:webb:\n    count: 2",
        },
        tmp_path,
    )
    refused(
        done,
        "the settings of this stack have 7 problems:",
        "region: must be one of ",
        'got "mars1"',
        "network.cidr: must be a private range (RFC 1918)",
        'database.size: must be a PostgreSQL plan, got "db-s-2vcpu-5gb"',
        'web.size: must be a Droplet size, got "s-0vcpu-1gb"',
        "storage.forceDestory: unknown setting; did you mean forceDestroy?",
        "webb: unknown setting; did you mean web?",
        'app.path: must be the folder of a Django project, got "docs", which has no manage.py',
    )
    assert "digitalocean:index" not in done.stdout


def test_an_app_path_without_a_lock(previewed: World, tmp_path: Path) -> None:
    """It says which file is missing, where."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "manage.py").touch()
    done = preview_with(previewed, {"path: app": f"path: {app}"}, tmp_path)
    refused(done, "app.path: must hold uv.lock or requirements.txt", "run `uv lock` there", f'got "{app}"')


def test_what_yaml_makes_of_values_is_said(previewed: World, tmp_path: Path) -> None:
    """Through Pulumi, which hands numbers and dates over in a form of its own, and a name as it was written."""
    values = ("DEBUG: false", "LIMIT: 3", "RATE: 1.50", "DAY: 2026-12-01", "WHEN: 12:30", "NONE:")
    env = "".join(f"      {value}\n" for value in values)
    changes = {"domain: polls.example": "domain: Müller.example", "    path: app\n": f"    path: app\n    env:\n{env}"}
    done = preview_with(previewed, changes, tmp_path)
    refused(
        done,
        "the settings of this stack have 4 problems:",
        'domain: must be a host name in lower case, got "Müller.example"; write xn--mller-kva.example',
        "app.env.RATE: must be in quotes, since YAML writes a number its own way",
        "app.env.DAY: must be in quotes, since YAML writes a date its own way",
        'app.env.NONE: must be text, got a value that is not shown; write NONE: "" for an empty one',
    )


def test_a_project_that_may_lack_gunicorn_is_warned_of(previewed: World, tmp_path: Path) -> None:
    """Above the plan, which is made all the same."""
    app = tmp_path / "app"
    shutil.copytree(ROOT / "app", app, ignore=shutil.ignore_patterns("uv.lock", ".venv"))
    (app / "requirements.txt").write_text("django\nour-platform\npsycopg[binary]\n")
    done = preview_with(previewed, {"path: app": f"path: {app}"}, tmp_path)
    assert done.returncode == 0, done.stdout
    assert "warning: app.path: its requirements.txt must have gunicorn among what a release installs" in done.stdout


def test_settings_are_not_written_where_no_command_reads_them(previewed: World) -> None:
    """`config set` would change a file of the world; reading shows what `up` will take."""
    words = ("config", "set", "--path", "django-do:web.size", "s-2vcpu-4gb")
    done = run("scripts/stack", "local", *words, home=previewed.home, check=False)
    refused(done, 'scripts/stack: config: must leave the settings as they are, got "set"; edit Pulumi.local.yaml')
    read = run("scripts/stack", "local", "config", "get", "--path", "django-do:web.size", home=previewed.home)
    assert read.stdout.strip() == "s-1vcpu-1gb"


def test_the_next_preview_works_after_all_that(previewed: World) -> None:
    """With the stack's own settings, and the world's own token: nothing of the refused ones is left."""
    done = run("scripts/stack", "local", "preview", home=previewed.home)
    assert "digitalocean:index" in done.stdout


# 7. Worlds that are there, not there, or half there.


@pytest.mark.full
def test_a_second_full_world_is_told_whose_is_up(full_world: World, home: Path) -> None:
    """With the command that takes it down; nothing of the second is made, and the first goes on."""
    done = run("sandbox", "up", "--depth", "full", home=home, check=False)
    refused(done, f"a full world is up already, one fits on a machine: {full_world.home}", "`sandbox down --home ")
    assert "--proxy-port" not in done.stderr
    assert not home.exists()
    run("sandbox", "exec", "true", home=full_world.home)


def processes(world: World) -> dict[str, int]:
    """Process ids by name."""
    return {status.name: status.pid for status in Supervisor(world).status()}


@pytest.mark.full
def test_up_of_a_running_full_world_changes_nothing(full_world: World) -> None:
    """The same processes go on."""
    before = processes(full_world)
    run("sandbox", "up", "--depth", "full", home=full_world.home)
    assert processes(full_world) == before


def test_exec_without_a_world(home: Path) -> None:
    """It says how to start one."""
    refused(run("sandbox", "exec", "true", home=home, check=False), f"{home}: no world here; start one with ")
    assert not home.exists()


def test_foreign_files_are_nobodys_world(home: Path) -> None:
    """They stay, also when they have names that worlds use too."""
    (home / "logs").mkdir(parents=True)
    (home / "logs/mine.txt").write_text("keep me")
    done = run("sandbox", "up", "--depth", "api", home=home, check=False)
    refused(done, f"--home: must be a world, an empty directory or none yet, got {home}")
    assert [str(path.relative_to(home)) for path in sorted(home.rglob("*"))] == ["logs", "logs/mine.txt"]


@pytest.mark.parametrize("remains", [[], ["run/"], ["run/supervisord.conf", "logs/api.log", "ca/"], ["ca/", "pulumi/"]])
def test_remains_of_a_world_are_swept(home: Path, remains: list[str]) -> None:
    """A crash while a world is made or removed doesn't block the next."""
    home.mkdir()
    for name in remains:
        path = home / name
        path.parent.mkdir(exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_text("cut off")
    run("sandbox", "up", "--depth", "api", home=home)
    run("sandbox", "exec", "true", home=home)


def test_a_world_file_that_was_cut_off(home: Path) -> None:
    """It names the file, and what to remove."""
    home.mkdir()
    (home / worlds.WORLD_FILE).write_text('{"home": "/')
    for command in (["up", "--depth", "api"], ["down"], ["status"]):
        done = run("sandbox", *command, home=home, check=False)
        refused(done, f"{home / worlds.WORLD_FILE}: must describe a world", f"remove {home}")
    shutil.rmtree(home)  # and a place with nothing in it is where every world begins


def test_a_home_whose_path_is_too_long(home: Path) -> None:
    """It says how long a socket's path may be; nothing is made."""
    long = home / ("x" * 100)
    refused(run("sandbox", "up", "--depth", "api", home=long, check=False), "--home: ", "unix socket", str(long))
    assert not home.exists()


def test_a_home_that_can_not_be_made() -> None:
    """The system's own words, with the path."""
    refused(run("sandbox", "up", "--depth", "api", home=Path("/proc/none"), check=False), "sandbox: /proc/none: ")


# 8. The project's commands.


def test_an_unknown_stack(api_world: World) -> None:
    """The known ones are named."""
    done = run("scripts/stack", "production", "preview", home=api_world.home, check=False)
    refused(done, 'STACK: must be one of dev local prod staging, got "production"')


@pytest.mark.parametrize("stop", [False, True], ids=["none", "stopped"])
def test_a_stack_without_a_world(home: Path, *, stop: bool) -> None:
    """It says how to start one, and makes nothing in its place."""
    if stop:
        worlds.create(home, "api", proxy_port=1)
    expected = "this world is stopped; start it with `sandbox up --depth api`" if stop else "no world here; start one"
    refused(run("scripts/stack", "local", "preview", home=home, check=False), expected)
    assert home.exists() is stop
    if stop:
        assert list((home / "pulumi").iterdir()) == []


def test_make_without_a_world_or_a_target(home: Path) -> None:
    """Taking down nothing is fine; an unknown target is make's own message."""
    assert "no world here, nothing to do" in run("make", "down", home=home).stdout
    refused(run("make", "upp", home=home, check=False), "No rule to make target 'upp'")


# 9. Ctrl-C.


def store_has(world: World, kind: str) -> Callable[[str], bool]:
    """Whether the API knows a resource of this kind."""

    def look(_output: str) -> bool:
        store = Store(world.database, read_only=True)
        try:
            return bool(store.list(kind))
        finally:
            store.close()

    return look


def interrupted_up(world: World, moment: Callable[[str], bool], log: Path) -> float:
    """Start an update, press Ctrl-C at a moment, and return the seconds until it has ended."""
    with log.open("w") as output:
        update = subprocess.Popen(
            ["scripts/stack", "local", "up", "--yes", "--skip-preview"],
            cwd=ROOT,
            env=os.environ | {"PATH": PATH, "SANDBOX_HOME": str(world.home)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal sends Ctrl-C to the whole group
        )
    deadline = time.monotonic() + CONVERGE_DEADLINE
    while not moment(log.read_text()):
        assert update.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    pressed = time.monotonic()
    os.killpg(update.pid, signal.SIGINT)
    status = update.wait(CONVERGE_DEADLINE)
    assert status != 0, log.read_text()
    return time.monotonic() - pressed


@pytest.mark.prove
def test_ctrl_c_ends_promptly_and_the_next_update_converges(own_world: World, tmp_path: Path) -> None:
    """At the first resource, and while the cluster is made: the state has what exists.

    While the rollout waits: tests/stack/test_provider.py.
    """
    log = tmp_path / "up.log"
    for moment in (store_has(own_world, "vpc"), store_has(own_world, "database")):
        seconds = interrupted_up(own_world, moment, log)
        print(f"ended {seconds:.1f} s after Ctrl-C")  # noqa: T201 the figures belong in the log of every run
        assert seconds < PROMPTLY, log.read_text()

    for arguments in (["up"], ["up", "--expect-no-changes"], ["destroy"]):
        run("scripts/stack", "local", *arguments, "--yes", "--skip-preview", home=own_world.home)
    # Whatever was made before an interruption was in the state, so that it could be destroyed.
    left = [item.kind for item in Store(own_world.database, read_only=True).all() if item.kind not in OF_THE_ACCOUNT]
    assert left == []


# The last one with the world of this file, which ends here.


def test_up_of_a_running_world_changes_nothing(own_world: World) -> None:
    """Twice is as good as once, and quicker; taking down twice is no error either."""
    before = processes(own_world)
    started = time.monotonic()
    run("sandbox", "up", "--depth", "api", home=own_world.home)
    assert time.monotonic() - started < 10
    assert processes(own_world) == before
    run("sandbox", "down", home=own_world.home)
    assert not own_world.home.exists()
    assert "no world here, nothing to do" in run("sandbox", "down", home=own_world.home).stdout


# The user's own browser.


def page(command: str, log: Path) -> str:
    """Run the command as its user would, headless, and return the page as the browser has it."""
    done = subprocess.run(
        # As root, Chromium's own sandbox refuses to start.
        ["bash", "-c", f"{command} --headless=new --no-sandbox --dump-dom 2>{log}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=log.parent,
        # The throw-away profile goes with the test's own folder.
        env={name: value for name, value in os.environ.items() if name != "SANDBOX_HOME"} | {"TMPDIR": str(log.parent)},
    )
    return done.stdout


@pytest.fixture
def log() -> Iterator[Path]:
    """A log in a folder of its own, whose path is short: a browser makes UNIX sockets there."""
    with tempfile.TemporaryDirectory(prefix="browser-") as folder:
        yield Path(folder, "log")


def test_a_browser_without_a_site(api_world: World) -> None:
    """It says how to get one; with an address it needs none."""
    refused(run("sandbox", "browser", home=api_world.home, check=False), "no site in this world yet")
    command = run("sandbox", "browser", "https://api.digitalocean.com/v2/", home=api_world.home).stdout
    assert command.endswith(" https://api.digitalocean.com/v2/\n")
    assert api_world.token not in command


def test_the_printed_command_accepts_this_world(api_world: World, log: Path) -> None:
    """The API's answer to somebody without a token; without the world's keys the browser refuses."""
    command = run("sandbox", "browser", "https://api.digitalocean.com/v2/account", home=api_world.home).stdout.strip()
    assert "Unable to authenticate you" in page(command, log), log.read_text()
    other = re.sub(r" --ignore-certificate-errors-spki-list=\S+", "", command)
    assert "Unable to authenticate you" not in page(other, log)
    assert "ERR_CERT_AUTHORITY_INVALID" in log.read_text()


@pytest.mark.full
def test_the_printed_command_opens_the_site(deployed: Deployment, log: Path) -> None:
    """The page with the certificate of the world's Let's Encrypt; without its key the browser refuses."""
    command = run("sandbox", "browser", home=deployed.world.home).stdout.strip()
    assert command.endswith(f" {deployed.url}")
    assert "<title>Polls</title>" in page(command, log), log.read_text()
    only_the_ca = re.sub(r"(--ignore-certificate-errors-spki-list=[^, ]+)\S*", r"\1", command)
    assert "Polls" not in page(only_the_ca, log)
    assert "ERR_CERT_AUTHORITY_INVALID" in log.read_text()
