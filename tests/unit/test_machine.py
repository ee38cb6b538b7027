"""The machine itself, with programs of the system that take long or print anything."""

import os
import time
from pathlib import Path

import pytest

from agent import machine
from agent.app import memory, sessions
from agent.errors import AgentError
from agent.machine import Machine


class Watched(Machine):
    """A machine that counts what the watchdog hears."""

    heard = 0

    def alive(self) -> None:
        """Count."""
        self.heard += 1


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """A machine whose watchdog is impatient."""
    monkeypatch.setattr(machine, "PULSE", 0.01)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return Watched(root=tmp_path)


def program(folder: Path, name: str, script: str) -> None:
    """Put a program where it is found first."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_the_watchdog_hears_while_gunicorn_is_restarted(watched: Watched, tmp_path: Path) -> None:
    """To stop may take 35 s and to start 90 s: an agent that is ended meanwhile begins the same attempt again."""
    program(tmp_path, "systemctl", "sleep 0.3")
    watched.systemctl("restart", "gunicorn.service")
    assert watched.heard > 1


def test_the_watchdog_hears_while_a_slow_disk_is_written(watched: Watched, tmp_path: Path) -> None:
    """Of what a build has written, much is in memory yet."""
    program(tmp_path, "sync", "sleep 0.3")
    watched.sync(tmp_path)
    assert watched.heard > 1


def test_what_systemd_says_is_in_the_error(watched: Watched, tmp_path: Path) -> None:
    """Its own words say what went wrong."""
    program(tmp_path, "systemctl", "echo 'Job failed.' >&2; exit 1")
    with pytest.raises(AgentError, match=r"gunicorn\.service` ended with status 1\nJob failed\."):
        watched.systemctl("restart", "gunicorn.service")


@pytest.mark.parametrize(
    ("nginx", "certificate", "missing"),
    [
        ("active", "0 0 inactive", "certificate.service: must have looked for a kept certificate, is inactive"),
        ("active", "0 0 activating", "certificate.service: must have looked for a kept certificate, is activat"),
        ("active", "12 0 active", None),
        ("reloading", "12 0 inactive", None),  # it has ended
        ("active", "0 1 activating", None),  # it failed, and is tried again
        ("active", "0 0 inactive not-found", None),  # behind a load balancer there is no such service
        ("inactive", "12 0 active", "nginx.service: must be active, is inactive"),
    ],
)
def test_what_an_installation_misses_is_asked_of_systemd(
    watched: Watched, tmp_path: Path, nginx: str, certificate: str, missing: str | None
) -> None:
    """Nginx, and a first look for a kept certificate."""
    names = ("ActiveEnterTimestampMonotonic", "NRestarts", "ActiveState", "LoadState")
    units = (["99", "0", nginx, "loaded"], [*certificate.split(), "loaded"][:4])
    blocks = ["\n".join(f"{name}={value}" for name, value in zip(names, unit, strict=True)) for unit in units]
    (tmp_path / "answer").write_text("\n\n".join(blocks) + "\n")
    program(tmp_path, "systemctl", f'echo "$@" >{tmp_path}/asked; cat {tmp_path}/answer')
    found = watched.missing_to_serve()
    assert (found and missing and found.startswith(missing)) or found is missing
    assert (tmp_path / "asked").read_text().endswith(" nginx.service certificate.service\n")


@pytest.mark.parametrize(
    ("mebibytes", "state", "waits"),
    [
        (960, "activating", False),
        (460, "activating", True),
        (460, "active", False),
        (460, "failed", False),  # which the next wait finds
    ],
)
def test_an_installation_has_ended_before_the_app_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mebibytes: int, state: str, *, waits: bool
) -> None:
    """On the smallest Droplet, which has not enough for both."""
    (tmp_path / "meminfo").write_text(f"MemTotal:  {mebibytes * 1024} kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    here = Machine(root=tmp_path)
    monkeypatch.setattr(here, "system", lambda *command: f"{state}\n" if command[-1] == "cloud-final.service" else "")
    said = "cloud-final.service: must have ended where a Droplet has less than 768 MiB, is activating"
    assert here.missing_to_import() == (said if waits else None)


def test_a_journal_of_any_bytes_is_read(watched: Watched, tmp_path: Path) -> None:
    """A text that could not be decoded would hide why the release does not serve."""
    program(tmp_path, "journalctl", r"printf 'caf\351'")
    assert watched.journal() == "caf\N{REPLACEMENT CHARACTER}"


def test_the_end_of_thousands_of_processes_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is looked for once more before it is killed, and with so many each look takes long."""
    looks: list[int] = []

    def look(leader: int) -> set[int]:
        looks.append(leader)
        time.sleep(0.01)  # what is tried is time that passes
        return set(range(2000)) if len(looks) == 1 else set()

    monkeypatch.setattr(sessions, "GONE_WITHIN", 0.1)
    monkeypatch.setattr(sessions, "members", look)
    monkeypatch.setattr(os, "pidfd_open", lambda _pid: os.open(os.devnull, os.O_RDONLY))
    sessions.end_members(1)
    assert len(looks) < 20
