"""Which sockets of this machine listen, where a proxy at the machine's own address reaches them."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from pathlib import Path

TABLE_BYTES_MAX = 4 * 1024 * 1024
ANSWER_SECONDS_MAX = 1.0
_LISTEN = 10
_REACHED = frozenset(
    ipaddress.ip_address(text)
    for text in ("127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0")  # noqa: S104
)

# linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h
_NETLINK_SOCK_DIAG, _BY_FAMILY, _REQUEST_ALL = 4, 20, 0x301
_ERROR, _DONE = 2, 3
_HEAD = struct.Struct("=LHHLL")
_QUESTION = struct.Struct("=BBBxL48x")
_SOCKET = struct.Struct("=BBBB2s2x16s16xL8x4x4x4x4xL")


def listening_sockets(proc: Path = Path("/proc")) -> dict[int, int]:
    """Ports by inode of TCP sockets that listen on this machine's own address or on any."""
    found: dict[int, int] = {}
    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        try:
            found |= _asked(family)
        except (OSError, struct.error, ValueError):
            found |= _read(proc / "self" / "net" / table)  # some sandboxes answer no such question
    return found


def _asked(family: int) -> dict[int, int]:
    """Asks the kernel for those that listen alone: its table is written by going through every connection there is."""
    found: dict[int, int] = {}
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 1 << _LISTEN)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as link:
        link.settimeout(ANSWER_SECONDS_MAX)
        link.sendto(_HEAD.pack(_HEAD.size + len(question), _BY_FAMILY, _REQUEST_ALL, 1, 0) + question, (0, 0))
        while True:
            data = link.recv(64 * 1024)
            while data:
                length, kind, *_ = _HEAD.unpack_from(data)
                if kind == _DONE:
                    return found
                if kind == _ERROR or length < _HEAD.size:
                    raise OSError("the kernel does not answer")
                of, state, _, _, port, address, _, inode = _SOCKET.unpack_from(data, _HEAD.size)
                raw = address[:4] if of == socket.AF_INET else address
                if of == family and state == _LISTEN and ipaddress.ip_address(raw) in _REACHED:
                    found[inode] = int.from_bytes(port, "big")
                data = data[(length + 3) & ~3 :]


def _read(table: Path) -> dict[int, int]:
    found: dict[int, int] = {}
    try:
        with open(table, encoding="ascii") as file:
            lines = file.read(TABLE_BYTES_MAX).splitlines()[1:]
    except (OSError, ValueError):
        return found
    for line in lines:
        fields = line.split()
        if len(fields) > 9 and fields[3] == f"{_LISTEN:02X}":
            address, _, port = fields[1].partition(":")
            if _is_reached(address):
                found[int(fields[9])] = int(port, 16)
    return found


def _is_reached(text: str) -> bool:
    """Whether an address is this machine's own; the kernel writes words of 4 bytes in the machine's order."""
    try:
        raw = bytes.fromhex(text)
        words = [raw[i : i + 4] for i in range(0, len(raw), 4)]
        if sys.byteorder == "little":
            words = [word[::-1] for word in words]
        return ipaddress.ip_address(b"".join(words)) in _REACHED
    except ValueError:
        return False
