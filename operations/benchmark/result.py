"""All that a run found, as it is kept: pool.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from operations.benchmark.pgbench import Run


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What was measured, on what, and how."""

    date: str
    region: str
    plan: str
    client: str  # size of its Droplet
    pool_size: int
    scale: int
    wanted_scale: int
    seconds: int
    rounds: int
    took_s: int
    settings: Mapping[str, str]  # of PostgreSQL
    notes: tuple[str, ...]  # what whoever started it knows of the machines
    runs: tuple[Run, ...]


def write(result: Result, file: Path) -> None:
    """Keep it."""
    file.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")


def read(file: Path) -> Result:
    """Return what was kept."""
    document = json.loads(file.read_text(encoding="utf-8"))
    runs = tuple(Run(**run) for run in document.pop("runs"))
    return Result(**document | {"runs": runs, "notes": tuple(document["notes"])})
