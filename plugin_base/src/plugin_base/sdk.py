"""The SDK's generated protocol classes without the rest of the SDK."""

import sys
import types
from importlib.machinery import PathFinder
from pathlib import Path


def spare_the_sdk() -> None:
    """Make the protocol classes importable without the rest of `pulumi`; call it before anything else imports that.

    They need nothing of it, and it takes 0.2 s to import, which each preview would pay. Where the SDK's layout is
    another one than expected, nothing is changed and the whole SDK gets imported.
    """
    spec = PathFinder.find_spec("pulumi")
    if spec is None or not spec.submodule_search_locations:
        return
    root = Path(spec.submodule_search_locations[0])
    if not (root / "runtime" / "proto" / "provider_pb2_grpc.py").exists():
        return
    for name, folder in (
        ("pulumi", root),
        ("pulumi.runtime", root / "runtime"),
        ("pulumi.runtime.proto", root / "runtime" / "proto"),
    ):
        hollow = types.ModuleType(name)
        hollow.__path__ = [str(folder)]
        sys.modules[name] = hollow
