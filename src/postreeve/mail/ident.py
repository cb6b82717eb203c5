"""Message identifiers: 63-bit integers that sort by time of acceptance, shown as 13 characters.

    41 bits  milliseconds since 2020-01-01T00:00Z (until 2089)
     8 bits  node: which queue file (worker) took the message
    14 bits  counter within the millisecond, started at random

The text form is Crockford's base 32 in lower case (no i, l, o, u): short enough to read out on the telephone, sortable
as text, and safe in file names, header fields and replies.
"""

from __future__ import annotations

from typing import Final

EPOCH_SECONDS: Final = 1_577_836_800
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)} | {"o": 0, "i": 1, "l": 1}
TEXT_LENGTH: Final = 13


class IdentSource:
    """Makes identifiers that never repeat within one node, whatever the clock does (stand still, step back)."""

    __slots__ = ("_last", "_node")

    def __init__(self, node: int, start: int = 0) -> None:
        """`node` is 0 … 255; `start` is the greatest identifier known to exist on this node, or 0."""
        if not 0 <= node < 256:
            raise ValueError(f"node must be 0 … 255, not {node}")
        self._node = node
        self._last = ((start >> 22) << 14) | (start & 0x3FFF)

    def next(self, now: float, salt: int = 0) -> int:
        """A new identifier at `now` (POSIX seconds); the low bits of `salt` vary the first of a millisecond."""
        milliseconds = max(0, int((now - EPOCH_SECONDS) * 1000)) & 0x1FF_FFFF_FFFF
        candidate = (milliseconds << 14) | (salt & 0x0FFF)
        self._last = candidate if candidate > self._last else self._last + 1
        return ((self._last >> 14) << 22) | (self._node << 14) | (self._last & 0x3FFF)


def node_of(ident: int) -> int:
    """Which node made `ident`."""
    return (ident >> 14) & 0xFF


def to_text(ident: int) -> str:
    """The 13-character form of `ident`."""
    pairs = _PAIRS
    return (
        _ALPHABET[(ident >> 60) & 31]
        + pairs[(ident >> 50) & 1023]
        + pairs[(ident >> 40) & 1023]
        + pairs[(ident >> 30) & 1023]
        + pairs[(ident >> 20) & 1023]
        + pairs[(ident >> 10) & 1023]
        + pairs[ident & 1023]
    )


def from_text(text: str) -> int | None:
    """The identifier that `text` spells (either case, o/i/l taken for 0/1), or None."""
    if len(text) != TEXT_LENGTH or not text.isascii():
        return None
    value = 0
    for character in text.lower():
        digit = _VALUES.get(character)
        if digit is None:
            return None
        value = (value << 5) | digit
    return value if value < 1 << 63 else None
