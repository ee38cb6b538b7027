"""The agent's package as `pulumi up` uploads it, whole or spoilt."""

import io
import tarfile
from collections.abc import Mapping

from provider.uploads.agent_package import FORM, ROOT, members
from provider.uploads.archive import chunks

START = ROOT / "cloud-init" / "start.py"


def package(changes: Mapping[str, bytes] | None = None) -> bytes:
    """Return the archive, with more files or other content of some."""
    whole = b"".join(chunks(members(), FORM))
    if not changes:
        return whole
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        files = {name: file.read() for name in tar.getnames() if (file := tar.extractfile(name))}
    return archive(files | dict(changes))


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return a tar archive of files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            tar.addfile(member, io.BytesIO(files[name]))
    return packed.getvalue()
