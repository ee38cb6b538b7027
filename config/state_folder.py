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
    """Return it as the engine finds it, by the environment or by `pulumi login`; None for any other backend."""
    backend = environment.get("PULUMI_BACKEND_URL")
    if not backend:
        home = Path(environment.get("PULUMI_HOME") or Path.home() / ".pulumi")
        try:
            backend = json.loads((home / "credentials.json").read_text()).get("current", "")
        except FileNotFoundError:
            return None
    if not backend.startswith("file://"):
        return None
    return Path(backend.removeprefix("file://")).expanduser()
