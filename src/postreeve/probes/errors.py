"""The error queue of a socket: which ICMP message came back for a connection, and from whom.

Without privileges Linux tells an ordinary TCP socket about ICMP errors when asked to (IP_RECVERR, IPV6_RECVERR); the
errno alone cannot: RFC 1812's thirteen ways to say no become two or three of them.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import struct
from typing import Final

from postreeve.checks.path import DialOutcome, Icmp

# Of linux/in.h and linux/in6.h; Python 3.11 has no names for them.
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_ORIGIN_ICMP: Final = 2
_ORIGIN_ICMP6: Final = 3
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")  # struct sock_extended_err of linux/errqueue.h
_MAX_QUEUED: Final = 8
_TCP_INFO: Final = struct.Struct("=8B24I")  # struct tcp_info of linux/tcp.h, as far as tcpi_total_retrans
_RETRANSMITTED: Final = 8 + 7  # tcpi_retrans
_RETRANSMISSIONS: Final = 8 + 23  # tcpi_total_retrans

UNREACHABLE_V4: Final = 3
UNREACHABLE_V6: Final = 1
EXCEEDED_V4: Final = 11
EXCEEDED_V6: Final = 3

_PROHIBITED: Final = {
    (UNREACHABLE_V4, 9): "network administratively prohibited",
    (UNREACHABLE_V4, 10): "host administratively prohibited",
    (UNREACHABLE_V4, 13): "communication administratively prohibited",
}
_PROHIBITED_V6: Final = {
    (UNREACHABLE_V6, 1): "communication administratively prohibited",
    (UNREACHABLE_V6, 5): "source address failed policy",
    (UNREACHABLE_V6, 6): "reject route to destination",
}
_REFUSED: Final = (UNREACHABLE_V4, 3)
_REFUSED_V6: Final = (UNREACHABLE_V6, 4)
# What this machine says to itself when a neighbour does not answer ARP or neighbour solicitation.
_NO_NEIGHBOUR: Final = (UNREACHABLE_V4, 1)
_NO_NEIGHBOUR_V6: Final = (UNREACHABLE_V6, 3)


def watch_errors(sock: socket.socket, is_watched: bool = True) -> None:
    """Keep ICMP errors for `read_icmp`.

    Switch it off once connected: while it is on, an ICMP error that a connection could outlive ends it.
    """
    level, option = (socket.IPPROTO_IP, _IP_RECVERR)
    if sock.family == socket.AF_INET6:
        level, option = (socket.IPPROTO_IPV6, _IPV6_RECVERR)
    with contextlib.suppress(OSError):
        sock.setsockopt(level, option, int(is_watched))


def read_icmp(sock: socket.socket) -> Icmp | None:
    """The last ICMP error that came for this socket, None if there was none. Never blocks."""
    found = None
    for _ in range(_MAX_QUEUED):
        try:
            _, messages, _, _ = sock.recvmsg(512, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except OSError:
            break
        for level, kind, data in messages:
            if (level, kind) in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
                found = _parse(data) or found
    return found


def _parse(data: bytes) -> Icmp | None:
    if len(data) < _EXTENDED_ERROR.size:
        return None
    _, origin, kind, code, *_ = _EXTENDED_ERROR.unpack_from(data)
    if origin not in (_ORIGIN_ICMP, _ORIGIN_ICMP6):
        return None
    return Icmp(kind, code, _parse_sender(data[_EXTENDED_ERROR.size :]))


def _parse_sender(data: bytes) -> str:
    """A struct sockaddr_in or sockaddr_in6 as text."""
    if len(data) < 8:
        return ""
    family = int.from_bytes(data[:2], "little" if struct.pack("=H", 1)[0] else "big")
    if family == socket.AF_INET:
        return str(ipaddress.IPv4Address(data[4:8]))
    if family == socket.AF_INET6 and len(data) >= 24:
        address = ipaddress.IPv6Address(data[8:24])
        return str(address.ipv4_mapped or address)
    return ""


def is_exceeded(icmp: Icmp) -> bool:
    """Time exceeded: sent by a router on the way (RFC 792, RFC 4443, section 3.3)."""
    return icmp.kind == (EXCEEDED_V6 if ":" in icmp.sender else EXCEEDED_V4)


def describe_icmp(icmp: Icmp) -> str:
    """The words of RFC 792, RFC 1812 or RFC 4443 for it."""
    key = (icmp.kind, icmp.code)
    if ":" in icmp.sender:
        return _PROHIBITED_V6.get(key) or _WORDS_V6.get(key, f"ICMPv6 type {icmp.kind} code {icmp.code}")
    return _PROHIBITED.get(key) or _WORDS.get(key, f"ICMP type {icmp.kind} code {icmp.code}")


_WORDS: Final = {
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 2): "protocol unreachable",
    (3, 3): "port unreachable",
    (3, 4): "fragmentation needed",
    (3, 5): "source route failed",
    (3, 6): "destination network unknown",
    (3, 7): "destination host unknown",
    (3, 11): "network unreachable for this type of service",
    (3, 12): "host unreachable for this type of service",
    (11, 0): "time exceeded in transit",
}
_WORDS_V6: Final = {
    (1, 0): "no route to destination",
    (1, 2): "beyond scope of source address",
    (1, 3): "address unreachable",
    (1, 4): "port unreachable",
    (2, 0): "packet too big",
    (3, 0): "hop limit exceeded in transit",
}


def classify_icmp(icmp: Icmp, local_address: str) -> DialOutcome:
    """What an ICMP error means for a connect; one from our own address is our own firewall's, or no neighbour's."""
    key, is_v6 = (icmp.kind, icmp.code), ":" in icmp.sender
    if icmp.sender and icmp.sender == local_address and key != (_NO_NEIGHBOUR_V6 if is_v6 else _NO_NEIGHBOUR):
        return DialOutcome.FORBIDDEN
    if key in (_PROHIBITED_V6 if is_v6 else _PROHIBITED):
        return DialOutcome.PROHIBITED
    if key == (_REFUSED_V6 if is_v6 else _REFUSED):
        return DialOutcome.REFUSED
    return DialOutcome.UNREACHABLE


def classify_errno(code: int, *, is_at_once: bool) -> DialOutcome:
    """What an errno without an ICMP error means; `is_at_once`: connect() itself returned it, so nothing was sent."""
    match code:
        case 0:
            return DialOutcome.OPEN
        case errno.ECONNREFUSED:
            return DialOutcome.REFUSED
        case errno.ECONNRESET | errno.ECONNABORTED | errno.EPIPE:
            return DialOutcome.RESET
        case errno.ETIMEDOUT:
            return DialOutcome.TIMED_OUT
        case errno.EPERM | errno.EACCES:
            return DialOutcome.FORBIDDEN
        case errno.ENETUNREACH | errno.EHOSTUNREACH | errno.ENETDOWN | errno.EHOSTDOWN:
            return DialOutcome.NO_ROUTE if is_at_once else DialOutcome.UNREACHABLE
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT | errno.EINVAL if is_at_once:
            # No address of ours goes with the route; no such protocol family; a black-hole route.
            return DialOutcome.NO_ROUTE
        case _:
            return DialOutcome.OTHER


def is_dropped_here(sock: socket.socket) -> bool:
    """Whether SYNs of a connect under way were dropped before they left: by the output chain of our own firewall.

    connect() does not tell (the kernel takes it for a lost packet), but a retransmission that failed is counted as
    tried and not as made. So this is known once the first is due, after one second.
    """
    try:
        counted = _TCP_INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
    except (OSError, struct.error):
        return False
    return bool(counted[_RETRANSMISSIONS] > 0 and counted[_RETRANSMITTED] == 0)
