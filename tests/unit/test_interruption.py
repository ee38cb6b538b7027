"""Ctrl-C: the host of dynamic providers tells the waits, which end at once."""

from __future__ import annotations

import importlib
import threading
import time

import pytest

from provider import interruption
from provider.actions import ActionError
from tests.provider_host import host_ended_by

CANCEL = """
def end(interruption, stub):
    answer = stub.Cancel(Empty(), timeout=10)
    print(type(answer).__name__, interruption._asked.is_set(), file=sys.stderr, flush=True)
    os._exit(0)
"""

# This thread handles the signal, as any may of those that the system can choose from, once the main thread waits.
INTERRUPT = """
def end(interruption, stub):
    stub.Cancel(Empty(), timeout=10)
    time.sleep(0.5)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no interruption reach another test."""
    monkeypatch.setattr(interruption, "_asked", threading.Event())


def test_a_pause_is_a_sleep() -> None:
    """Nothing is raised when nobody interrupts."""
    started = time.monotonic()
    interruption.pause(0.02)
    assert time.monotonic() - started >= 0.02


def test_an_interruption_ends_a_pause_at_once() -> None:
    """And says how to go on."""
    timer = threading.Timer(0.05, interruption.interrupt)
    timer.start()
    started = time.monotonic()
    with pytest.raises(ActionError, match="run `pulumi up` again"):
        interruption.pause(60)
    timer.join()
    assert time.monotonic() - started < 10


def test_the_engines_request_reaches_the_waits() -> None:
    """By Pulumi's own host and its wire: an SDK that changes this must not pass unnoticed."""
    done = host_ended_by(CANCEL)
    assert "Empty True" in done.stderr.splitlines(), done.stderr


def test_the_signal_that_another_thread_handles_ends_the_host() -> None:
    """Else the engine waits 5 seconds for it and then takes the next plugin for one that crashed."""
    done = host_ended_by(INTERRUPT)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_module_that_is_no_host_is_left_alone() -> None:
    """The program imports the providers too."""
    interruption.listen(importlib.import_module("json"))
