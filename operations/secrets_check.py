"""Look for every secret of a stack in what Pulumi keeps, prints and starts, and in the user data of its Droplets."""

import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import yaml

from operations.errors import OperationError
from operations.preview import events
from operations.preview.report import markdown
from operations.stack import Stack, of_stack
from plugin_base.wire import SECRET_SIGNATURE, SIGNATURE_KEY
from protocol.written import SHORTEST, holds

PAUSE = 0.02  # seconds between two looks at the process list
OFTEN = 20  # looks
PROCESSES = Path("/proc")
# What the runner is given, and no state has.
RUNNER = (
    "DIGITALOCEAN_TOKEN",
    "DIGITALOCEAN_ACCESS_TOKEN",
    "SPACES_SECRET_ACCESS_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "PULUMI_ACCESS_TOKEN",
    "PULUMI_CONFIG_PASSPHRASE",
)
# The one secret that user data has: components/web_server.py, docs/security.md.
AGENT_KEY = re.compile(r"-agent-key\.|\.keys\.agent\.")
USER_DATA = "user data of "
PROCESS_LIST = "process list meanwhile"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
PLAIN = {"PULUMI_ENABLE_STREAMING_JSON_PREVIEW": ""}  # whoever runs this may have it set

Json = Any


class CheckError(OperationError):
    """There is nothing to look for, or nowhere to look; the text says what to do."""


@dataclass(slots=True)
class Secrets:
    """Values, each with all of its names, such as "polls-app-key.secretKey"."""

    names: dict[str, list[str]] = field(default_factory=dict)
    too_short: list[str] = field(default_factory=list)

    def add(self, name: str, value: str) -> None:
        """Take a secret in, unless it is too short to be looked for."""
        if len(value) < SHORTEST:
            self.too_short.append(name)
        else:
            self.names.setdefault(value, []).append(name)

    def found_in(self, place: str, text: str) -> list[str]:
        """Name those that are in a place and don't belong there."""
        found = [
            names for value, names in self.names.items()
            if not (place.startswith(USER_DATA) and (value == text or any(map(AGENT_KEY.search, names))))
            and holds(text, value)
        ]  # fmt: skip
        return [names[0] for names in found]


def secrets_of_state(state: Json) -> Iterator[tuple[str, str]]:
    """Yield name and text of each secret of a state that was exported with its secrets."""
    resources = state["deployment"].get("resources")
    if not resources:
        raise CheckError("the stack: must have resources, has none; deploy it first, or there is little to look for")
    for resource in resources:
        name = resource["urn"].rpartition("::")[2]
        for path, value in _leaves([resource.get("inputs"), resource.get("outputs")]):
            yield name + path, value


def _leaves(found: Json, path: str = "", *, secret: bool = False) -> Iterator[tuple[str, str]]:
    if isinstance(found, dict) and found.get(SIGNATURE_KEY) == SECRET_SIGNATURE:
        yield from _leaves(json.loads(found["plaintext"]), path, secret=True)
    elif isinstance(found, dict):
        for name, value in found.items():
            yield from _leaves(value, f"{path}.{name}", secret=secret)
    elif isinstance(found, list):
        for value in found:
            yield from _leaves(value, path, secret=secret)
    elif secret and isinstance(found, str):
        yield path, found


def secrets_of_settings(encrypted: Json, plain: Json, path: str) -> Iterator[tuple[str, str]]:
    """Yield path and text of what is encrypted in a stack's settings, from the same settings in plain."""
    if isinstance(encrypted, dict) and encrypted.keys() == {"secure"}:
        yield path, str(plain)
    elif isinstance(encrypted, dict):
        for name, value in encrypted.items():
            yield from secrets_of_settings(value, plain[name], f"{path}.{name}")
    elif isinstance(encrypted, list):
        for value, readable in zip(encrypted, plain, strict=True):
            yield from secrets_of_settings(value, readable, path)


def secrets_of_runner(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield name and value of what the runner was given."""
    yield from ((name, environment[name]) for name in RUNNER if environment.get(name))
    if file := environment.get("PULUMI_CONFIG_PASSPHRASE_FILE"):
        yield "PULUMI_CONFIG_PASSPHRASE_FILE", Path(file).read_text(encoding="utf-8").strip()


def run(stack: Stack, command: str, **environment: str) -> tuple[str, str]:
    """Return what a command printed on its standard output, and on its standard error."""
    done = stack.silently(command, **environment)
    if done.returncode:
        # Not what it printed: nobody has looked yet whether that has a secret.
        line = " ".join(done.args)
        raise CheckError(f"{line}: must succeed, exit status {done.returncode}; run it by itself to see why")
    return done.stdout, done.stderr


@contextmanager
def watched_processes() -> Iterator[set[str]]:
    """Collect the command lines of all processes meanwhile."""
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        looks: dict[Path, int] = {}
        while not over.wait(PAUSE):
            looks = {process: looks.get(process, -1) + 1 for process in PROCESSES.glob("[0-9]*")}
            for process, times in looks.items():
                # Often at first, while a process becomes another one: to read all of them each time is too much work.
                if times < OFTEN or times % OFTEN == 0:
                    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # ended, or somebody else's
                        line = (process / "cmdline").read_bytes()
                        seen.add(line.decode(errors="replace").replace("\0", " "))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def collect(stack: Stack, state: Json) -> Secrets:
    """Return all secrets of the settings, the runner and the state."""
    secrets = Secrets()
    encrypted = yaml.safe_load(stack.settings.read_text(encoding="utf-8")).get("config") or {}
    plain = {
        name: found.get("objectValue", found.get("value"))
        for name, found in json.loads(run(stack, "config --json --show-secrets")[0]).items()
    }
    # The settings first: their names say the most.
    for source in (
        secrets_of_settings(encrypted, plain, "settings"),
        secrets_of_runner(os.environ),
        secrets_of_state(state),
    ):
        for name, value in source:
            secrets.add(name, value)
    return secrets


def shown(stack: Stack, *, up: bool) -> dict[str, str]:
    """Run the commands that people and workflows run; return what each printed, and the process list meanwhile."""
    commands = [
        "preview --diff", *(["up --yes --skip-preview --diff"] if up else []),
        "refresh --preview-only --diff", "stack export", "stack output", "stack output --json", "stack",
        "stack history", "config",
    ]  # fmt: skip
    with watched_processes() as lines:
        # As scripts/report does, whose report becomes a comment on GitHub.
        # The events themselves have secrets in plain: docs/security.md.
        streamed = run(stack, "preview --json", PULUMI_ENABLE_STREAMING_JSON_PREVIEW="true")[0]
        places = {"report of the preview": markdown(events.read(streamed.splitlines()))}
        places |= {f"pulumi {command}": "".join(run(stack, command, **PLAIN)) for command in commands}
    if PROCESSES.is_dir():
        if not any("pulumi" in line for line in lines):
            raise CheckError(
                f"{PROCESSES}: must show the processes of this user, does not show Pulumi; see how it is mounted"
            )
        places[PROCESS_LIST] = "\n".join(sorted(lines))
    return places


def kept(stack: Stack, state: Json, logs: Iterable[Path]) -> dict[str, str]:
    """Return the texts of files, and of the Droplets' user data."""
    files = {stack.settings.name: stack.settings, "Pulumi.yaml": stack.project / "Pulumi.yaml"}
    files |= {str(log): log for log in logs}
    places = {name: file.read_text(encoding="utf-8", errors="replace") for name, file in files.items()}
    for resource in state["deployment"]["resources"]:
        data = (resource.get("inputs") or {}).get("userData")
        if data:
            name = resource["urn"].rpartition("::")[2]
            places[USER_DATA + name] = json.loads(data["plaintext"]) if isinstance(data, dict) else data
    return places


def report(secrets: Secrets, places: Mapping[str, str]) -> None:
    """Print where was looked for what; raises CheckError when something was found."""
    click.echo(f"{len(secrets.names)} secrets: {', '.join(names[0] for names in secrets.names.values())}")
    click.echo(f"Each looked for as it is, in JSON, in a URL and in Base64, in {len(places)} places:")
    leaks = 0
    for place, text in places.items():
        found = secrets.found_in(place, text)
        leaks += len(found)
        click.echo(f"  {place:<36} {len(text):>9,} characters: {', '.join(found) or 'none'}")
    if secrets.too_short:
        click.echo(
            f"Not looked for, being shorter than {SHORTEST} characters: {', '.join(sorted(set(secrets.too_short)))}"
        )
    if PROCESS_LIST not in places:
        click.echo(f"Not looked at: the process list; there is no {PROCESSES} here")
    click.echo("Not looked at: debug logs (-v=9) and streams of events (`up --json`), which have secrets in plain")
    if leaks:
        raise CheckError(
            f"secrets: must be in plain nowhere, {leaks} found; make secret what shows them (pulumi.Output.secret, "
            "`config set --secret`), then change them: docs/security.md"
        )


@click.command()
@of_stack
@click.option("--up", is_flag=True, help="Deploy it as well, and look at what that prints and starts.")
@click.option(
    "--log", "logs", type=FILE, multiple=True, metavar="FILE", help="Look into this file, too, such as a log of CI."
)
def check(stack: Stack, logs: tuple[Path, ...], *, up: bool) -> None:
    """Look for every secret of a stack, which has been deployed, in all that Pulumi keeps, prints and starts."""
    try:
        places = shown(stack, up=up)
        state = json.loads(run(stack, "stack export --show-secrets")[0])
        report(collect(stack, state), places | kept(stack, state, logs))
    except OSError as error:
        raise CheckError(str(error)) from error
