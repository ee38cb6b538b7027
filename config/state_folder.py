"""The folder that has the stack's state, where it is kept in one (docs/state.md)."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pulumi

ROOM = (
    32 * 1024 * 1024
)  # bytes; the engine writes the state, some 200 KiB, before and after each step, beside the old one


def require_room(environment: Mapping[str, str] = os.environ) -> None:
    """Refuse to begin what could not be written down; raises pulumi.RunError.

    An update that runs out of room leaves a state that is cut off, and resources that are in none.
    """
    folder = state_folder(environment)
    if folder is None or not folder.is_dir():
        return
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        raise pulumi.RunError(
            f"state: must have {ROOM >> 20} MiB free on the disk of {folder}, has {free / (1 << 20):.1f}; nothing was "
            "changed. Make room, or keep the state elsewhere"
        )


def state_folder(environment: Mapping[str, str]) -> Path | None:
    """Return it as the engine finds it, by the environment or by `pulumi login`; None for any other backend.

    Raises pulumi.RunError where the login can't be read.
    """
    backend = environment.get("PULUMI_BACKEND_URL") or _logged_in_to(environment)
    if not backend.startswith("file://"):
        return None
    return Path(backend.removeprefix("file://")).expanduser()


def _logged_in_to(environment: Mapping[str, str]) -> str:
    """Return the backend of `pulumi login`; nothing before the first one."""
    home = Path(environment.get("PULUMI_HOME") or Path.home() / ".pulumi")
    file, fix = home / "credentials.json", "move it away, then `pulumi login` again"
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except ValueError as error:  # no UTF-8, no JSON
        raise pulumi.RunError(f"{file}: must be JSON, is not ({error}); {fix}") from error
    if not isinstance(document, dict):
        raise pulumi.RunError(f"{file}: must be an object, got {json.dumps(document)[:40]}; {fix}")
    backend = document.get("current", "")
    if not isinstance(backend, str):
        raise pulumi.RunError(f"{file}: current: must be a URL, got {json.dumps(backend)[:40]}; {fix}")
    return backend
