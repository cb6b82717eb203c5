"""The process that puts banned addresses into the firewall's sets, and the line that the server asks it by.

The server gives up the rights of root; this process keeps one of them (CAP_NET_ADMIN) and does one thing. It reads
lines from a pipe, at most 64 octets each, and believes nothing else:

    add 192.0.2.1 3600
    remove 2001:db8::1

Addresses that are protected (our own, relay networks, proxies, smarthosts, who is logged in by SSH) are never banned,
whatever the server asks. What waits is bounded; under attack it is put into the kernel in batches. What is banned is in
the kernel alone: when the process dies another goes on, and bans end by themselves.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import select
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from postreeve.enforce.netlink import Address, Entry, key_of
from postreeve.firewall.flow import Network

MAX_LINE_OCTETS: Final = 64
MAX_SECONDS: Final = 30 * 86_400
MAX_WAITING: Final = 4_096
_LINE: Final = re.compile(rb"(add|remove) ([0-9a-fA-F.:]{2,39})(?: ([1-9][0-9]{0,6}))?")
_READ_OCTETS: Final = 65_536
_SET_NAMES: Final = {4: "bans4", 6: "bans6"}
_THERE_ALREADY: Final = (errno.EEXIST, errno.ENOTEMPTY)
_SSH_SECONDS: Final = 1.0


class Wish(Enum):
    """What a line asks for."""

    ADD = "add"
    REMOVE = "remove"


class SetWriter(Protocol):
    """`netlink.Sets`."""

    def add(self, name: str, entries: Sequence[Entry]) -> None:
        """All or none; raises OSError."""

    def remove(self, name: str, entries: Sequence[Entry]) -> None:
        """All or none; raises OSError."""


def format_add(address: Address, seconds: int) -> bytes:
    """The line that bans an address."""
    return b"add %b %d\n" % (str(address).encode(), max(1, min(int(seconds), MAX_SECONDS)))


def format_remove(address: Address) -> bytes:
    """The line that ends a ban."""
    return b"remove %b\n" % str(address).encode()


def parse_line(line: bytes) -> tuple[Wish, Entry] | None:
    """What it asks for; None for everything that is not exactly such a line (without its line end)."""
    found = _LINE.fullmatch(line)
    if found is None or len(line) > MAX_LINE_OCTETS:
        return None
    wish = Wish(found[1].decode())
    seconds = int(found[3]) if found[3] else 0
    if (wish is Wish.ADD) != bool(seconds) or seconds > MAX_SECONDS:
        return None
    try:
        address = ipaddress.ip_address(found[2].decode())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return wish, Entry(address if mapped is None else mapped, seconds)


def may_be_banned(address: Address, protected: Iterable[Network]) -> bool:
    """False for addresses that no stranger has, and for those within, or sharing a /64 with, what is protected."""
    if address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(isinstance(one, ipaddress.IPv4Network) and address in one for one in protected)
    banned = ipaddress.IPv6Network((key_of(address), 64))
    return not any(isinstance(one, ipaddress.IPv6Network) and banned.overlaps(one) for one in protected)


@dataclass(slots=True)
class Counts:
    """What was done."""

    added: int = 0
    removed: int = 0
    protected: int = 0
    invalid: int = 0
    failed: int = 0
    batches: int = 0


@dataclass(slots=True)
class Keeper:
    """Takes octets of the pipe, keeps the last wish for each address, writes them in batches."""

    sets: SetWriter
    protected: tuple[Network, ...] = ()
    administrators: Callable[[], frozenset[Address]] = frozenset
    """Who is logged in by SSH now."""
    counts: Counts = field(default_factory=Counts)
    _rest: bytes = b""
    _is_skipping: bool = False
    _waiting: dict[bytes, tuple[Wish, Entry]] = field(default_factory=dict)

    @property
    def has_room(self) -> bool:
        """False when nothing more should be read."""
        return len(self._waiting) < MAX_WAITING

    def take(self, data: bytes) -> None:
        """Octets as they come, in pieces of any size."""
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._is_skipping:
                self._is_skipping = False
                continue
            self._note(line)
        if len(rest) > MAX_LINE_OCTETS:
            # Nobody who speaks our language writes that: skip to the next line end.
            self.counts.invalid += 0 if self._is_skipping else 1
            self._is_skipping, rest = True, b""
        self._rest = rest

    def _note(self, line: bytes) -> None:
        asked = parse_line(line)
        if asked is None:
            self.counts.invalid += 1
            return
        wish, entry = asked
        if wish is Wish.ADD and not may_be_banned(entry.address, self.protected):
            self.counts.protected += 1
            return
        key = key_of(entry.address)
        self._waiting.pop(key, None)
        self._waiting[key] = asked

    def write(self) -> None:
        """Put what waits into the kernel."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        present = {key_of(one) for one in self.administrators()}
        for version, name in _SET_NAMES.items():
            for wish in Wish:
                entries = [e for w, e in waiting.values() if w is wish and e.address.version == version]
                if wish is Wish.ADD and present:
                    safe = [entry for entry in entries if key_of(entry.address) not in present]
                    self.counts.protected += len(entries) - len(safe)
                    entries = safe
                if entries:
                    self._write(wish, name, entries)

    def _write(self, wish: Wish, name: str, entries: list[Entry]) -> None:
        """One that the kernel does not take must not keep out the others."""
        self.counts.batches += 1
        try:
            if wish is Wish.ADD:
                self.sets.add(name, entries)
                self.counts.added += len(entries)
            else:
                self.sets.remove(name, entries)
                self.counts.removed += len(entries)
        except OSError as problem:
            if problem.errno == errno.EPERM or len(entries) == 1 or self._is_no_set(wish, problem):
                self._give_up(wish, entries, problem)
                return
            middle = len(entries) // 2
            self._write(wish, name, entries[:middle])
            self._write(wish, name, entries[middle:])

    @staticmethod
    def _is_no_set(wish: Wish, problem: OSError) -> bool:
        return wish is Wish.ADD and problem.errno in (errno.ENOENT, errno.ENFILE)

    def _give_up(self, wish: Wish, entries: list[Entry], problem: OSError) -> None:
        if problem.errno in (errno.EPERM, errno.ETIMEDOUT, errno.ENOBUFS):
            raise problem
        if wish is Wish.ADD and problem.errno in _THERE_ALREADY:
            self.counts.added += len(entries)
        elif wish is Wish.REMOVE and problem.errno == errno.ENOENT:
            self.counts.removed += len(entries)
        else:
            self.counts.failed += len(entries)


def serve(pipe: int, keeper: Keeper) -> None:
    """Work until the last writer has closed the pipe. Raises OSError when the kernel cannot be spoken to any more."""
    while True:
        select.select([pipe], [], [])
        is_over = False
        while keeper.has_room:
            try:
                data = os.read(pipe, _READ_OCTETS)
            except BlockingIOError:
                break
            if not data:
                is_over = True
                break
            keeper.take(data)
        keeper.write()
        if is_over:
            return


class BanLine:
    """The server's end: never waits. Several processes may write, since a line is written whole or not at all."""

    __slots__ = ("_descriptor", "lost")

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self.lost = 0
        """Wishes that nobody could take: the other side is dead, or far behind."""

    def fileno(self) -> int:
        """Of the pipe."""
        return self._descriptor

    def ban(self, address: Address, seconds: int) -> bool:
        """False when the wish is lost."""
        return self._write(format_add(address, seconds))

    def unban(self, address: Address) -> bool:
        """False when the wish is lost."""
        return self._write(format_remove(address))

    def close(self) -> None:
        """This process asks for nothing more."""
        os.close(self._descriptor)

    def _write(self, line: bytes) -> bool:
        try:
            os.write(self._descriptor, line)
        except OSError:
            self.lost += 1
            return False
        return True


@dataclass(slots=True)
class SshPeers:
    """Who has a connection to our SSH ports, looked up at most once a second."""

    ports: frozenset[int]
    find: Callable[[frozenset[int]], frozenset[Address]]
    clock: Callable[[], float] = time.monotonic
    _found: frozenset[Address] = frozenset()
    _until: float = 0.0

    def __call__(self) -> frozenset[Address]:
        now = self.clock()
        if now >= self._until:
            self._found, self._until = self.find(self.ports), now + _SSH_SECONDS
        return self._found
