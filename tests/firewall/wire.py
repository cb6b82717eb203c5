"""Packets as octets: IPv4 and IPv6 with TCP, UDP and ICMP, checksums right, so that the kernel takes them for real."""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

from postreeve.firewall.flow import Address, Protocol

SYN, RST, ACK = 2, 4, 16
_NUMBERS: Final = {
    (Protocol.TCP, 4): 6,
    (Protocol.TCP, 6): 6,
    (Protocol.UDP, 4): 17,
    (Protocol.UDP, 6): 17,
    (Protocol.ICMP, 4): 1,
    (Protocol.ICMP, 6): 58,
}


def build(
    protocol: Protocol,
    source: Address,
    destination: Address,
    ports: tuple[int, int],
    *,
    flags: int = SYN,
    icmp_type: int = 0,
) -> bytes:
    """`ports` are source and destination; of ICMP the first is the identifier."""
    number = _NUMBERS[protocol, source.version]
    if protocol is Protocol.TCP:
        body = struct.pack("!HHIIBBHHH", *ports, 1000, 2000 if flags & ACK else 0, 5 << 4, flags, 8192, 0, 0)
        at = 16
    elif protocol is Protocol.UDP:
        body = struct.pack("!HHHH", *ports, 12, 0) + b"ping"
        at = 6
    else:
        body = struct.pack("!BBHHH", icmp_type, 0, 0, ports[0], 1) + bytes(48)
        at = 2
    pseudo = b"" if number == 1 else source.packed + destination.packed + struct.pack("!II", len(body), number)
    body = body[:at] + struct.pack("!H", _checksum(pseudo + body)) + body[at + 2 :]
    if isinstance(source, ipaddress.IPv4Address):
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0, 64, number, 0)
        header += source.packed + destination.packed
        return header[:10] + struct.pack("!H", _checksum(header)) + header[12:] + body
    # Neighbour discovery is valid with a hop limit of 255 only (RFC 4861, section 7.1).
    return struct.pack("!IHBB", 6 << 28, len(body), number, 255) + source.packed + destination.packed + body


def _checksum(octets: bytes) -> int:
    padded = octets + bytes(len(octets) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF or 0xFFFF
