"""The plugin's process: it serves the engine that started it, and ends with it."""

import ctypes
import logging
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2_grpc

from plugin_base.service import Service

WORKERS = 64  # operations at a time; the engine's default --parallel is lower
ENGINE_CHECK = 1.0  # seconds between looks whether the engine still lives
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with(parent: int, service: Service) -> None:
    """Let the kernel say at once when the engine is gone, where it can (Linux); else it is looked for.

    It says so too when only the thread that started this process ends: so the signal is a reason to look, no more.
    """
    if sys.platform != "linux":
        return
    signal.signal(signal.SIGUSR1, lambda *_: service.end() if os.getppid() != parent else None)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGUSR1)


def serve(service: Service) -> None:
    """Serve on a free loopback port until the engine ends the process or is gone itself; does not return."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")  # to stderr, which the engine shows
    parent = os.getppid()
    # How the engine ends its plugins, which have process groups of their own: Ctrl-C arrives as a Cancel request.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: service.end())
    end_with(parent, service)
    server = grpc.server(
        ThreadPoolExecutor(WORKERS),
        options=(("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)),
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)  # noqa: T201 -- how the engine learns the port
    while not service.ended.wait(ENGINE_CHECK):
        if os.getppid() != parent:  # the engine was killed: nobody will ever end this process
            service.end()
    server.stop(grace=None)
    sys.stderr.flush()
    # At once: an answer that is still being waited for, up to a minute, has nobody left to hear it.
    os._exit(0)
