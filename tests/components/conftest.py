"""The program's resource graph with mocks instead of an engine."""

from pathlib import Path
from typing import Any

import pytest

from tests.components.recording import Graph, run_program


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a Django project."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "mysite").mkdir()
    for file in ("manage.py", "mysite/__init__.py", "mysite/settings.py", "mysite/wsgi.py"):
        (folder / file).touch()
    (folder / "requirements.txt").write_text("django\ngunicorn\npsycopg[binary]\n")
    return folder


@pytest.fixture(scope="session")
def settings(project: Path) -> dict[str, Any]:
    """The least that a stack must say."""
    return {
        "name": "shop",
        "region": "nyc3",
        "domain": "shop.example",
        "database": {"size": "db-s-2vcpu-4gb", "trustedSources": ["203.0.113.0/24"], "extensions": ["citext"]},
        "web": {"size": "s-1vcpu-1gb"},
        "app": {
            "path": str(project),
            "env": {"DB": "${DATABASE_URL}"},
            "secrets": {"API_KEY": "third-party-secret"},
        },
    }


@pytest.fixture(scope="session")
def graph(settings: dict[str, Any]) -> Graph:
    """The program with the least settings; session scope: tests only read it."""
    return run_program(settings)
