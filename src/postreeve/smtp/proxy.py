"""The PROXY protocol, versions 1 and 2: a load balancer says whose connection it passes on, before any SMTP octet.

Source: "The PROXY protocol, Versions 1 & 2" (HAProxy, proxy-protocol.txt). The session asks for the header only from
peers listed for it, requires it there, and gives it a few seconds; this module reads it and judges nobody.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from postreeve.smtp.event import NEED_DATA, Need

MAX_V1_OCTETS: Final = 107
"""The longest version 1 header, its CRLF included."""
MAX_V2_PAYLOAD: Final = 1_024
"""Addresses and TLVs of a version 2 header; the longest addresses are 216 octets."""

_V1: Final = b"PROXY "
_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED: Final = 16

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of the connection. An IPv4-mapped IPv6 address is given as the IPv4 address that it is."""

    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What the proxy said. Without `source` (LOCAL, UNKNOWN, UNSPEC, a Unix socket) it speaks for itself."""

    source: Endpoint | None = None
    destination: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class ProxyProblem:
    """No PROXY header: close the connection without a word (the protocol forbids to guess)."""

    text: str


class ProxyReader:
    """Takes octets until the header is whole; `remaining` is then what came after it."""

    __slots__ = ("_buffer", "_outcome", "remaining")

    def __init__(self) -> None:
        self._buffer = b""
        self._outcome: ProxyHeader | ProxyProblem | None = None
        self.remaining = b""

    def receive_data(self, data: bytes) -> ProxyHeader | ProxyProblem | Need:
        """Take what arrived. After a header or a problem no more may be fed."""
        if self._outcome is not None:
            raise ValueError("the PROXY header has been read already")
        self._buffer += data
        outcome = _read(self._buffer)
        match outcome:
            case None:
                return NEED_DATA
            case ProxyProblem():
                self._outcome = outcome
                return outcome
            case (header, length):
                self.remaining = self._buffer[length:]
                self._buffer = b""
                self._outcome = header
                return header


def _read(data: bytes) -> tuple[ProxyHeader, int] | ProxyProblem | None:
    """The header and its length, a problem, or None: more is needed."""
    if data.startswith(_V1):
        return _read_v1(data)
    if data.startswith(_V2):
        return _read_v2(data)
    if _V1.startswith(data) or _V2.startswith(data):
        return None
    return ProxyProblem("the connection does not begin with a PROXY header")


def _read_v1(data: bytes) -> tuple[ProxyHeader, int] | ProxyProblem | None:
    end = data.find(b"\r\n", 0, MAX_V1_OCTETS)
    if end < 0:
        return ProxyProblem("a PROXY line that is too long") if len(data) >= MAX_V1_OCTETS else None
    line, length = data[len(_V1) : end], end + 2
    # After UNKNOWN the receiver must ignore anything before the CRLF.
    if line == b"UNKNOWN" or line.startswith(b"UNKNOWN "):
        return ProxyHeader(), length
    words = line.split(b" ")
    if len(words) != 5 or words[0] not in (b"TCP4", b"TCP6"):
        return ProxyProblem("a malformed PROXY line")
    version = 4 if words[0] == b"TCP4" else 6
    source = _read_endpoint(words[1], words[3], version)
    destination = _read_endpoint(words[2], words[4], version)
    if source is None or destination is None:
        return ProxyProblem("a malformed address in a PROXY line")
    return ProxyHeader(source, destination), length


def _read_endpoint(raw_address: bytes, raw_port: bytes, version: int) -> Endpoint | None:
    if not raw_port.isdigit() or len(raw_port) > 5 or (raw_port[0] == 0x30 and raw_port != b"0") or b"%" in raw_address:
        return None
    port = int(raw_port)
    try:
        address = ipaddress.ip_address(raw_address.decode("ascii"))
    except ValueError:
        return None
    return None if address.version != version or port > 65_535 else Endpoint(_plain(address), port)


def _read_v2(data: bytes) -> tuple[ProxyHeader, int] | ProxyProblem | None:
    if len(data) < _V2_FIXED:
        return None
    version, command = data[12] >> 4, data[12] & 15
    payload_octets = int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1:
        return ProxyProblem("an unknown version or command in a PROXY header")
    if payload_octets > MAX_V2_PAYLOAD:
        return ProxyProblem("a PROXY header that is too long")
    length = _V2_FIXED + payload_octets
    if len(data) < length:
        return None
    if command == 0:  # LOCAL: whatever the addresses say
        return ProxyHeader(), length
    header = _read_v2_addresses(data[13], data[_V2_FIXED:length])
    return header if isinstance(header, ProxyProblem) else (header, length)


def _read_v2_addresses(family_and_transport: int, payload: bytes) -> ProxyHeader | ProxyProblem:
    octets, ports = 0, 0
    match family_and_transport:
        case 0x11:
            octets, ports = 4, 8
        case 0x21:
            octets, ports = 16, 32
        case 0x00 | 0x31:
            return ProxyHeader()
        case _:
            return ProxyProblem("an address family or transport that carries no SMTP")
    if len(payload) < ports + 4:
        return ProxyProblem("a PROXY header that is too short for its addresses")
    return ProxyHeader(
        Endpoint(_plain(ipaddress.ip_address(payload[:octets])), int.from_bytes(payload[ports : ports + 2], "big")),
        Endpoint(
            _plain(ipaddress.ip_address(payload[octets:ports])), int.from_bytes(payload[ports + 2 : ports + 4], "big")
        ),
    )


def _plain(address: Address) -> Address:
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address
