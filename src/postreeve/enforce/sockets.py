"""TCP connections of the machine or of a namespace, from the kernel's table."""

from __future__ import annotations

import ipaddress
import pwd
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from postreeve.enforce.command import attempt
from postreeve.enforce.place import Place
from postreeve.firewall.flow import Address, Direction

_ESTABLISHED: Final = "01"
_LISTEN: Final = "0A"


@dataclass(frozen=True, slots=True)
class Session:
    """One connection under way. `port` is where it was dialled: ours when it came in, the peer's when we dialled."""

    direction: Direction
    peer: Address
    port: int
    local: Address
    local_port: int
    peer_port: int
    user: str
    inode: str


def sessions(place: Place | None = None) -> tuple[Session, ...]:
    """The established ones, without those of this machine with itself."""
    lines = list(_lines(place or Place()))
    listening = {int(fields[1].rpartition(":")[2], 16) for fields in lines if fields[3] == _LISTEN}
    found = []
    for fields in lines:
        if fields[3] != _ESTABLISHED:
            continue
        local, local_port = _endpoint(fields[1])
        peer, peer_port = _endpoint(fields[2])
        if peer.is_loopback or local == peer:
            continue
        is_in = local_port in listening
        direction = Direction.IN if is_in else Direction.OUT
        port = local_port if is_in else peer_port
        found.append(Session(direction, peer, port, local, local_port, peer_port, _user(int(fields[7])), fields[9]))
    return tuple(found)


def listening_ports(place: Place) -> frozenset[int]:
    """Where somebody listens, at any address but loopback."""
    found = set()
    for fields in _lines(place):
        if fields[3] == _LISTEN:
            address, port = _endpoint(fields[1])
            if not address.is_loopback:
                found.add(port)
    return frozenset(found)


def established_peers(ports: frozenset[int]) -> frozenset[Address]:
    """Who has a connection to one of these ports of ours, as this process sees it. Raises OSError."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]:
            # By text first: there may be thousands of connections.
            words = line.split(None, 4)
            if words[3] == _ESTABLISHED and int(words[1][-4:], 16) in ports:
                found.add(_endpoint(words[2])[0])
    return frozenset(found)


def _lines(place: Place) -> Iterator[list[str]]:
    done = attempt(place, "cat", "/proc/self/net/tcp", "/proc/self/net/tcp6")
    for line in done.out.splitlines():
        fields = line.split()
        if len(fields) >= 10 and fields[0] != "sl":
            yield fields


def _endpoint(text: str) -> tuple[Address, int]:
    """`0100007F:0019`: the address in words of the machine's byte order, the port in hexadecimal."""
    host, _, port = text.partition(":")
    words = (int(host[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(host), 8))
    address = ipaddress.ip_address(b"".join(words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (address if mapped is None else mapped), int(port, 16)


@lru_cache(maxsize=256)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
