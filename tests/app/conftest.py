"""What the tests in an app's own environment have in common."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.django_project import APP, Project


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python of the sample app's locked environment: Django, Gunicorn, psycopg."""
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.run(["uv", "sync", "--project", APP, "--frozen", "--quiet"], env=environment, check=True, timeout=300)
    return APP / ".venv/bin/python"


@pytest.fixture
def project(tmp_path: Path, python: Path) -> Project:
    """A project that has nothing special."""
    return Project(tmp_path, python)
