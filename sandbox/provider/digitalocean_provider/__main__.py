"""Start the plugin: refuse outside a sandbox, print the port, serve until the engine is done."""

import sys
import types
from importlib.machinery import PathFinder
from pathlib import Path

from digitalocean_provider.guard import refusal


def spare_the_sdk() -> None:
    """Make the SDK's generated protocol classes importable without the rest of `pulumi`.

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


def main() -> None:
    """Serve the engine whose address is the first argument."""
    if problem := refusal():
        sys.exit(f"pulumi-resource-digitalocean (sandbox): {problem}")
    spare_the_sdk()
    from digitalocean_provider.plugin import serve  # noqa: PLC0415 -- after the SDK is spared

    serve(engine=sys.argv[1] if len(sys.argv) > 1 else "")


if __name__ == "__main__":
    main()
