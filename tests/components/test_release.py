"""Release: artifact, environment and rollout."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.components.recording import Graph, run_program


def test_the_environment_reaches_the_database_through_the_pool(graph: Graph) -> None:
    """Gunicorn gets the app's role and the pool; the migrator's direct address is in the release step's part alone."""
    document = json.loads(graph["environment"].inputs["document"])
    assert "document" in graph["environment"].secrets
    url = "postgres://app:shop-app-password@private-shop-pool.example:25061/app-pool?"
    assert document["env"]["DATABASE_URL"].startswith(url)
    assert document["env"]["DB"] == document["env"]["DATABASE_URL"]
    assert document["env"]["API_KEY"] == "third-party-secret"
    assert document["env"]["AWS_STORAGE_BUCKET_NAME"] == "shop-media-1a2b3c4"
    assert document["env"]["STATIC_URL"] == "https://shop-cdn.cdn.example/static/"
    direct = "postgres://migrator:shop-migrator-password@private-shop-db.example:25060/app?"
    assert document["release_env"]["DATABASE_URL"].startswith(direct)
    assert "migrator" not in json.dumps(document["env"])
    assert document["database_ca"] == "cluster-ca"


def test_the_rollout_is_named_by_what_it_is_made_of(graph: Graph) -> None:
    """Same code and same environment: same release."""
    rollout, artifact, environment = graph["rollout"].inputs, graph["artifact"].inputs, graph["environment"].inputs
    assert rollout["release"] == f"{artifact['sha256'][:8]}-{environment['hash'][:8]}"
    assert (rollout["artifact"], rollout["environment"]) == (artifact["key"], environment["key"])
    assert rollout["droplet_ids"] == ["101"]
    assert graph.outputs["release"] == rollout["release"]


def test_an_earlier_release_is_rolled_out_by_its_id(settings: dict[str, Any]) -> None:
    """Nothing is built or uploaded, and the generated secrets stay."""
    graph = run_program(settings | {"app": settings["app"] | {"release": "0a1b2c3d-4e5f6a7b"}})
    assert graph["rollout"].inputs["release"] == "0a1b2c3d-4e5f6a7b"
    assert "artifact" not in graph
    assert "environment" not in graph
    assert "secret-key" in graph


def test_a_preview_says_what_goes_into_the_release(
    settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And what does not, since the app may need it; an update, which comes after it, does not say it again."""
    for name in ("manage.py", "mysite/wsgi.py", "mysite/settings.py", "dist/app.js", "logs/a", ".envrc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "requirements.txt").write_text("django\ngunicorn\npsycopg[binary]\n")
    (tmp_path / ".gitignore").write_text("dist/\nlogs/\n")
    changed = settings | {
        "app": {"path": str(tmp_path), "exclude": ["requirements.txt"], "include": ["/requirements.txt"]}
    }
    caplog.set_level(logging.INFO)
    run_program(changed)
    assert [record for record in caplog.records if "release" in record.message] == []
    graph = run_program(changed, preview=True)
    said = [(record.levelname, record.message) for record in caplog.records if record.name == "root"]
    assert said == [
        ("INFO", "5 files of the app, 0.0 MiB, go into a release"),
        ("INFO", "left out: secrets: .envrc; ignored by git: dist/, logs/"),
        ("WARNING", "left out, but built, so the app may need it: dist/; name it in app.include if it does"),
    ]
    assert graph["artifact"].inputs["exclude"] == ["requirements.txt"]
    assert graph["artifact"].inputs["include"] == ["/requirements.txt"]
