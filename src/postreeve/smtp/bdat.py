"""BDAT: chunks announced by their length (RFC 3030, section 2).

bdat-cmd   ::= "BDAT" SP chunk-size [ SP end-marker ] CR LF
chunk-size ::= 1*DIGIT
end-marker ::= "LAST"
"""

from __future__ import annotations

from typing import Final

from postreeve.mail.reply import Reply

BAD_CHUNK: Final = Reply(501, "5.5.4", "syntax: BDAT size [LAST]; without a size the octets that follow have no end")
MAX_DIGITS: Final = 20


class Chunk:
    """One announced chunk: what is still to come of it, and the reply that refuses it once all of it was read."""

    __slots__ = ("is_last", "octets", "refusal", "remaining")

    def __init__(self, octets: int, is_last: bool) -> None:
        self.octets = octets
        self.remaining = octets
        self.is_last = is_last
        self.refusal: Reply | None = None


def parse_chunk(argument: str) -> Chunk | None:
    """The chunk that BDAT's argument announces; None where it announces none (signs, hexadecimal, no number at all)."""
    size, _, marker = argument.partition(" ")
    if not argument.isascii() or not size.isdigit() or len(size.lstrip("0")) > MAX_DIGITS:
        return None
    marker = marker.strip(" ").upper()
    if marker not in ("", "LAST"):
        return None
    return Chunk(int(size), marker == "LAST")
