"""What nginx keeps for the CDN, a file for each answer, which has its key near its beginning."""

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

_KEY = re.compile(rb"\nKEY: (\S+) (\S+) [^\n]*\n")  # see proxy_cache_key in configuration.py
_HEAD = 16 * 1024  # bytes


def purge(folder: Path, endpoint_id: str, files: Iterable[str]) -> None:
    """Forget what an endpoint keeps of these paths; a final * stands for all that begin so."""
    wanted = [file.lstrip("/") for file in files]
    for kept in folder.glob("*/*/*"):
        with kept.open("rb") as file:
            key = _KEY.search(file.read(_HEAD))
        if key and key[1].decode() == endpoint_id and _named(key[2].decode("ascii", "replace"), wanted):
            kept.unlink(missing_ok=True)


def _named(target: str, wanted: Iterable[str]) -> bool:
    path = unquote(target.partition("?")[0]).lstrip("/")
    return any(path.startswith(one[:-1]) if one.endswith("*") else path == one for one in wanted)
