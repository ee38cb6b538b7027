"""The alternatives that a benchmark tries are ones that start."""

import subprocess

import pytest

from benchmarks.alternatives import ALTERNATIVES
from benchmarks.web.setups import CONF
from tests.commands import ROOT

OURS = ROOT / "cloud-init/app-server/gunicorn.conf.py"


@pytest.mark.parametrize("text", [one.appended[CONF] for one in ALTERNATIVES if CONF in one.appended])
def test_settings_of_gunicorn_name_what_is_there(text: str) -> None:
    """Behind ours, as they are used; else its workers end one after the other, after minutes of other measurements."""
    argv = ["ruff", "check", "--isolated", "--select=F821", "-"]
    done = subprocess.run(argv, input=OURS.read_text() + text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
