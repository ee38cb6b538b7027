"""Static files: what a release has, and how browsers are told about it."""

import json
import mimetypes
from pathlib import Path

from agent.errors import AgentError


def manifest_names(static: Path) -> set[str]:
    """Return the hashed names that pages of this release refer to."""
    try:
        return set(json.loads((static / "staticfiles.json").read_bytes())["paths"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AgentError(
            "STATIC_ROOT/staticfiles.json: must be written by collectstatic for files on the CDN; set "
            "STORAGES['staticfiles'] to django.contrib.staticfiles.storage.ManifestStaticFilesStorage, or STATIC_URL "
            f"to /static/, and this Droplet serves them ({type(error).__name__}: {error})"
        ) from error


def content_type(name: str) -> str:
    """Return the media type, as browsers insist on."""
    mimetypes.add_type("font/woff2", ".woff2")  # known to Python from 3.14 on
    guessed, encoding = mimetypes.guess_type(name)
    if guessed is None or encoding is not None:
        return "application/octet-stream"
    return guessed + ("; charset=utf-8" if guessed.startswith("text/") else "")
