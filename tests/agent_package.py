"""The agent's package as a Droplet gets it, made of the files of this clone."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
START = ROOT / "cloud-init" / "start.py"


def package(changes: Mapping[str, bytes] | None = None) -> bytes:
    """Return the archive, with some files changed."""
    places = [(ROOT / "cloud-init", "agent"), (ROOT, "protocol")]
    sources = [file for above, folder in places for file in (above / folder).glob("*.py")]
    files = {f"{file.parent.name}/{file.name}": file.read_bytes() for file in sources} | dict(changes or {})
    return archive(files)


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return a tar archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            tar.addfile(member, io.BytesIO(files[name]))
    return packed.getvalue()
