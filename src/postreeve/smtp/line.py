"""Bounded command lines: CRLF ends a line, nothing else does.

A bare LF inside what should be commands is how a smuggled message shows itself after its content ended early, so it is
never a line ending and never ignored: the conversation is over (RFC 5321, section 2.3.8: "lines … terminated by CRLF").
"""

from __future__ import annotations

from enum import Enum
from typing import Final

PATIENCE: Final = 8
"""A line this many times over the limit ends the conversation; a shorter one is refused and skipped."""


class Fault(Enum):
    """Why there is no line."""

    TOO_LONG = "too long"
    """Refuse it and read on."""
    FAR_TOO_LONG = "far too long"
    """Refuse it and close."""
    BARE_LF = "bare LF"
    """Refuse it and close."""


def find_line(buffer: bytes, start: int, limit: int, patience: int = PATIENCE) -> tuple[int, Fault | None] | None:
    """Where the line ends that begins at `start`: the index after its LF, and what is wrong; None for "not yet".

    The line is `buffer[start : index - 2]`. `limit` counts the CRLF. The answer does not depend on how the octets were
    cut into pieces, except that a far too long line is told as soon as it is known.
    """
    newline = buffer.find(b"\n", start)
    length = (newline + 1 if newline >= 0 else len(buffer)) - start
    if length > limit * patience:
        return newline + 1, Fault.FAR_TOO_LONG
    if newline < 0:
        return None
    if newline == start or buffer[newline - 1] != 13:
        return newline + 1, Fault.BARE_LF
    return newline + 1, Fault.TOO_LONG if length > limit else None
