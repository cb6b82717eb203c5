"""Addresses put into sets of nf_tables by netlink: a few messages per batch, whatever else is in the set.

nft(8) reads a whole interval set before it adds to one; the kernel itself does not need that. The attributes are those
of linux/netfilter/nf_tables.h. Sets are those of `firewall.render.nftables`: IPv4 by single address, IPv6 by prefix.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

NETLINK_NETFILTER: Final = 12
_BATCH_BEGIN, _BATCH_END = 16, 17
_SUBSYSTEM: Final = 10
_NEW_ELEMENT: Final = _SUBSYSTEM << 8 | 12
_DELETE_ELEMENT: Final = _SUBSYSTEM << 8 | 14
_INET: Final = 1
_REQUEST, _ACK, _CREATE = 0x1, 0x4, 0x400
_ERROR: Final = 2
_NESTED: Final = 0x8000
_TABLE, _SET, _ELEMENTS = 1, 2, 3 | _NESTED
_ENTRY: Final = 1 | _NESTED
_KEY, _FLAGS, _TIMEOUT = 1 | _NESTED, 3, 4
_VALUE: Final = 1
_INTERVAL_END: Final = struct.pack(">I", 1)
_TABLE_NAME: Final = b"postreeve\0"
_PREFIX_OCTETS: Final = 8
_ANSWER_SECONDS: Final = 5
MOST_AT_ONCE: Final = 256
"""Entries of one message: its attribute may have 65,535 octets."""

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Entry:
    """An address to be banned for so long (0: for good), or, of IPv6, the /64 around it."""

    address: Address
    seconds: int


class SetProblem(OSError):
    """The kernel did not take a batch; nothing of it has happened."""


def key_of(address: Address) -> bytes:
    """What is banned together: one address of IPv4, a /64 of IPv6."""
    if isinstance(address, IPv4Address):
        return address.packed
    return address.packed[:_PREFIX_OCTETS] + bytes(16 - _PREFIX_OCTETS)


class Sets:
    """A netlink socket into the namespace that this process is in. Raises OSError where there is none."""

    __slots__ = ("_sequence", "_socket")

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        timeout = struct.pack("ll", _ANSWER_SECONDS, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        self._sequence = int.from_bytes(os.urandom(3), "little")

    def close(self) -> None:
        """No more."""
        self._socket.close()

    def fileno(self) -> int:
        """Of the socket."""
        return self._socket.fileno()

    def add(self, name: str, entries: Sequence[Entry]) -> None:
        """Put entries into a set, all or none; one that is there already keeps its time. Raises SetProblem."""
        self._transact(_NEW_ELEMENT, _REQUEST | _ACK | _CREATE, name, entries)

    def remove(self, name: str, entries: Sequence[Entry]) -> None:
        """Take entries out, all or none. Raises SetProblem with ENOENT when one is not there."""
        self._transact(_DELETE_ELEMENT, _REQUEST | _ACK, name, entries)

    def _transact(self, kind: int, flags: int, name: str, entries: Sequence[Entry]) -> None:
        parts = [self._message(_BATCH_BEGIN, _REQUEST, 0, _SUBSYSTEM, b"")]
        awaited = set()
        is_new = kind == _NEW_ELEMENT
        for start in range(0, len(entries), MOST_AT_ONCE):
            listed = b"".join(_describe(entry, is_new) for entry in entries[start : start + MOST_AT_ONCE])
            table, which = _attribute(_TABLE, _TABLE_NAME), _attribute(_SET, name.encode() + b"\0")
            parts.append(self._message(kind, flags, _INET, 0, table + which + _attribute(_ELEMENTS, listed)))
            awaited.add(self._sequence)
        parts.append(self._message(_BATCH_END, _REQUEST, 0, _SUBSYSTEM, b""))
        self._socket.send(b"".join(parts))
        self._await(awaited)

    def _message(self, kind: int, flags: int, family: int, resource: int, body: bytes) -> bytes:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        length = 20 + len(body)
        return (
            struct.pack("=IHHIIBB", length, kind, flags, self._sequence, 0, family, 0)
            + struct.pack(">H", resource)
            + body
        )

    def _await(self, awaited: set[int]) -> None:
        worst = 0
        while awaited:
            try:
                data = self._socket.recv(65_536)
            except BlockingIOError:
                raise SetProblem(errno.ETIMEDOUT, "the kernel does not answer") from None
            for sequence, code in _answers(data):
                if code and (sequence in awaited or self._is_of_batch(sequence)):
                    worst = worst or code
                awaited.discard(sequence)
            if worst:
                break
        if worst:
            self._drain()
            raise SetProblem(worst, os.strerror(worst))

    def _is_of_batch(self, sequence: int) -> bool:
        """The batch itself was refused: without the rights, at its first message."""
        return 0 <= self._sequence - sequence < 4096

    def _drain(self) -> None:
        while True:
            try:
                self._socket.recv(65_536, socket.MSG_DONTWAIT)
            except OSError:
                return


def _answers(data: bytes) -> Iterator[tuple[int, int]]:
    """Sequence number and errno of each answer."""
    at = 0
    while at + 20 <= len(data):
        length, kind, _, sequence, _ = struct.unpack_from("=IHHII", data, at)
        if kind == _ERROR:
            yield sequence, -struct.unpack_from("=i", data, at + 16)[0]
        at += (max(length, 16) + 3) & ~3


def _describe(entry: Entry, is_new: bool) -> bytes:
    key = key_of(entry.address)
    timeout = _attribute(_TIMEOUT, struct.pack(">Q", entry.seconds * 1000)) if is_new and entry.seconds else b""
    described = _attribute(_ENTRY, timeout + _value(key))
    if len(key) == 4:
        return described
    end = int.from_bytes(key, "big") + (1 << (8 * (16 - _PREFIX_OCTETS)))
    if end >> 128:
        return described
    return described + _attribute(_ENTRY, _attribute(_FLAGS, _INTERVAL_END) + _value(end.to_bytes(16, "big")))


def _value(key: bytes) -> bytes:
    return _attribute(_KEY, _attribute(_VALUE, key))


def _attribute(kind: int, body: bytes) -> bytes:
    length = 4 + len(body)
    return struct.pack("=HH", length, kind) + body + bytes(-length % 4)
