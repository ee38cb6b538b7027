"""Which ports of a host answer, from where this runs: python3 scan.py HOST. Standard library and root only.

Prints JSON: `open` and `refused` TCP ports of all 65535, by half-open connections, and the well-known UDP ports that
answered in any way. What is not listed gave no answer: there was a wall.
"""

import json
import os
import select
import socket
import struct
import sys
from collections.abc import Iterator

OUR_PORT = 40000 + os.getpid() % 20000  # scans at the same time must not be taken for each other
ROUNDS = 2  # a packet may get lost
PATIENCE = 0.5  # seconds after the last packet
SYN, RST, ACK = 0x02, 0x04, 0x10
UDP_PORTS = (
    *(7, 19, 53, 67, 68, 69, 80, 111, 123, 137, 138, 161, 162, 389, 443, 500, 514, 520, 623, 1194, 1434, 1900),
    *(3478, 4500, 5060, 5353, 5355, 8125, 11211, 51820),
)


def tcp(host: str) -> dict[str, list[int]]:
    """Open and refused TCP ports."""
    answers: dict[int, str] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        raw.connect((host, 0))
        ends = socket.inet_aton(raw.getsockname()[0]) + socket.inet_aton(host)
        for _ in range(ROUNDS):
            for port in range(1, 2**16):
                if port not in answers:
                    raw.send(_syn(ends, port))
                if port % 32 == 0:
                    answers |= _answers(raw, 0)
            answers |= _answers(raw, PATIENCE)
    return {kind: sorted(port for port, found in answers.items() if found == kind) for kind in ("open", "refused")}


def _syn(ends: bytes, port: int) -> bytes:
    """Make a packet that asks for a connection."""

    def header(checksum: int) -> bytes:
        return struct.pack("!HHIIBBHHH", OUR_PORT, port, 1, 0, 5 << 4, SYN, 64240, checksum, 0)

    total = sum(struct.unpack("!16H", ends + struct.pack("!HH", socket.IPPROTO_TCP, 20) + header(0)))
    total = (total & 0xFFFF) + (total >> 16)
    return header(~(total + (total >> 16)) & 0xFFFF)


def _answers(raw: socket.socket, patience: float) -> Iterator[tuple[int, str]]:
    """Read what has come, until nothing comes for so many seconds."""
    while select.select([raw], [], [], patience)[0]:
        packet = raw.recv(2048)
        segment = packet[(packet[0] & 15) * 4 :]
        port, ours = struct.unpack_from("!HH", segment)
        if ours == OUR_PORT and segment[13] & (SYN | ACK) == SYN | ACK:
            yield port, "open"
        elif ours == OUR_PORT and segment[13] & RST:
            yield port, "refused"


def udp(host: str) -> list[int]:
    """UDP ports that sent something back, be it that nobody is there."""
    sockets = {socket.socket(socket.AF_INET, socket.SOCK_DGRAM): port for port in UDP_PORTS}
    for sender, port in sockets.items():
        sender.connect((host, port))
        sender.send(b"\0" * 48)
    found = []
    while readable := select.select([*sockets], [], [], PATIENCE)[0]:
        for sender in readable:
            found.append(sockets.pop(sender))
            sender.close()
    for silent in sockets:
        silent.close()
    return sorted(found)


if __name__ == "__main__":
    json.dump(tcp(sys.argv[1]) | {"udp": udp(sys.argv[1])}, sys.stdout)
