"""Tar archives by streaming: the same members are the same bytes, on every machine and Python, in constant memory."""

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Literal, NamedTuple

from provider.actions import ActionError

CHUNK = 64 * 1024  # bytes that are in memory at once
CONTENT_TYPE = "application/x-tar"
# tarfile.USTAR_FORMAT, of the oldest readers; tarfile.PAX_FORMAT, for names of any length and language.
Form = Literal[0, 2]


class Member(NamedTuple):
    """An entry and what is in it: a file to read from, or the bytes."""

    info: tarfile.TarInfo
    content: Path | bytes = b""


class Built(NamedTuple):
    """A whole archive in a temporary file, at its start."""

    file: IO[bytes]
    size: int  # bytes
    sha256: str


def chunks(members: Iterable[Member], form: Form = tarfile.PAX_FORMAT) -> Iterator[bytes]:
    """Yield the archive piece by piece.

    Each entry is written by itself: a TarFile remembers all of them, so its memory would grow with their number.
    """
    written = 0
    for info, content in members:
        yield (header := _header(info, form))
        if isinstance(content, bytes):
            yield content
        else:
            yield from _pieces(content, info.size)
        yield (padding := bytes(-info.size % tarfile.BLOCKSIZE))
        written += len(header) + info.size + len(padding)
    # Two empty blocks are the end, and an archive is whole records long.
    end = 2 * tarfile.BLOCKSIZE
    yield bytes(end + -(written + end) % tarfile.RECORDSIZE)


def digest(members: Iterable[Member], form: Form = tarfile.PAX_FORMAT) -> str:
    """Return the archive's SHA-256 without keeping its bytes."""
    sha256 = hashlib.sha256()
    for chunk in chunks(members, form):
        sha256.update(chunk)
    return sha256.hexdigest()


@contextmanager
def built(members: Iterable[Member], form: Form = tarfile.PAX_FORMAT) -> Iterator[Built]:
    """Build the archive into a temporary file, which is gone afterwards."""
    sha256 = hashlib.sha256()
    with tempfile.TemporaryFile() as file:
        for chunk in chunks(members, form):
            file.write(chunk)
            sha256.update(chunk)
        size = file.tell()
        file.seek(0)
        yield Built(file, size, sha256.hexdigest())


def walk(root: Path, left_out: Sequence[str]) -> Iterator[Path]:
    """Yield what is in a tree, in an order that does not depend on the file system, a directory before what is in it.

    Names that match one of the patterns are left out, and a directory in which nothing is left: git does not know it,
    so another checkout would not have it.
    """
    for file in sorted(root.iterdir(), key=lambda file: os.fsencode(file.name)):
        if any(fnmatchcase(file.name, pattern) for pattern in left_out):
            continue
        if file.is_dir() and not file.is_symlink():
            inside = walk(file, left_out)
            if (first := next(inside, None)) is not None:
                yield file
                yield first
                yield from inside
        else:
            yield file


def _header(info: tarfile.TarInfo, form: Form) -> bytes:
    """Return an entry's header; what ustar does not define (a name that is not ASCII) is refused in that form."""
    encoding, errors = ("ascii", "strict") if form == tarfile.USTAR_FORMAT else ("utf-8", "surrogateescape")
    try:
        return info.tobuf(form, encoding, errors)
    except ValueError as error:
        raise ActionError(f"{info.name}: must fit into the archive's header, {error}; give it another name") from None


def _pieces(file: Path, size: int) -> Iterator[bytes]:
    """Read a file of a known size."""
    left = size
    with file.open("rb") as content:
        while left and (piece := content.read(min(CHUNK, left))):
            left -= len(piece)
            yield piece
        if left or content.read(1):
            raise ActionError(f"{file}: must not change while it is read, it did; run the command again")
