"""The command `sandbox`: a world's beginning, end and what happens in between."""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from sandbox.client import environment, plugin
from sandbox.model.realiser import RealiserError
from sandbox.network import namespaces
from sandbox.world import world as worlds
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import Depth, World, WorldError

if TYPE_CHECKING:
    from sandbox.command_line.status import Row

FULL_PROXY_PORT = 18080  # fixed, so that a browser's settings survive the world

_home_option = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of the world. Default: $SANDBOX_HOME, else one per depth below ~/.local/state/django-do.",
)
_depth_option = click.option(
    "--depth",
    type=click.Choice(get_args(Depth)),
    help="Which world is meant when no home is named. Default: the one that exists, `full` before `api`.",
)


def _world_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return _home_option(_depth_option(command))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """DigitalOcean on one machine, made of real parts.

    `sandbox up` starts a world, `sandbox exec CMD` runs a command on its internet side, `sandbox down` removes it.
    """


@main.command()
@_home_option
@click.option(
    "--depth",
    type=click.Choice(get_args(Depth)),
    help="full: machines, needs root. api: the same API and rules, simulated nodes, any user. "
    "Default: that of the world that exists, else full.",
)
@click.option("--proxy-port", type=click.IntRange(1, 65535), help="Loopback port of the proxy for a browser.")
def up(home: Path | None, depth: Depth | None, proxy_port: int | None) -> None:
    """Start a world, or what is missing of one, and say how long each part took."""
    from sandbox.command_line import lifetime  # noqa: PLC0415 - it imports every service's client; `sandbox exec` must not wait for that

    progress = _Progress()
    with _clear_errors():
        home = _home(home, depth)
        world = _open_or_new(home, depth, proxy_port)
        progress(f"world {world.depth}", str(home))
        lifetime.up(world, progress)
    progress("up", "stop it with `sandbox down`")


@main.command()
@_world_options
def down(home: Path | None, depth: Depth | None) -> None:
    """Stop a world and remove it: processes, machines, namespaces, disks, its CA and its Pulumi state."""
    with _clear_errors():
        home = _home(home, depth)
        if not (home / worlds.WORLD_FILE).exists():
            click.echo(f"{home}: no world here, nothing to do")
            return
        from sandbox.command_line import lifetime  # noqa: PLC0415 - the same

        progress = _Progress()
        lifetime.down(worlds.load(home), progress)
    progress("down", "nothing is left")


@main.command("status")
@_world_options
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def show_status(home: Path | None, depth: Depth | None, *, as_json: bool) -> None:
    """Show product, state, address and memory of each part; exit status 3 when the world is stopped."""
    from sandbox.command_line import status  # noqa: PLC0415 - the same

    with _clear_errors():
        world = worlds.load(_home(home, depth))
        rows = status.rows(world)
        left = status.leftovers(world)
    if as_json:
        click.echo(json.dumps({"home": str(world.home), "depth": world.depth, "parts": [asdict(row) for row in rows]}))
    else:
        click.echo(f"{world.depth} world in {world.home}" + ("" if rows else ": stopped"))
        if left:
            click.echo(
                f"its supervisor is dead, {left} processes of it are not: "
                "`sandbox up` ends them and starts it from its disk, `sandbox down` removes it"
            )
        for line in _table(rows):
            click.echo(line)
    if not rows:
        sys.exit(3)


@main.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_world_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(home: Path | None, depth: Depth | None, command: tuple[str, ...]) -> None:
    """Run a command as a stranger on the internet side of the world, with its credentials and trust."""
    with _clear_errors():
        world = _running(home, depth)
        variables = environment.clients(world, os.environ)
    argv = list(command)
    if world.depth == "full":
        argv = ["ip", "netns", "exec", namespaces.INTERNET, *argv]
    sys.stdout.flush()
    try:
        os.execvpe(argv[0], argv, variables)  # noqa: S606 - the command is the user's
    except FileNotFoundError:
        click.echo(f"sandbox exec: {argv[0]}: command not found", err=True)
        sys.exit(127)


@main.command("env")
@_world_options
@click.option("--json", "as_json", is_flag=True, help="For programs; null means that the variable must go.")
def print_environment(home: Path | None, depth: Depth | None, *, as_json: bool) -> None:
    """Print what a client needs: eval "$(sandbox env)" makes this shell one, for as long as it lives.

    Secrets of the world are among it. Where one command is enough, `sandbox exec` gives it the same.
    """
    from sandbox.client import exports  # noqa: PLC0415 - the same

    with _clear_errors():
        changed = exports.changes(_running(home, depth), os.environ)
    click.echo(json.dumps(changed) if as_json else "\n".join(exports.lines(changed)))


@main.command()
@_world_options
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option("-n", "--lines", default=100, show_default=True, help="How many of the last lines.")
@click.argument("name", required=False)
def logs(home: Path | None, depth: Depth | None, name: str | None, *, follow: bool, lines: int) -> None:
    """Show the log of a process, or of all; names are those of `sandbox status`."""
    with _clear_errors():
        world = worlds.load(_home(home, depth))
        known = sorted(path.stem for path in world.logs.glob("*.log"))
        if name is not None and name not in known:
            raise WorldError(f'name: must be one of {", ".join(known)}, got "{name}"')
    files = [str(world.logs / f"{item}.log") for item in ([name] if name else known)]
    if not files:
        click.echo("no logs yet")
        return
    argv = ["tail", f"--lines={lines}", *(["-F"] if follow else []), "--", *files]
    os.execvp(argv[0], argv)  # noqa: S606 - no shell wanted


@main.command()
@_world_options
@click.argument("name", required=False)
@click.argument("value", required=False)
def switch(home: Path | None, depth: Depth | None, name: str | None, value: str | None) -> None:
    """Show what of the account and of the unknown can be played both ways, or set NAME to VALUE ("on", "off", a word).

    The world goes on as it is; what it made before stays.
    """
    from sandbox.api import switches  # noqa: PLC0415 - the same
    from sandbox.model.store import Store  # noqa: PLC0415 - the same

    with _clear_errors():
        world = worlds.load(_home(home, depth))
        if name is not None and value is None:
            raise WorldError(f"{name}: to what? `sandbox switch` alone shows all with their values")
        store = Store(world.database)
        try:
            if name is not None and value is not None:
                switches.change(store, switches.parsed(name, value))
            lines = switches.table(store)
        finally:
            store.close()
    for line in lines:
        click.echo(line)


@main.command("browser")
@_world_options
@click.argument("url", nargs=-1)
def print_browser(home: Path | None, depth: Depth | None, url: tuple[str, ...]) -> None:
    """Print the shell command that opens the world's site, or URL, in your own Chromium or Chrome.

    Any user of this machine may run it: it holds no secret.
    """
    from sandbox.command_line import browser  # noqa: PLC0415 - the same

    with _clear_errors():
        world = _running(home, depth)
        click.echo(browser.command(world, url))


@main.command("plugin")
def show_plugin() -> None:
    """Say which provider plugin Pulumi gets from `sandbox exec`, and why. $SANDBOX_PLUGIN: auto, own, official."""
    with _clear_errors():
        click.echo(plugin.choose(os.environ))


@main.command()
@_world_options
def path(home: Path | None, depth: Depth | None) -> None:
    """Print the directory of the world."""
    with _clear_errors():
        click.echo(_home(home, depth))


def _open_or_new(home: Path, depth: Depth | None, proxy_port: int | None) -> World:
    """Return the world of a home, or a new one that is not on disk yet."""
    if (home / worlds.WORLD_FILE).exists():
        world = worlds.load(home)
        if depth not in {None, world.depth}:
            raise WorldError(
                f"--depth: {home} is a world of depth {world.depth}, got {depth}; "
                "take it down first, or name another --home"
            )
        if proxy_port in {None, world.proxy_port}:
            return world
        if Supervisor(world).running():
            raise WorldError(f"--proxy-port: this world has {world.proxy_port}, got {proxy_port}; take it down first")
        return replace(world, proxy_port=proxy_port)
    depth = depth or "full"
    if proxy_port is None:
        proxy_port = FULL_PROXY_PORT if depth == "full" else _free_port()
    return worlds.new(home, depth, proxy_port=proxy_port)


def _home(home: Path | None, depth: Depth | None) -> Path:
    """Choose the world that a command means."""
    if home is not None:
        return home.expanduser().resolve()
    candidates = [worlds.default_home(kind) for kind in ([depth] if depth else get_args(Depth))]
    existing = [candidate for candidate in candidates if (candidate / worlds.WORLD_FILE).exists()]
    return (existing or candidates)[0].expanduser().resolve()


def _running(home: Path | None, depth: Depth | None) -> World:
    world = worlds.load(_home(home, depth))
    if not Supervisor(world).running():
        raise WorldError(f"{world.home}: this world is stopped; start it with `sandbox up --depth {world.depth}`")
    return world


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _table(rows: "list[Row]") -> list[str]:
    if not rows:
        return []
    lines = [("NAME", "PRODUCT", "STATE", "ADDRESS", "MEMORY")]
    lines += [
        (row.name, row.product, row.state, row.address, f"{row.memory_mib} MiB" if row.memory_mib else "-")
        for row in rows
    ]
    lines.append(("total", "", "", "", f"{sum(row.memory_mib for row in rows)} MiB"))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


class _Progress:
    """Prints a line per step with the seconds since the command began; steps may end in any thread."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, part: str, text: str) -> None:
        with self._lock:
            click.echo(f"[{time.monotonic() - self._started:6.1f} s] {part:<11} {text}")


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    """Say what is wrong in one message instead of a traceback."""
    try:
        yield
    except (WorldError, RealiserError) as error:
        click.echo(f"sandbox: {error}", err=True)
        sys.exit(1)
    except PermissionError as error:
        text = f"{error.filename}: may not be used by user {os.geteuid()}; a full world is root's, use sudo for it"
        click.echo(f"sandbox: {text}", err=True)
        sys.exit(1)
    except OSError as error:
        # A full disk, a directory that can't be made: the system's own words say it.
        click.echo(f"sandbox: {error.filename or 'the system'}: {error.strerror or error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
