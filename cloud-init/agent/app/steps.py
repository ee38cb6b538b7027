"""The app's own steps of a release: each has its own output, status and limit, and they share one import of the app."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from agent.app.memory import failed
from agent.app.process import AppProcess, Outcome, Popen
from agent.errors import AgentError

GUNICORN_CONFIG = "/etc/gunicorn/gunicorn.conf.py"
STEP_DEADLINE = 1800  # seconds; a migration may take its time, a hanging one must end


def _nothing() -> None:
    """No watchdog."""


class AppSteps:
    """The steps that run in one environment, in a process that lives from the first of them to `close`.

    That process imports the app once, as Gunicorn will, and forks for each step. Where the import did what a fork can't
    share (it started a thread, say), or failed, each step imports the app itself: slower, and right.
    """

    def __init__(
        self,
        *,
        popen: Popen,
        python: Path,
        directory: Path,
        environment: Mapping[str, str],
        wsgi: str,
        deadline: float = STEP_DEADLINE,
        tick: Callable[[], None] = _nothing,
        gunicorn_config: str = GUNICORN_CONFIG,
    ) -> None:
        self._start: Callable[[], AppProcess] = lambda: AppProcess(popen, python, directory, environment, tick)
        self._deadline = deadline
        # As in sys.argv, which begins with the program's path: settings may look at it.
        self._gunicorn = [str(python.with_name("gunicorn")), "--config", gunicorn_config, wsgi]
        self._process: AppProcess | None = None
        self._shared = True  # whether the steps share an import
        self._words: set[str] = set()  # that the import looked for in sys.argv

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, and what the steps left running."""
        if self._process:
            self._process.end()
            self._process = None

    def manage(self, *arguments: str, unless: str = "", within: float | None = None) -> str | None:
        """Run a command of manage.py; return what it printed, None when it failed with words that match `unless`.

        `within` is a limit in seconds of its own.
        """
        self._prepare()
        # Settings may depend on the command; those of another one must not count.
        if self._words & ({"manage.py", *arguments} ^ set(self._gunicorn)):
            self._do_not_share()
        name = " ".join(["manage.py", *arguments])
        try:
            outcome = self._run(name, "manage", arguments, within)
            if outcome.answer == b"again":  # its manage.py prepares settings that were loaded without it
                self._do_not_share()
                outcome = self._run(name, "manage", arguments, within)
        except AgentError as error:
            if unless and re.search(unless, str(error)):
                return None
            raise
        return outcome.output

    def static_settings(self) -> tuple[str, str]:
        """Return STATIC_ROOT and STATIC_URL. Asked of Django, because a project may have its own opinion about both."""
        root, url = self._answer("STATIC_ROOT and STATIC_URL", "settings")
        return str(root), str(url)

    def stranger(self) -> str:
        """Return the name of the superuser, if it is there with another password and nobody has logged in, else ""."""
        return str(self._answer("the superuser's password", "stranger"))

    def _answer(self, name: str, step: str) -> Any:  # noqa: ANN401 - a document
        """Return what a step finds in the project."""
        self._prepare()
        outcome = self._run(name, step)
        try:
            return json.loads(outcome.answer)
        except ValueError as error:
            raise AgentError(f"{name}: not read from the project\n{outcome.output}") from error

    def _prepare(self) -> None:
        """Import the app for the steps to come, if they can share that. Why it failed is for the steps to say."""
        if self._process or not self._shared:
            return
        outcome = self._ask("import")
        if outcome.late:
            self._refuse(f"the import of {self._gunicorn[-1]}", outcome, self._deadline)
        if outcome.reply is None or outcome.reply.get("unsafe"):
            self._do_not_share()
        else:
            self._words = {word for word in outcome.reply.get("words", ()) if isinstance(word, str)}

    def _do_not_share(self) -> None:
        """Let each step import the app from now on."""
        self.close()
        self._shared = False
        self._words = set()

    def _run(self, name: str, step: str, arguments: Sequence[str] = (), within: float | None = None) -> Outcome:
        """Run one step in a child of the process; raise if it does not end well."""
        outcome = self._ask(step, arguments, within)
        self._refuse(name, outcome, within or self._deadline)
        return outcome

    def _ask(self, step: str, arguments: Sequence[str] = (), within: float | None = None) -> Outcome:
        """Ask the process, and forget it when it has ended."""
        if self._process is None:
            self._process = self._start()
        request = {"step": step, "arguments": list(arguments), "gunicorn": self._gunicorn}
        outcome = self._process.ask(request, within or self._deadline)
        if outcome.reply is None:
            self.close()
        return outcome

    def _refuse(self, name: str, outcome: Outcome, seconds: float) -> None:
        """Raise for what did not end well."""
        if outcome.late:
            raise AgentError(f"`{name}` did not end within {seconds:g} s\n{outcome.output}")
        if outcome.reply is None:
            raise failed(name, outcome.status, outcome.output, how=", before its time")
        if status := outcome.reply["status"]:
            raise failed(name, status, outcome.output)
