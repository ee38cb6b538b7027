"""Bring the database to a release: a migration waits little for a table, since whoever wants it waits behind."""

import re
import time
from collections.abc import Callable

from agent.app.migration_lock import MigrationLock
from agent.app.remedies import explained
from agent.app.steps import AppSteps
from agent.errors import AgentError

PAUSES = (5.0, 10.0, 0.0)  # seconds after each try that found a table locked
MIGRATED = re.compile(r"(?m)^  Applying (\S+)\.\.\. *OK")
LOCKED = re.compile(r"canceling statement due to lock timeout")


NO_SLOT = re.compile(r"remaining connection slots are reserved|too many clients already")
UNLOCKED = (
    "the migrations were run without their lock, since no connection was left for it: a larger "
    "database.directConnections leaves one"
)


def migrate(app: AppSteps, lock: MigrationLock | None, applied: list[str], tick: Callable[[], None]) -> None:
    """Run `manage.py migrate`; `applied` gets the names of the migrations that were, whatever comes of the others."""
    for pause in PAUSES:
        try:
            applied.extend(MIGRATED.findall(app.manage("migrate", "--noinput") or ""))
        except AgentError as error:
            applied.extend(MIGRATED.findall(str(error)))
            if not LOCKED.search(str(error)):
                raise AgentError(explained(str(error))) from error
            if not pause:
                raise AgentError(waited(str(error), lock.last_wait() if lock else "")) from error
            end = time.monotonic() + pause
            while time.monotonic() < end:
                tick()
                time.sleep(min(1, pause))
        else:
            return


def waited(error: str, wait: str) -> str:
    """Say who let the migrations wait for too long."""
    what, _, output = error.partition("\n")
    who = f": it waited for {wait}" if wait else ""
    return (
        f"{what}: {len(PAUSES)} times a migration did not get a table within database.timeouts.migrationLock{who}; let "
        "that end, or end it as doadmin by `SELECT pg_terminate_backend(its process)`, then run `pulumi up` again\n"
        f"{output}"
    )
