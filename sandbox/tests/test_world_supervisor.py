"""A world's processes: started, replaced, restarted, stopped, and said what is wrong with."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.world import world as worlds
from sandbox.world.supervisor import ProcessStatus, Program, Supervisor, SupervisorError


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    """Start supervisord in a world of its own; its socket's path must be short, so not in pytest's folder."""
    home = Path(tempfile.mkdtemp(prefix="sup-"))
    started = Supervisor(worlds.create(home, "api", proxy_port=1))
    started.start()
    yield started
    started.stop()
    shutil.rmtree(home)


def process(supervisor: Supervisor, name: str) -> ProcessStatus:
    """Find one process's status."""
    return next(status for status in supervisor.status() if status.name == name)


def eventually(check: Callable[[], object]) -> None:
    """Poll until a check is true."""
    deadline = time.monotonic() + 60  # on a machine that is busy with other tests
    while not (last := check()):
        assert time.monotonic() < deadline, f"last seen {last!r}"
        time.sleep(0.02)


def log(supervisor: Supervisor, name: str) -> str:
    """Read a process's log."""
    path = supervisor.world.logs / f"{name}.log"
    return path.read_text() if path.exists() else ""


def test_put_starts_a_program_with_one_log(supervisor: Supervisor) -> None:
    """Output and errors of a program are in logs/<name>.log; awkward characters arrive unchanged."""
    script = "echo out $GREETING; echo err >&2; exec sleep 1000"
    supervisor.put(Program(name="hello", command=["sh", "-c", script], environment={"GREETING": "100% 'sure', a=b"}))
    eventually(lambda: log(supervisor, "hello") == "out 100% 'sure', a=b\nerr\n")
    assert process(supervisor, "hello").pid > 0


def test_put_again_changes_nothing(supervisor: Supervisor) -> None:
    """The same program keeps its process."""
    program = Program(name="same", command=["sleep", "1000"])
    supervisor.put(program)
    before = process(supervisor, "same").pid
    supervisor.put(program)
    assert process(supervisor, "same").pid == before


def test_put_replaces_a_changed_program(supervisor: Supervisor) -> None:
    """A changed command is a new process, and the old one is gone."""
    supervisor.put(Program(name="changed", command=["sleep", "1000"]))
    before = process(supervisor, "changed").pid
    supervisor.put(Program(name="changed", command=["sleep", "1001"]))
    assert process(supervisor, "changed").pid not in {0, before}
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


def test_a_program_that_dies_is_started_again(supervisor: Supervisor) -> None:
    """`autorestart` means what it says."""
    supervisor.put(Program(name="phoenix", command=["sleep", "1000"]))
    eventually(lambda: process(supervisor, "phoenix").state == "RUNNING")
    before = process(supervisor, "phoenix").pid
    os.kill(before, 9)
    eventually(lambda: process(supervisor, "phoenix").pid not in {0, before})


def test_expected_exit_codes_end_a_program(supervisor: Supervisor) -> None:
    """With "unexpected", a listed exit code is an end and every other one a restart."""
    count = supervisor.world.run / "count"
    script = f'echo x >> {count}; sleep 1.1; [ "$(wc -l < {count})" = 1 ] && exit 133; exit 0'
    supervisor.put(Program(name="twice", command=["sh", "-c", script], autorestart="unexpected"))
    eventually(
        lambda: count.exists() and count.read_text() == "x\nx\n" and process(supervisor, "twice").state == "EXITED"
    )
    # supervisord decides about a restart in each round, and each question is one.
    assert {process(supervisor, "twice").state for _ in range(5)} == {"EXITED"}
    assert count.read_text() == "x\nx\n"


def test_halt_keeps_and_restart_starts(supervisor: Supervisor) -> None:
    """A halted program stays known and off until it is started."""
    supervisor.put(Program(name="off", command=["sleep", "1000"]))
    supervisor.halt("off")
    assert process(supervisor, "off").pid == 0
    supervisor.restart("off")
    assert process(supervisor, "off").pid > 0


def test_signal_reaches_the_process(supervisor: Supervisor) -> None:
    """HUP arrives, as dnsmasq and nginx need it."""
    script = 'trap "echo got it" HUP; echo ready; while :; do sleep 0.05; done'
    supervisor.put(Program(name="hup", command=["sh", "-c", script]))
    eventually(lambda: "ready" in log(supervisor, "hup"))
    supervisor.signal("hup", "HUP")
    eventually(lambda: "got it" in log(supervisor, "hup"))


def test_what_supervisord_refuses_is_a_worlds_error(supervisor: Supervisor) -> None:
    """Whoever handles the errors of a world's parts handles these too."""
    with pytest.raises(SupervisorError, match="BAD_NAME: nobody"):
        supervisor.halt("nobody")


def test_stop_ends_all_programs_at_once(supervisor: Supervisor) -> None:
    """Programs that take a second to end don't take one after the other."""
    script = 'trap "sleep 1; exit 0" TERM; echo ready; while :; do sleep 0.05; done'
    names = [f"slow-{number}" for number in range(6)]
    for number, name in enumerate(names):
        supervisor.put(Program(name=name, command=["sh", "-c", script], priority=number))
    for name in names:
        eventually(lambda name=name: "ready" in log(supervisor, name))  # type: ignore[misc]
    started = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - started < 4


def test_remove_forgets(supervisor: Supervisor) -> None:
    """A removed program is neither running nor listed, and removing it twice is fine."""
    supervisor.put(Program(name="gone", command=["sleep", "1000"]))
    supervisor.remove("gone")
    supervisor.remove("gone")
    assert [status.name for status in supervisor.status()] == []


def test_a_command_that_is_missing_is_an_error_naming_the_log(supervisor: Supervisor) -> None:
    """The message has supervisord's reason and where to read on."""
    with pytest.raises(SupervisorError, match=r"process missing: .*can't find command '/nowhere'; see .*missing\.log"):
        supervisor.put(Program(name="missing", command=["/nowhere"]))


def test_environment_is_not_readable_by_others(supervisor: Supervisor) -> None:
    """Environments hold secrets, so their file is the owner's."""
    supervisor.put(Program(name="secret", command=["sleep", "1000"], environment={"PASSWORD": "x"}))
    assert (supervisor.folder / "secret.ini").stat().st_mode & 0o077 == 0


def test_stop_ends_everything(supervisor: Supervisor) -> None:
    """After `stop` no program runs, and `start` begins with none."""
    supervisor.put(Program(name="child", command=["sleep", "1000"]))
    pid = process(supervisor, "child").pid
    supervisor.stop()
    assert not supervisor.running()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    supervisor.start()
    assert supervisor.status() == []


def test_a_killed_supervisor_is_not_running(supervisor: Supervisor) -> None:
    """Its socket stays behind; that is not an answer, and a new one starts over it."""
    os.kill(supervisor.pid(), 9)
    eventually(lambda: not supervisor.running())
    with pytest.raises(SupervisorError, match="run `sandbox up`"):
        supervisor.status()
    supervisor.start()
    assert supervisor.running()


def test_a_home_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    """The limit is said before anything starts."""
    world = worlds.create(tmp_path / ("x" * 120), "api", proxy_port=1)
    with pytest.raises(SupervisorError, match="--home: the path of a unix socket"):
        Supervisor(world).start()


@pytest.mark.parametrize("value", ["a ;b", "a #b", "a\nb"])
def test_what_the_configuration_cannot_hold_is_refused(supervisor: Supervisor, value: str) -> None:
    """Such a value would silently be cut off."""
    with pytest.raises(ValueError, match="supervisord can't hold"):
        supervisor.put(Program(name="bad", command=["echo", value]))
