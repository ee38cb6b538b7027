"""The app's tree as one deterministic archive, uploaded once per content."""

import stat
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from provider.actions import ActionError, CheckResult, checked, text_problems
from provider.archive import Built, Member, built, walk
from provider.spaces_provider import ImmutableArchiveProvider

# What never belongs to a release: history, caches, local databases, local secrets.
LEFT_OUT = (
    ".git",
    ".hg",
    ".venv",
    "venv",
    "node_modules",
    "__pycache__",
    "*.pyc",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".DS_Store",
    "db.sqlite3*",
    ".env",
    ".env.*",
)
MAX_BYTES = 256 * 1024 * 1024


class ArtifactProvider(ImmutableArchiveProvider):
    """Upload the archive of a tree."""

    folder = "artifacts"
    sources = "app.path"
    described = ("bucket", "region", "path", "sha256", "key")

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse inputs that cannot be an artifact."""
        return checked(news, text_problems(news, "artifact", "bucket", "region", "path", "sha256", "key"))

    def built(self, props: dict[str, Any]) -> AbstractContextManager[Built]:
        """Build the archive of the tree."""
        return built(members(Path(props["path"])))


def members(path: Path) -> Iterator[Member]:
    """Yield what the archive of a tree holds: the same tree is the same members, wherever and whenever.

    Names are sorted; times, owners and all of the mode but the executable bit are left out.
    """
    size = 0
    for file in walk(path, LEFT_OUT):
        info = _entry(path, file)
        size += info.size
        if size > MAX_BYTES:
            raise ActionError(
                f"app.path: must be at most {MAX_BYTES >> 20} MiB, {path} is more (reached at {file}); "
                "keep uploads and data out of the app's directory"
            )
        yield Member(info, file) if info.isreg() else Member(info)


def _entry(root: Path, file: Path) -> tarfile.TarInfo:
    """Describe one file with nothing of this machine in it."""
    info = tarfile.TarInfo(file.relative_to(root).as_posix())
    status = file.lstat()
    if stat.S_ISLNK(status.st_mode):
        target = file.readlink()
        if target.is_absolute() or not (file.parent / target).resolve().is_relative_to(root.resolve()):
            raise ActionError(
                f"app.path: a link must stay inside the app, {file} leads to {target}; copy what it leads to"
            )
        info.type = tarfile.SYMTYPE
        info.linkname = target.as_posix()
        info.mode = 0o777
    elif stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
        info.mode = 0o755
    elif stat.S_ISREG(status.st_mode):
        info.size = status.st_size
        info.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
    else:
        raise ActionError(f"app.path: must hold files, directories and links only, {file} is none of them; remove it")
    return info
