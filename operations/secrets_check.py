"""Look for every secret of a stack in what Pulumi keeps, prints and starts, and in the user data of its Droplets."""

import argparse
import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import yaml

MARK = "4dabf18193072939515e22adb298388d"  # of a secret: pulumi/pulumi, sdk/go/common/resource/properties.go
SHORTEST = 8  # characters: what is shorter is found by accident
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
AS_GO_DOES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}  # in JSON

Json = Any


class CheckError(Exception):
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
            and any(form in text for form in forms(value))
        ]  # fmt: skip
        return [names[0] for names in found]


def forms(secret: str) -> set[str]:
    """Return how a secret may be written: as it is, in JSON once and twice, in a URL, in Base64 of a longer text."""
    found = {secret, quote(secret, safe=""), quote_plus(secret)}
    for in_json in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1].translate(AS_GO_DOES)):
        found |= {in_json, json.dumps(in_json, ensure_ascii=False)[1:-1]}
    for before in range(3):
        encoded = base64.b64encode(b"x" * before + secret.encode()).decode().rstrip("=")
        # Without the characters that hold bits of the neighbours, too.
        found.add(encoded[(before * 8 + 5) // 6 : -1])
    if "PRIVATE KEY-----" in secret:  # displays indent each line of a text
        found.add(max(secret.splitlines(), key=len))
    return found


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
    if isinstance(found, dict) and MARK in found:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulumi:
    """The stack, by its command line."""

    stack: str
    project: str
    config_file: str | None

    @property
    def settings(self) -> Path:
        """The stack's settings file."""
        return Path(self.config_file or Path(self.project) / f"Pulumi.{self.stack}.yaml")

    def run(self, command: str, *argv: str, events: bool = False) -> tuple[str, str]:
        """Return what a command printed on its standard output, and on its standard error."""
        # Commands on the state alone know no --config-file: they are run where the stack's own file is.
        with_file = self.config_file and command.split(maxsplit=1)[0] in {"config", "preview", "refresh", "up"}
        where = ["--config-file", str(self.config_file)] if with_file else ["--cwd", self.project]
        return run(
            "pulumi", *command.split(), "--stack", self.stack, "--non-interactive", *where, *argv,
            # With it, `preview --json` prints the engine's events, which have secrets in plain: docs/security.md.
            PULUMI_ENABLE_STREAMING_JSON_PREVIEW="true" if events else "",
        )  # fmt: skip


def run(*argv: str, given: str | None = None, **environment: str) -> tuple[str, str]:
    """Return what a program printed on its standard output, and on its standard error."""
    done = subprocess.run(argv, input=given, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        # Not what it printed: nobody has looked yet whether that has a secret.
        command = " ".join(argv)
        raise CheckError(f"{command}: must succeed, exit status {done.returncode}; run it by itself to see why")
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


def collect(pulumi: Pulumi, state: Json) -> Secrets:
    """Return all secrets of the settings, the runner and the state."""
    secrets = Secrets()
    encrypted = yaml.safe_load(pulumi.settings.read_text(encoding="utf-8")).get("config") or {}
    plain = {
        name: found.get("objectValue", found.get("value"))
        for name, found in json.loads(pulumi.run("config", "--json", "--show-secrets")[0]).items()
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


def shown(pulumi: Pulumi, *, up: bool) -> dict[str, str]:
    """Run the commands that people and workflows run; return what each printed, and the process list meanwhile."""
    commands = [
        "preview --diff", *(["up --yes --skip-preview --diff"] if up else []),
        "refresh --preview-only --diff", "stack export", "stack output", "stack output --json", "stack",
        "stack history", "config",
    ]  # fmt: skip
    with watched_processes() as lines:
        # As scripts/report does, whose report becomes a comment on GitHub.
        events = pulumi.run("preview --json", events=True)[0]
        places = {"preview_report.py": "".join(run(sys.executable, "-m", "operations.preview_report", given=events))}
        places |= {f"pulumi {command}": "".join(pulumi.run(command)) for command in commands}
    if PROCESSES.is_dir():
        if not any("pulumi" in line for line in lines):
            raise CheckError(
                f"{PROCESSES}: must show the processes of this user, does not show Pulumi; see how it is mounted"
            )
        places[PROCESS_LIST] = "\n".join(sorted(lines))
    return places


def kept(pulumi: Pulumi, state: Json, logs: list[str]) -> dict[str, str]:
    """Return the texts of files, and of the Droplets' user data."""
    files = {pulumi.settings.name: pulumi.settings, "Pulumi.yaml": Path(pulumi.project) / "Pulumi.yaml"}
    files |= {log: Path(log) for log in logs}
    places = {name: file.read_text(encoding="utf-8", errors="replace") for name, file in files.items()}
    for resource in state["deployment"]["resources"]:
        data = (resource.get("inputs") or {}).get("userData")
        if data:
            name = resource["urn"].rpartition("::")[2]
            places[USER_DATA + name] = json.loads(data["plaintext"]) if isinstance(data, dict) else data
    return places


def report(secrets: Secrets, places: Mapping[str, str]) -> int:
    """Print where was looked for what; return 1 when something was found."""
    out = sys.stdout.write
    out(f"{len(secrets.names)} secrets: {', '.join(names[0] for names in secrets.names.values())}\n")
    out(f"Each looked for as it is, in JSON, in a URL and in Base64, in {len(places)} places:\n")
    leaks = 0
    for place, text in places.items():
        found = secrets.found_in(place, text)
        leaks += len(found)
        out(f"  {place:<36} {len(text):>9,} characters: {', '.join(found) or 'none'}\n")
    if secrets.too_short:
        out(f"Not looked for, being shorter than {SHORTEST} characters: {', '.join(sorted(set(secrets.too_short)))}\n")
    if PROCESS_LIST not in places:
        out(f"Not looked at: the process list; there is no {PROCESSES} here\n")
    out("Not looked at: debug logs (-v=9) and streams of events (`up --json`), which have secrets in plain\n")
    if leaks:
        sys.stderr.write(
            f"secrets-check: must be in plain nowhere, {leaks} found; make secret what shows them "
            "(pulumi.Output.secret, `config set --secret`), then change them: docs/security.md\n"
        )
    return int(leaks > 0)


def main() -> int:
    """Check a stack; 0 when no secret was found where it does not belong."""
    parser = argparse.ArgumentParser(prog="secrets_check.py", description=__doc__)
    parser.add_argument("--stack", required=True, help="the stack, which has been deployed")
    parser.add_argument("--project", default=".", help="folder of its Pulumi.yaml; this one by default")
    parser.add_argument("--config-file", help="its settings, when they are elsewhere")
    parser.add_argument("--up", action="store_true", help="deploy it as well, and look at what that prints and starts")
    parser.add_argument(
        "--log", action="append", default=[], metavar="FILE", help="look into this file, too, such as a log of CI"
    )
    given = parser.parse_args()
    pulumi = Pulumi(stack=given.stack, project=given.project, config_file=given.config_file)
    try:
        places = shown(pulumi, up=given.up)
        state = json.loads(pulumi.run("stack export", "--show-secrets")[0])
        secrets = collect(pulumi, state)
        return report(secrets, places | kept(pulumi, state, given.log))
    except (CheckError, OSError) as error:
        sys.stderr.write(f"secrets-check: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
