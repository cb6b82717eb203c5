"""Content on its way out: CRLF lines, dots doubled, one end (RFC 5321, section 4.5.2).

The receiver may believe in other line ends than we do: a sequence such as LF . CR LF then ends the message for it, and
what follows is taken for commands. So no bare CR, no bare LF and no NUL ever leaves, whatever the content holds.
"""

from __future__ import annotations

import re
from typing import Final

_ANY_NEWLINE: Final = re.compile(rb"\r\n|\r|\n")
END: Final = b".\r\n"


def is_clean(content: bytes) -> bool:
    """True when every CR and LF in `content` stands in a CRLF and there is no NUL."""
    lines = content.count(b"\r\n")
    return lines == content.count(b"\n") and lines == content.count(b"\r") and b"\0" not in content


def stuff(content: bytes) -> bytes:
    """All of a message's content as it follows the 354, the final dot included."""
    if not is_clean(content):
        content = _clean(content)
    end = END if not content or content.endswith(b"\r\n") else b"\r\n.\r\n"
    if b"\r\n." in content:
        content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        return b"." + content + end
    return content + end


class Stuffer:
    """The same for content that comes in pieces, cut anywhere."""

    __slots__ = ("_at_line_start", "_held")

    def __init__(self) -> None:
        self._at_line_start = True
        self._held = b""

    def encode(self, piece: bytes) -> bytes:
        """The octets for the wire; a CR at the very end waits for what follows it."""
        if self._held:
            piece = self._held + piece
            self._held = b""
        if piece.endswith(b"\r"):
            piece = piece[:-1]
            self._held = b"\r"
        if not piece:
            return b""
        if not is_clean(piece):
            piece = _clean(piece)
        stuffed = piece.replace(b"\r\n.", b"\r\n..")
        if self._at_line_start and piece.startswith(b"."):
            stuffed = b"." + stuffed
        self._at_line_start = piece.endswith(b"\r\n")
        return stuffed

    def finish(self) -> bytes:
        """The last line's end if it lacks one, and the final dot."""
        if self._held or not self._at_line_start:
            return b"\r\n" + END
        return END


def _clean(content: bytes) -> bytes:
    # NUL is replaced, not removed: removal could join a CR and a LF, or a line end and a dot.
    return _ANY_NEWLINE.sub(b"\r\n", content).replace(b"\0", b"?")
