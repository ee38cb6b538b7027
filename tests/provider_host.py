"""Pulumi's own host of dynamic providers in a process of its own, asked and ended as the engine does it."""

import os
import subprocess
import sys

from tests.commands import ROOT

# What the engine does: it starts the host as Pulumi does, lets it load a provider's module, and ends it.
ENGINE = """
import os, runpy, signal, sys, threading, time
import grpc
from google.protobuf.empty_pb2 import Empty

def engine(port):
    import dynamic.interruption as interruption
    interruption.listen(sys.modules["__main__"])
    from pulumi.runtime.proto import provider_pb2_grpc
    stub = provider_pb2_grpc.ResourceProviderStub(grpc.insecure_channel(f"127.0.0.1:{port}"))
    end(interruption, stub)

class Port:
    def write(self, line):
        threading.Thread(target=engine, args=(int(line),), daemon=True).start()

class Stdout:
    buffer = Port()
    def flush(self):
        pass

sys.stdout = Stdout()
runpy.run_module("pulumi.dynamic", run_name="__main__", alter_sys=True)
"""


def host_ended_by(end: str) -> subprocess.CompletedProcess[str]:
    """Run the host until it is ended, which must not take a minute; `end` defines end(interruption, stub)."""
    return subprocess.run(
        [sys.executable, "-c", end + ENGINE],
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
