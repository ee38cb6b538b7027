import hashlib
import io
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.actions import ActionError
from provider.uploads.archive import CHUNK, Form, Member, built, chunks, digest

MIB = 1024 * 1024
FORMS: list[Form] = [tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT]


def entry(name: str, content: Path | bytes = b"") -> Member:
    """A file with what it holds."""
    info = tarfile.TarInfo(name)
    info.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    return Member(info, content)


@pytest.mark.parametrize("form", FORMS)
@given(contents=st.dictionaries(st.from_regex(r"[a-z]{1,60}(/[a-z]{1,60})?", fullmatch=True), st.binary(max_size=1500)))
def test_it_is_the_archive_of_the_standard_library(form: Form, contents: dict[str, bytes]) -> None:
    """What is made piece by piece is what its TarFile makes with all of it in memory."""
    expected = io.BytesIO()
    with tarfile.open(fileobj=expected, mode="w", format=form) as archive:
        for name, content in contents.items():
            archive.addfile(entry(name, content).info, io.BytesIO(content))
    members = [entry(name, content) for name, content in contents.items()]
    assert b"".join(chunks(members, form)) == expected.getvalue()


def test_links_and_folders_have_no_content() -> None:
    """Only their header."""
    folder, link = tarfile.TarInfo("folder"), tarfile.TarInfo("link")
    folder.type, link.type, link.linkname = tarfile.DIRTYPE, tarfile.SYMTYPE, "folder/file"
    body = b"".join(chunks([Member(folder), Member(link), entry("folder/file", b"x")]))
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:") as archive:
        assert [(one.name, one.type, one.linkname) for one in archive] == [
            ("folder", tarfile.DIRTYPE, ""),
            ("link", tarfile.SYMTYPE, "folder/file"),
            ("folder/file", tarfile.REGTYPE, ""),
        ]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_the_digest_is_that_of_the_file(tmp_path: Path, size: int) -> None:
    """With and without a file, at the edges of blocks and pieces; the file is at its start, and gone afterwards."""
    source = tmp_path / "source"
    source.write_bytes(b"x" * size)
    members = [entry("one", source), entry("two", b"2")]
    with built(members) as archive:
        body = archive.file.read()
    assert archive.file.closed
    assert (len(body), hashlib.sha256(body).hexdigest()) == (archive.size, archive.sha256)
    assert digest(members) == archive.sha256
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:") as read:
        assert [one.size for one in read] == [size, 1]


def peak(work: Iterator[object]) -> int:
    """The bytes that were allocated at once while something was consumed."""
    tracemalloc.start()
    try:
        for _ in work:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_large_tree_takes_no_memory(tmp_path: Path) -> None:
    """Neither 100 MiB in one file nor thousands of entries are kept, by the digest and by the file."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(100 * MIB)

    def members() -> Iterator[Member]:
        yield entry("large", large)
        for number in range(5000):
            yield entry(f"small/{number}", b"x" * 100)

    def work() -> Iterator[object]:
        yield digest(members())
        with built(members()) as archive:
            yield archive.size

    assert peak(work()) < 2 * MIB
    with built(members()) as archive:
        assert archive.size > 100 * MIB


@pytest.mark.parametrize("now", [b"", b"12", b"1234"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, now: bytes) -> None:
    """The archive would end in the middle of it, or lack what was appended."""
    source = tmp_path / "source"
    source.write_bytes(b"123")
    member = entry("one", source)
    source.write_bytes(now)
    with pytest.raises(ActionError, match=f"{source}: must not change while it is read, it did; run the command again"):
        digest([member])


@pytest.mark.parametrize(("name", "why"), [("é.py", "can't encode"), ("x" * 101, "too long"), ("x/" * 200, "too long")])
def test_a_name_that_plain_ustar_does_not_have_is_refused(name: str, why: str) -> None:
    """Readers guess what it is; the extended form says it."""
    with pytest.raises(
        ActionError, match=rf"{name}: must fit into the archive's header, .*{why}.*; give it another name"
    ):
        digest([entry(name)], tarfile.USTAR_FORMAT)
    body = io.BytesIO(b"".join(chunks([entry(name)])))
    with tarfile.open(fileobj=body, mode="r:") as archive:
        assert archive.getnames() == [name.rstrip("/")]
