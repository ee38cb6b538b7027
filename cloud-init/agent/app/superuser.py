"""The first administrator: a convenience, so what it lacks ends no release."""

import contextlib
import re

from agent.app.steps import AppSteps
from agent.errors import AgentError
from protocol.failure import causes

DEADLINE = 120  # seconds; a command of the project's own may wait for somebody who is not there
# There is one, by whatever rule of the project's own there can't be another; or the project has no accounts.
FINE = "is already taken|already exists|UNIQUE constraint failed|Unknown command: 'createsuperuser'"
MISSING = re.compile(r"You must use --([\w-]+)")


def make_superuser(app: AppSteps, *, first: bool) -> list[str]:
    """Make it from DJANGO_SUPERUSER_*, unless it is there; return what a person should know, nothing if all is well.

    In a Droplet's first release one that is there is looked at, too: the project may have made it itself.
    """
    try:
        made = app.manage("createsuperuser", "--noinput", unless=FINE, within=DEADLINE) is not None
    except AgentError as error:
        return [f"no superuser was made: {reason(str(error))}; {remedy(str(error))}, or set app.superuser: false"]
    with contextlib.suppress(AgentError):  # there are no accounts, or none of that name, or of another kind
        if first and not made and (name := app.stranger()):
            text = f"a user `{name}` is there already with another password: the output superuser_password is not its"
            return [f"{text}; if the project made it with a known password, change that now"]
    return []


def reason(error: str) -> str:
    """Say in one line why it failed."""
    first, *output = error.strip().split("\n")
    said = causes(output) or [line.strip() for line in output if line.strip()][-1:]
    return ": ".join([first, "; ".join(said).rstrip(".;")]) if said else first


def remedy(error: str) -> str:
    """Say what to do."""
    if missing := MISSING.search(error):
        return f"set DJANGO_SUPERUSER_{missing[1].upper().replace('-', '_')} in app.env"
    if "unrecognized arguments: --noinput" in error:
        return "let the project's command take --noinput"
    return "set what it refuses, as DJANGO_SUPERUSER_<FIELD>, in app.env (docs/app.md)"
