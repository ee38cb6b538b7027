"""Run the project's own commands as a user would."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "django-do"
PATH = os.pathsep.join([str(ROOT / ".venv/bin"), str(CACHE / "bin"), os.environ["PATH"]])


def environment(home: Path) -> dict[str, str]:
    """What the project's commands are started with against the world in `home`."""
    return os.environ | {"PATH": PATH, "SANDBOX_HOME": str(home)}


def run(*argv: str, home: Path, timeout: float = 600, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one of the project's commands against the world in `home`; a failure shows all that it printed."""
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        pytest.fail(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)
    return done
