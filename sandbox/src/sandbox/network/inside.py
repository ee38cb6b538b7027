"""A way into a network namespace for a piece of Python; commands go by `network.in_namespace`."""

import ctypes
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sandbox.network.namespaces import NETNS_FOLDER
from sandbox.world.world import WorldError

_CLONE_NEWNET = 0x40000000  # linux/sched.h; os.setns exists from Python 3.12 on

Result = TypeVar("Result")


def call(namespace: str, function: Callable[[], Result]) -> Result:
    """Call a function in a thread of its own whose sockets belong to the namespace.

    What it raises is raised here.
    """

    def entered() -> Result:
        enter(namespace)
        return function()

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(entered).result()


def listens(namespace: str, address: str, port: int) -> bool:
    """Whether something in the namespace accepts TCP connections there."""

    def connect() -> bool:
        with socket.socket() as connection:
            connection.settimeout(1)
            return connection.connect_ex((address, port)) == 0

    return call(namespace, connect)


def enter(namespace: str) -> None:
    """Make the sockets that this thread opens from now on those of the namespace."""
    path = NETNS_FOLDER / namespace
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if libc.setns(descriptor, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise WorldError(f"{path}: can't enter the network namespace: {os.strerror(number)}; root is needed")
    finally:
        os.close(descriptor)
