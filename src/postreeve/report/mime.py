"""Packing a multipart/report (RFC 6522): parts with honest transfer encodings, and a boundary that occurs in none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_LINE_OCTETS: Final = 998
"""RFC 5322, section 2.1.1."""

_MAX_QUOTED_LINE: Final = 76
_NOT_PRINTABLE: Final = re.compile(rb"[^\t -<>-~]")


class Encoding(Enum):
    """Content-Transfer-Encoding (RFC 2045, section 6)."""

    SEVEN_BIT = "7bit"
    EIGHT_BIT = "8bit"
    QUOTED_PRINTABLE = "quoted-printable"


@dataclass(frozen=True, slots=True)
class Part:
    """One body part: its media type with parameters, and its octets as encoded."""

    media_type: str
    description: str
    encoding: Encoding
    octets: bytes


def text_part(media_type: str, description: str, octets: bytes) -> Part:
    """A part of lines that end with CRLF: as it is where that is 7-bit text, else quoted-printable."""
    if octets.isascii() and is_text(octets):
        return Part(media_type, description, Encoding.SEVEN_BIT, octets)
    return Part(media_type, description, Encoding.QUOTED_PRINTABLE, quote_printable(octets))


def raw_part(media_type: str, description: str, octets: bytes) -> Part:
    """A part that no encoding may touch (message/rfc822: RFC 2046, section 5.2.1); `is_text(octets)` must hold."""
    return Part(media_type, description, Encoding.SEVEN_BIT if octets.isascii() else Encoding.EIGHT_BIT, octets)


def is_text(octets: bytes) -> bool:
    """True when 8bit or 7bit can carry the octets: CRLF only, no NUL, no line over 998 octets."""
    newlines = octets.count(b"\r\n")
    if b"\x00" in octets or octets.count(b"\n") != newlines or octets.count(b"\r") != newlines:
        return False
    return len(octets) <= MAX_LINE_OCTETS or max(map(len, octets.split(b"\r\n"))) <= MAX_LINE_OCTETS


def quote_printable(octets: bytes) -> bytes:
    """RFC 2045, section 6.7, line by line; whatever is no CRLF is content and encoded."""
    # Not binascii.b2a_qp: it makes lines of 78 characters where an octet to be encoded comes late in a long line.
    return b"\r\n".join([_quote_line(line) for line in octets.split(b"\r\n")])


def _quote_line(line: bytes) -> bytes:
    encoded = _NOT_PRINTABLE.sub(lambda match: b"=%02X" % match[0][0], line)
    if encoded.endswith((b" ", b"\t")):
        encoded = encoded[:-1] + b"=%02X" % encoded[-1]
    lines, start = [], 0
    while len(encoded) - start > _MAX_QUOTED_LINE:
        # Room for the "=" of the soft line break; an encoded octet stays whole.
        end = start + _MAX_QUOTED_LINE - 1
        cut = encoded.find(b"=", end - 2, end)
        end = end if cut < 0 else cut
        lines.append(encoded[start:end] + b"=")
        start = end
    return b"\r\n".join([*lines, encoded[start:]])


def pack(parts: Sequence[Part], seed: str, report_type: str) -> tuple[bytes, Encoding]:
    """The Content-Type and Content-Transfer-Encoding fields, an empty line and the body; and how many bits it needs.

    `seed` is letters and digits, and differs from message to message.
    """
    boundary = choose_boundary(parts, seed)
    is_eight_bit = any(part.encoding is Encoding.EIGHT_BIT for part in parts)
    encoding = Encoding.EIGHT_BIT if is_eight_bit else Encoding.SEVEN_BIT
    pieces = [
        f'Content-Type: multipart/report; report-type={report_type};\r\n\tboundary="{boundary}"\r\n'
        f"Content-Transfer-Encoding: {encoding.value}\r\n\r\n"
        "This is a report in several parts, for programs that read MIME.\r\n".encode("ascii")
    ]
    for part in parts:
        pieces.append(
            f"\r\n--{boundary}\r\nContent-Type: {part.media_type}\r\nContent-Description: {part.description}\r\n"
            f"Content-Transfer-Encoding: {part.encoding.value}\r\n\r\n".encode("ascii")
        )
        pieces.append(part.octets)
    pieces.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    return b"".join(pieces), encoding


def choose_boundary(parts: Sequence[Part], seed: str) -> str:
    """A boundary that is in no part. "=_" never comes out of quoted-printable (RFC 2045, section 6.7)."""
    number = 0
    while True:
        boundary = f"=_{seed}_{number}_"
        if not any(boundary.encode("ascii") in part.octets for part in parts):
            return boundary
        number += 1
