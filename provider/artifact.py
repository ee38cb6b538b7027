"""The app's tree as one deterministic archive, uploaded once per content."""

import binascii
import hashlib
import io
import os
import stat
import struct
import tarfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from provider.actions import ActionError, CheckResult, checked, report, text_problems
from provider.spaces_provider import ImmutableObjectProvider

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
# A deflate block that is only stored holds at most this much (RFC 1951, 3.2.4).
STORED_BLOCK = 0xFFFF


class ArtifactProvider(ImmutableObjectProvider):
    """Upload the archive of a tree."""

    folder = "artifacts"
    digest = "sha256"

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse inputs that cannot be an artifact."""
        return checked(news, text_problems(news, "artifact", "bucket", "region", "path", "sha256", "key"))

    def upload(self, props: dict[str, Any]) -> dict[str, Any]:
        """Upload it and return what describes it."""
        spaces = self.spaces(props["region"])
        if not spaces.exists(props["bucket"], props["key"]):
            body, sha256 = build(Path(props["path"]))
            if sha256 != props["sha256"]:
                raise ActionError(
                    f"app.path: must not change during the update, {props['path']} was {props['sha256'][:8]} and is "
                    f"{sha256[:8]}; run `pulumi up` again"
                )
            report(f"uploading {props['key']}, {len(body) / 2**20:.1f} MiB")
            spaces.put(props["bucket"], props["key"], body, "application/gzip")
        return {name: props[name] for name in ("bucket", "region", "path", "sha256", "key")}


def build(path: Path) -> tuple[bytes, str]:
    """Return the tree as a tar.gz and its SHA-256: the same tree is the same bytes, wherever and whenever.

    Names are sorted; times, owners and all of the mode but the executable bit are left out.
    """
    tar = io.BytesIO()
    size = 0
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in _members(path):
            info = _member(path, file)
            size += info.size
            if size > MAX_BYTES:
                raise ActionError(
                    f"app.path: must be at most {MAX_BYTES >> 20} MiB, {path} is more (reached at {file}); "
                    "keep uploads and data out of the app's directory"
                )
            if info.isreg():
                with file.open("rb") as content:
                    archive.addfile(info, content)
            else:
                archive.addfile(info)
    body = stored_gzip(tar.getvalue())
    return body, hashlib.sha256(body).hexdigest()


def stored_gzip(content: bytes) -> bytes:
    """Wrap the content as gzip without compressing it.

    What deflate makes of the same input differs between zlib, zlib-ng and Apple's, and between their versions; a
    release would then change with the machine that makes it. Source code is small: the certainty is worth the bytes.
    """
    # RFC 1952: magic, deflate, no flags, no time, no hint about the compression, unknown system.
    parts = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"]
    starts = range(0, len(content), STORED_BLOCK) or [0]
    for start in starts:
        block = content[start : start + STORED_BLOCK]
        final = start + STORED_BLOCK >= len(content)
        parts += [struct.pack("<BHH", final, len(block), len(block) ^ 0xFFFF), block]
    parts.append(struct.pack("<II", binascii.crc32(content), len(content) & 0xFFFFFFFF))
    return b"".join(parts)


def _members(root: Path) -> Iterator[Path]:
    """Walk the tree in an order that does not depend on the file system, a directory before what is in it.

    A directory with nothing to release is left out: git does not know it, so another checkout would not have it.
    """
    for file in sorted(root.iterdir(), key=lambda file: os.fsencode(file.name)):
        if any(fnmatchcase(file.name, pattern) for pattern in LEFT_OUT):
            continue
        if file.is_dir() and not file.is_symlink():
            inside = list(_members(file))
            yield from [file, *inside] if inside else []
        else:
            yield file


def _member(root: Path, file: Path) -> tarfile.TarInfo:
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


def artifact_key(sha256: str) -> str:
    """Return the object's key for a digest."""
    return f"artifacts/{sha256}.tar.gz"
