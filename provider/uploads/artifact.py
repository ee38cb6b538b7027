"""The app's tree as one deterministic archive, uploaded once per content."""

import stat
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from provider.actions import ActionError, CheckResult, checked, text_problems
from provider.uploads.archive import Built, Member, built
from provider.uploads.project_files import ProjectFiles, project_files
from provider.uploads.spaces_provider import ImmutableArchiveProvider


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
        return built(members(project_files(Path(props["path"]), props.get("exclude", ()), props.get("include", ()))))


def members(files: ProjectFiles) -> Iterator[Member]:
    """Yield what the archive of a tree holds: the same files are the same members, wherever and whenever.

    Names are sorted; times, owners and all of the mode but the executable bit are left out.
    """
    if files.problems:
        raise ActionError("\n".join(files.problems))
    for name in files.names:
        file = files.root / name
        info = _entry(name, file)
        yield Member(info, file) if info.isreg() else Member(info)


def _entry(name: str, file: Path) -> tarfile.TarInfo:
    """Describe one file with nothing of this machine in it."""
    info = tarfile.TarInfo(name)
    status = file.lstat()
    if stat.S_ISLNK(status.st_mode):
        info.type = tarfile.SYMTYPE
        info.linkname = file.readlink().as_posix()
        info.mode = 0o777
    elif stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
        info.mode = 0o755
    else:
        info.size = status.st_size
        info.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
    return info
