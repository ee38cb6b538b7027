"""How the host of dynamic providers ends: at Ctrl-C at once, and at the end of every command.

Ctrl-C while a provider waits: the wait ends at once, and the next update goes on from there. The engine asks every
provider to cancel, but Pulumi's host of dynamic providers answers that request without telling the provider (`Cancel`
in pulumi/dynamic/__main__.py), so that an interrupted update would go on until the deadline of the longest wait. Its
method is bound before a provider is loaded, so the function's code is exchanged, not the function.

The end of a command: the engine interrupts its plugins one after the other, and has 5 seconds for all of them together
(ReleaseContext in pulumi's pkg/host/host.go). The host's main thread waits for that signal, but Linux may let another
thread handle it (about one in 500, measured on a busy machine), which wakes nobody. The engine then waits its
5 seconds, calls the next plugin one that "exited prematurely", and the command has failed. So the signal is sent to the
main thread too.
"""

import faulthandler
import os
import signal
import sys
import threading
import time
from typing import Any

from dynamic import ActionError

HOST = "DynamicResourceProviderServicer"  # of the module that the host runs as

END = 1.0  # seconds for the main thread to end the process, which takes it about 0.05

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
        if sys.platform != "win32":
            _send_again()


def _send_again() -> None:
    """Interrupt the main thread a second time where the first did not wake it.

    Only the main thread may set a Python handler, and providers are loaded in another; faulthandler sets its own from
    any thread and writes in it, which is how the thread here hears of the signal.
    """
    heard, said = os.pipe()
    faulthandler.register(signal.SIGINT, said, all_threads=False, chain=True)

    def interrupt_main() -> None:
        os.read(heard, 1)
        time.sleep(END)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt_main, daemon=True).start()


def interrupt() -> None:
    """End every wait of this process, now and later."""
    _asked.set()


def pause(seconds: float) -> None:
    """Sleep; raises ActionError when the update is interrupted."""
    if _asked.wait(seconds):
        raise ActionError("interrupted while waiting; run `pulumi up` again, it goes on from there")


listen(sys.modules["__main__"])
