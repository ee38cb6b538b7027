"""Static files of a release: on the CDN, or from this Droplet."""

import json
import mimetypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agent.config import Config
from agent.errors import AgentError
from agent.machine import log
from agent.spaces import Spaces, SpacesError

PREFIX = "static/"  # in the Space `assets`: the path that STATIC_URL has on the CDN
UPLOADS_AT_ONCE = 8
BEFORE = -1  # seconds since 1970; the archive's files are of 0


def serve(root: Path, folder: Path) -> None:
    """Let Nginx find the files of the release in `folder` where it looks for them: the app did not ask for the CDN."""
    require_inside(root, folder)
    require_apart(root, folder)
    static = folder / "static"
    if root != static and not static.is_symlink():
        if there := sorted(path.name for path in static.iterdir()):
            raise AgentError(
                f"{static}: must be empty, because STATIC_ROOT is {root}, has {', '.join(there[:3])}; set STATIC_ROOT "
                "to the variable STATIC_ROOT, or let the project write nothing there"
            )
        static.rmdir()
        static.symlink_to(root)


def age(root: Path, folder: Path) -> None:
    """Let collectstatic replace what the archive has brought to STATIC_ROOT, which it keeps if it is not older.

    The archive has no times: all of its files are of the first second there was. What the app has put into STATIC_ROOT
    itself, and collectstatic has no other for, stays.
    """
    real = root.resolve()
    if root.is_absolute() and real.is_relative_to((folder / "app").resolve()) and real.is_dir():
        for path in real.rglob("*"):
            os.utime(path, (BEFORE, BEFORE), follow_symlinks=False)


def require_inside(root: Path, folder: Path) -> None:
    """Refuse a STATIC_ROOT where a release can't write, or Nginx not read."""
    if not root.is_relative_to(folder):
        raise AgentError(
            f"STATIC_ROOT: must be below the project or the variable STATIC_ROOT, got {root}; set it to that variable"
        )


def require_apart(root: Path, folder: Path) -> None:
    """Refuse a STATIC_ROOT by which visitors could read the project's source or its settings."""
    real, app = root.resolve(), (folder / "app").resolve()
    if app.is_relative_to(real) or (real / "manage.py").exists():
        raise AgentError(
            f"STATIC_ROOT: must be a folder for static files alone, got {root}, which has the project's source, too; "
            "set it to the variable STATIC_ROOT"
        )


def publish(root: Path, config: Config, client: Callable[[], Spaces]) -> None:
    """Upload the files whose hashed names are new; none is ever replaced or deleted."""
    names = manifest_names(root)
    there = client().list(config.assets_bucket, PREFIX)
    missing = sorted(name for name in names if PREFIX + name not in there)
    parts = [missing[start::UPLOADS_AT_ONCE] for start in range(UPLOADS_AT_ONCE)]
    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        # A thread has its own connection.
        list(pool.map(lambda part: _upload(client(), config.assets_bucket, root, part), filter(None, parts)))
    log(f"{len(missing)} of {len(names)} static files uploaded")


def _upload(spaces: Spaces, bucket: str, root: Path, names: list[str]) -> None:
    """Upload static files; a name changes with its content, so it may be kept for ever."""
    for name in names:
        headers = {
            "cache-control": "public,max-age=31536000,immutable",
            "content-type": content_type(name),
            "x-amz-acl": "public-read",
        }
        try:
            with (root / name).open("rb") as file:  # never whole in memory: several go at once, and one may be a video
                spaces.put(bucket, PREFIX + name, file, headers)
        except SpacesError as error:
            raise AgentError(f"{error}; the agent's key must be allowed to, or see docs/releases.md") from error


def manifest_names(root: Path) -> set[str]:
    """Return the hashed names that pages of this release refer to; each is below STATIC_ROOT, and below PREFIX."""
    try:
        names = set(json.loads((root / "staticfiles.json").read_bytes())["paths"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AgentError(
            "STATIC_ROOT/staticfiles.json: must be written by collectstatic for files on the CDN; set "
            "STORAGES['staticfiles'] to django.contrib.staticfiles.storage.ManifestStaticFilesStorage, or STATIC_URL "
            f"to /static/, and this Droplet serves them ({type(error).__name__}: {error})"
        ) from error
    for name in names:
        if not isinstance(name, str) or not {"", ".", ".."}.isdisjoint(name.split("/")):
            raise AgentError(
                f"STATIC_ROOT/staticfiles.json: must name files below STATIC_ROOT, names {json.dumps(name)}; correct "
                "the storage that STORAGES['staticfiles'] names, which writes it"
            )
    return names


def content_type(name: str) -> str:
    """Return the media type, as browsers insist on."""
    mimetypes.add_type("font/woff2", ".woff2")  # known to Python from 3.14 on
    guessed, encoding = mimetypes.guess_type(name)
    if guessed is None or encoding is not None:
        return "application/octet-stream"
    return guessed + ("; charset=utf-8" if guessed.startswith("text/") else "")
