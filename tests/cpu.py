"""Where the time of a run goes: wall and CPU seconds of each test file, its children and its worlds included.

A plugin of pytest: `python -m pytest -p tests.cpu PATH…`, also with -n. As root, on Linux, every process that the tests
start counts, daemons too, by a control group of its own; without, this process and the children that it waited for.
"""

import os
import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.workermanage import WorkerController

GROUPS = Path("/sys/fs/cgroup")


class Clock:
    """CPU seconds used so far by this run."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.home: Path | None = None
        hierarchy = next(
            (GROUPS / name for name in ("cpuacct", ".") if (GROUPS / name / "cgroup.procs").exists()), None
        )
        if os.geteuid() == 0 and hierarchy is not None:
            self.home = hierarchy
            self.folder = hierarchy / f"django-do-tests-{os.getpid()}"
            self.folder.mkdir()
            (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def seconds(self) -> float:
        """Of all processes that count."""
        if self.folder is None:
            own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
            return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
        if (usage := self.folder / "cpuacct.usage").exists():  # nanoseconds
            return int(usage.read_text()) / 1e9
        return int((self.folder / "cpu.stat").read_text().split()[1]) / 1e6  # usage_usec

    def close(self) -> None:
        """Go back; what still runs goes too."""
        if self.folder is None or self.home is None:
            return
        for pid in (self.folder / "cgroup.procs").read_text().split():
            (self.home / "cgroup.procs").write_text(pid)
        self.folder.rmdir()
        self.folder = None


class Files:
    """What each file took: its tests, and the fixtures that they were the first to ask for."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.took: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """One test with its fixtures; returns what pytest returns."""
        wall, cpu = time.monotonic(), self.clock.seconds()
        try:
            return (yield)
        finally:
            took = self.took[item.nodeid.partition("::")[0]]
            took[0] += 1
            took[1] += time.monotonic() - wall
            took[2] += self.clock.seconds() - cpu

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A worker of xdist tells the process that prints."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["took"] = dict(self.took)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController) -> None:
        """Take what a worker tells; one that has crashed tells nothing."""
        self.took.update(getattr(node, "workeroutput", {}).get("took", {}))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The slowest first, with the whole at the end."""
        terminalreporter.section("wall and CPU seconds of each file")
        rows = sorted(self.took.items(), key=lambda row: -row[1][1])
        whole = [sum(took[column] for _, took in rows) for column in range(3)]
        for name, (tests, wall, cpu) in [*rows, ("all", whole)]:
            terminalreporter.write_line(f"{wall:8.1f} {cpu:8.1f}  {tests:4.0f} tests  {name}")

    def pytest_unconfigure(self) -> None:
        """Leave no group behind."""
        self.clock.close()


def pytest_configure(config: pytest.Config) -> None:
    """Begin to measure."""
    config.pluginmanager.register(Files(), "cpu")
