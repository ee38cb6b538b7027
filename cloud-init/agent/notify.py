"""What systemd wants to hear from a service: sd_notify(3)."""

import os
import socket


def notify(message: str) -> None:
    """Send a message, such as READY=1 or WATCHDOG=1; without systemd there is nobody to tell."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.sendall(message.encode())


def alive() -> None:
    """Tell the watchdog that this program gets on with its work."""
    notify("WATCHDOG=1")
