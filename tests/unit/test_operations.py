"""The command line of `operations`: every command, how it ends, and what Pulumi is given."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from operations.__main__ import COMMANDS, main
from tests.commands import ROOT

# In Pulumi's place: it writes down how it was called and what it read, and ends as it is told; after Ctrl-C, as Pulumi
# does, when it has unlocked the stack.
PULUMI = """\
#!/usr/bin/env python3
import json, os, signal, sys, time

def unlock(*_):
    time.sleep(1)
    with open(os.environ["CALLS"], "a") as calls:
        print(json.dumps("unlocked"), file=calls)
    sys.exit(5)

signal.signal(signal.SIGINT, unlock)
with open(os.environ["CALLS"], "a") as calls:
    print(json.dumps([sys.argv[1:], "" if sys.stdin.isatty() else sys.stdin.read()]), file=calls)
print(os.environ.get("SAYS", ""))
time.sleep(float(os.environ.get("TAKES", "0")))
sys.exit(int(os.environ.get("ENDS", "0")))
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line for each call of Pulumi."""
    (tmp_path / "pulumi").write_text(PULUMI)
    (tmp_path / "pulumi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path))  # whoever runs this is logged in somewhere
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    return tmp_path / "calls"


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_says_what_it_does(words: str) -> None:
    """Each, by its words; the first line is a sentence."""
    done = CliRunner().invoke(main, [*words.split(), "--help"])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[2].strip()[0].isupper()


def test_all_commands_are_listed_without_their_clients() -> None:
    """By their first words."""
    done = CliRunner().invoke(main, ["--help"])
    listed = [line.split()[0] for line in done.output.partition("Commands:\n")[2].splitlines()]
    assert listed == sorted({words.split()[0] for words in COMMANDS})


def test_an_unknown_command_is_refused() -> None:
    """As usage: exit status 2."""
    done = CliRunner().invoke(main, ["backend", "spade"])
    assert done.exit_code == 2
    assert "No such command 'spade'" in done.output


def test_an_error_names_the_command(tmp_path: Path) -> None:
    """In one line on standard error, without a traceback; what is not a preview has a status of its own."""
    (tmp_path / "events").write_text("no events\n")
    done = CliRunner().invoke(main, ["preview", "report", str(tmp_path / "events")], prog_name="operations")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"operations preview report: {tmp_path}/events: line 1: must be an event of `pulumi ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("status", [1, 7, 255])
def test_pulumis_exit_status_is_passed_on(calls: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """A script can go by it."""
    monkeypatch.setenv("ENDS", str(status))
    done = CliRunner().invoke(main, ["recover", "--stack", "dev"])
    assert done.exit_code == status
    assert [json.loads(line)[0] for line in calls.read_text().splitlines()] == [
        ["cancel", "--stack", "dev", "--cwd", ".", "--yes"]
    ]


def test_ctrl_c_lets_pulumi_end_in_its_own_time(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal tells both: who kills Pulumi then leaves a stack that is locked."""
    monkeypatch.setenv("TAKES", "60")
    command = [sys.executable, "-m", "operations", "recover", "--stack", "dev"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 30
    while not (calls.exists() and calls.read_text().endswith("\n")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert (process.returncode, said) == (5, "")
    assert json.loads(calls.read_text().splitlines()[-1]) == "unlocked"


def test_a_deployed_stack_has_its_price(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each resource of the state, with what is not known of it."""
    types = {"web": "droplet:Droplet", "net": "vpc:Vpc", "volume": "volume:Volume"}
    resources = [
        {"urn": f"urn:pulumi:dev::p::t::{name}", "type": f"digitalocean:index/{kind}", "custom": True,
         "inputs": {"size": "s-1vcpu-1gb"}} for name, kind in types.items()
    ]  # fmt: skip
    component = {"urn": "urn:pulumi:dev::p::t::site", "type": "django-do:web:Site"}
    monkeypatch.setenv("SAYS", json.dumps({"version": 3, "deployment": {"resources": [*resources, component]}}))
    done = CliRunner().invoke(main, ["cost", "--stack", "dev"])
    assert (done.exit_code, done.output.splitlines()) == (
        0,
        [
            "at least $6.00 a month, by list prices (docs/cost.md)",
            "- Droplet `web`: $6.00 (s-1vcpu-1gb)",
            "- Volume `volume`: unknown",
        ],
    )
    assert json.loads(calls.read_text())[0] == ["stack", "export", "--stack", "dev", "--cwd", "."]


def test_nothing_has_no_price(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack that was never deployed is not a free one."""
    monkeypatch.setenv("SAYS", json.dumps({"version": 3, "deployment": {}}))
    done = CliRunner().invoke(main, ["cost", "--stack", "dev"])
    assert calls.exists()
    assert (done.exit_code, done.stdout) == (1, "")
    assert "--stack: must be deployed" in done.stderr


def test_a_state_reaches_pulumi_by_its_standard_input(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in its arguments, which others of the machine can read, nor in a file that may be left behind."""
    pending = [{"type": "creating", "resource": {"urn": "urn:pulumi:dev::p::t::net", "type": "t:i:Unknown"}}]
    state = {"version": 3, "deployment": {"pending_operations": pending, "resources": [], "secret": "v1:encrypted"}}
    monkeypatch.setenv("SAYS", json.dumps(state))
    monkeypatch.setenv("DIGITALOCEAN_TOKEN", "a-token")
    done = CliRunner().invoke(main, ["recover", "--stack", "dev", "--project", "site", "--config-file", "dev.yaml"])
    assert done.exit_code == 0, done.output
    cancel, export, restore, refresh = (json.loads(line) for line in calls.read_text().splitlines())
    site = ["--stack", "dev", "--cwd", "site"]
    assert (cancel[0], export[0], restore[0]) == (
        ["cancel", *site, "--yes"], ["stack", "export", *site], ["stack", "import", *site],
    )  # fmt: skip
    assert refresh[0] == ["refresh", "--stack", "dev", "--config-file", "dev.yaml", "--yes", "--skip-preview"]
    assert json.loads(restore[1])["deployment"] == {"resources": [], "secret": "v1:encrypted"}
    assert "net: is made again by the next update" in done.output
