"""The agent's package: what every Droplet runs beside the app, as one archive for each content.

Its hash is in the user data, so another hash replaces every Droplet: the bytes depend on the sources alone, not on the
Python that packs them, the machine, or the way in which the clone was made.
"""

import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from protocol.package import package_key
from provider.actions import ActionError, CheckResult, DiffResult, checked, report, text_problems
from provider.uploads.archive import Built, Form, Member, built, digest, walk
from provider.uploads.spaces_provider import ImmutableArchiveProvider

ROOT = Path(__file__).resolve().parents[2]
# Readable by any tar: the Droplet's programs have plain, short names.
FORM: Form = tarfile.USTAR_FORMAT
# What Python and editors leave behind, and systems (.DS_Store).
LEFT_OUT = (".*", "__pycache__", "*.pyc")
MAIN = b"import sys\n\nfrom agent.__main__ import main\n\nsys.exit(main())\n"


class Sources(NamedTuple):
    """The folders of the Python packages `agent` and `protocol`."""

    agent: Path = ROOT / "cloud-init" / "agent"
    protocol: Path = ROOT / "protocol"


SOURCES = Sources()


class AgentPackageProvider(ImmutableArchiveProvider):
    """Upload the package, also when it is not there any more: without it no new Droplet can start its agent."""

    folder = "agents"
    sources = "cloud-init/agent and protocol"

    def __init__(self, sources: Sources = SOURCES) -> None:
        self._sources = sources

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse inputs that cannot be a package."""
        return checked(news, text_problems(news, "agent package", "bucket", "region", "sha256", "key"))

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Compare the digest; in an update, look whether the object is still there, too."""
        result = super().diff(id_, olds, news)
        return DiffResult(changes=True) if not result.changes and news["look"] and self._gone(news) else result

    def _gone(self, props: dict[str, Any]) -> bool:
        """Tell whether the object is missing; not when nobody can tell: Spaces being away must not stop an update."""
        try:
            return not self.spaces(props["region"]).exists(props["bucket"], props["key"])
        except ActionError as error:
            report(f"taken to be there: {error}")
            return False

    def built(self, props: dict[str, Any]) -> AbstractContextManager[Built]:  # noqa: ARG002 - always of these sources
        """Build the package."""
        return built(members(self._sources), FORM)


def describe(sources: Sources = SOURCES) -> tuple[str, str]:
    """Return the package's SHA-256 and its key."""
    sha256 = digest(members(sources), FORM)
    return sha256, package_key(sha256)


def members(sources: Sources = SOURCES) -> Iterator[Member]:
    """Yield what the package holds: `python3 <the package's folder>` runs the agent's main()."""
    yield _file("__main__.py", MAIN)
    for name, folder in sources._asdict().items():
        if not (folder / "__init__.py").is_file():
            raise ActionError(f"{folder}: must be the Python package `{name}`, is not; `git checkout` it")
        yield _folder(name)
        for source in walk(folder, LEFT_OUT):
            path = f"{name}/{source.relative_to(folder).as_posix()}"
            if source.is_symlink() or not (source.is_dir() or (source.is_file() and source.suffix == ".py")):
                raise ActionError(f"{source}: must be a .py file, the agent's package holds nothing else; remove it")
            if source.is_dir():
                yield _folder(path)
            else:
                # A clone with core.autocrlf has other ends of lines.
                yield _file(path, source.read_bytes().replace(b"\r\n", b"\n"))


def _folder(path: str) -> Member:
    info = tarfile.TarInfo(path)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return Member(info)


def _file(path: str, content: bytes) -> Member:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(content), 0o644
    return Member(info, content)
