"""What a preview says of the files that go into a release, and of those that do not."""

import re
from dataclasses import dataclass
from pathlib import Path

from provider.uploads.left_out import ENVIRONMENTS, Kind
from provider.uploads.project_files import ProjectFiles, shown

NAMED = 3  # of each kind; the others are counted
LOOKED_AT = 300  # entries of a folder, to see whether something was built into it
BUILT = re.compile(r".*\.(mo|js|mjs|css|wasm)|webpack-stats.*\.json|(asset-)?manifest\.json")
# What is built by others and for others: reports, documentation; and what collectstatic makes anew on the Droplet.
NOT_NEEDED = re.compile(
    r"\..*|media|uploads|coverage|_build|site|docs?|tmp|temp|cache|logs?|static_?files|static[-_]?root|(static[-_]?)?collected"
    r"|collected[-_]?static"
)
COLLECTED = ("staticfiles.json", "admin/css/base.css")


@dataclass(frozen=True, slots=True)
class Contents:
    """Lines for people."""

    goes: str
    left: str  # empty when nothing is left out
    built: str  # what looks built, and does not go; empty when nothing does


def contents(files: ProjectFiles) -> Contents:
    """Say how much goes, what is left out, and what of that the app may need."""
    count = f"{files.files} file{'' if files.files == 1 else 's'}"
    parts = []
    for kind in Kind:
        # Caches lie in many folders: what they are called says enough.
        of_kind = [name for name, left in files.left.items() if left.kind is kind]
        names = {
            name.rpartition("/")[2] if kind is Kind.LOCAL else name: files.left[name].is_folder for name in of_kind
        }
        if names:
            parts.append(f"{kind.value}: {_listed([shown(name) + '/' * folder for name, folder in names.items()])}")
    built = [
        shown(name) + "/" * left.is_folder
        for name, left in files.left.items()
        if _looks_built(files.root, name, left.kind)
    ]
    return Contents(
        f"{count} of the app, {files.size / 2**20:.1f} MiB, go into a release",
        f"left out: {'; '.join(parts)}" if parts else "",
        f"left out, but built, so the app may need it: {_listed(built)}; name it in app.include if it does"
        if built
        else "",
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _looks_built(root: Path, name: str, kind: Kind) -> bool:
    """Tell whether what git ignores is something that a build has made for the app."""
    last = name.rpartition("/")[2]
    if kind not in {Kind.IGNORED, Kind.LINK} or NOT_NEEDED.fullmatch(last):
        return False
    path = root / name
    if not path.is_dir():
        return BUILT.fullmatch(last) is not None
    if any((path / mark).exists() for mark in (*COLLECTED, *ENVIRONMENTS)):
        return False
    ahead, seen = [path], 0
    while ahead and seen < LOOKED_AT:
        try:
            entries = sorted(ahead.pop(0).iterdir())
        except OSError:
            continue  # nobody can have built into it what the app would read
        seen += len(entries)
        if any(BUILT.fullmatch(entry.name) for entry in entries):
            return True
        ahead += [
            entry for entry in entries if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith(".")
        ]
    return False
