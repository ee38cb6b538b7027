"""Ctrl-C while a provider waits: the wait ends at once, and the next update goes on from there.

The engine asks every provider to cancel, but Pulumi's host of dynamic providers answers that request without telling
the provider (`Cancel` in pulumi/dynamic/__main__.py), so that an interrupted update would go on until the deadline of
the longest wait. Its method is bound before a provider is loaded, so the function's code is exchanged, not the
function.
"""

import sys
import threading
from typing import Any

from dynamic import ActionError

HOST = "DynamicResourceProviderServicer"  # of the module that the host runs as

_asked = threading.Event()


def _cancel(_servicer: object, _request: object, _context: object) -> Any:  # noqa: ANN401  # the host's own answer
    """Run as the host's method, with the host's global names: whatever else is needed is imported here."""
    from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]

    from dynamic import interruption  # noqa: PLW0406  # the code runs in another module

    interruption.interrupt()
    return Empty()


def listen(host: object) -> None:
    """Hear of the engine's request; a module that is no host (the program, a test) is left alone."""
    servicer = getattr(host, HOST, None)
    if servicer is not None:
        servicer.Cancel.__code__ = _cancel.__code__


def interrupt() -> None:
    """End every wait of this process, now and later."""
    _asked.set()


def pause(seconds: float) -> None:
    """Sleep; raises ActionError when the update is interrupted."""
    if _asked.wait(seconds):
        raise ActionError("interrupted while waiting; run `pulumi up` again, it goes on from there")


listen(sys.modules["__main__"])
