"""Which sockets that listen at `::` take IPv4 too, by the kernel's sock_diag (linux/inet_diag.h): /proc is silent."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Final

_SOCK_DIAG: Final = 4
_BY_FAMILY: Final = 20
_REQUEST_DUMP: Final = 0x301
_ERROR, _DONE = 2, 3
_LISTEN: Final = 1 << 10
_V6ONLY: Final = 11
_HEADER: Final = struct.Struct("=IHHII")
_FIXED: Final = 72
_INODE_AT: Final = 68
_SOURCE: Final = slice(8, 24)
_SECONDS: Final = 5.0
_MOST_ANSWERS: Final = 10_000


def find_dual_stack() -> frozenset[str]:
    """Their inodes, as /proc/net/tcp6 has them. Nothing where the kernel cannot be asked."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as diag:
            diag.settimeout(_SECONDS)
            body = struct.pack("=BBBBI", socket.AF_INET6, socket.IPPROTO_TCP, 0, 0, _LISTEN) + bytes(48)
            diag.send(_HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + body)
            return frozenset(_answers(diag))
    except OSError:
        return frozenset()


def _answers(diag: socket.socket) -> Iterator[str]:
    for _ in range(_MOST_ANSWERS):
        data, at = diag.recv(65_536), 0
        while at + _HEADER.size <= len(data):
            length, kind, *_ = _HEADER.unpack_from(data, at)
            if kind in (_DONE, _ERROR) or length < _HEADER.size:
                return
            message = data[at + _HEADER.size : at + length]
            if kind == _BY_FAMILY and len(message) >= _FIXED and not any(message[_SOURCE]) and _is_dual(message):
                yield str(struct.unpack_from("=I", message, _INODE_AT)[0])
            at += (length + 3) & ~3


def _is_dual(message: bytes) -> bool:
    at = _FIXED
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if kind == _V6ONLY and length >= 5:
            return not message[at + 4]
        at += (max(length, 4) + 3) & ~3
    return False
