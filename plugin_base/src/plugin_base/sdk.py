"""Parts of generated SDKs without the rest, which takes most of the time of an import."""

import gc
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
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
        sys.modules[name] = _hollow(name, str(folder))


@contextmanager
def parts_of(package: str) -> Iterator[None]:
    """Let modules of a package be imported without the package's own, which imports all of them.

    Afterwards the package is imported as ever, with the modules that are there. One that was imported before, or can't
    be found, is left as it is.
    """
    spec = PathFinder.find_spec(package)
    if package in sys.modules or spec is None or not spec.submodule_search_locations:
        yield
        return
    sys.modules[package] = _hollow(package, *spec.submodule_search_locations)
    # Classes by the hundred, all of which stay: Python need not look for garbage among them, now or later.
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        del sys.modules[package]


def _hollow(name: str, *folders: str) -> types.ModuleType:
    """Make a package that has modules and nothing else."""
    module = types.ModuleType(name)
    module.__path__ = list(folders)
    return module
