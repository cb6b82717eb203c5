"""Content: taking dots out of DATA, and inspecting what both DATA and BDAT bring, in bulk.

RFC 5321, section 4.5.2: "lines beginning with a period"; only CRLF "." CRLF ends the content. Everything here works on
whole pieces with `find`, `count` and `replace`: content is never cut into lines.
"""

from __future__ import annotations

import re
from typing import Final

from postreeve.mail.reply import Reply
from postreeve.smtp.settings import ServerSettings

TOO_LARGE: Final = Reply(552, "5.3.4", "message exceeds the size limit")
HEADER_TOO_LARGE: Final = Reply(552, "5.3.4", "header section exceeds the size limit")
BARE_NEWLINE: Final = Reply(550, "5.6.0", "content has a CR or LF that is no part of a CRLF")
HAS_NUL: Final = Reply(550, "5.6.0", "content has a NUL and was not announced as BINARYMIME")

_ANY_NEWLINE: Final = re.compile(rb"\r\n|\r|\n")
_PARTIAL_ENDS: Final = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")


class DotReader:
    """Finds the end of DATA and takes the stuffed dots out (RFC 5321, section 4.5.2)."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun = False

    def read(self, buffer: bytes, start: int) -> tuple[bytes, int, bool]:
        """Content from `buffer[start:]`: the octets, the index read up to, and whether the content has ended.

        The caller keeps what was not read (at most four octets that may be the beginning of the end) and puts it before
        the next piece.
        """
        if not self._begun:
            if buffer.startswith(b".\r\n", start):
                return b"", start + 3, True
            if len(buffer) - start < 3 and b".\r\n".startswith(buffer[start:]):
                return b"", start, False
            self._begun = True
            if buffer.startswith(b".", start):
                start += 1
        dot = buffer.find(b"\r\n.", start)
        if dot >= 0:
            # The first line with a dot in front is nearly always the last one: one search over the content, not two.
            end = dot if buffer.startswith(b"\r\n", dot + 3) else buffer.find(b"\r\n.\r\n", dot)
            if end >= 0:
                piece = buffer[start : end + 2]
                return (piece if end == dot else piece.replace(b"\r\n.", b"\r\n")), end + 5, True
        stop = len(buffer)
        for partial in _PARTIAL_ENDS:
            if buffer.endswith(partial, start):
                stop -= len(partial)
                break
        # Compiled, a slice of the whole would be a copy.
        piece = buffer[start:stop] if start or stop < len(buffer) else buffer
        return (piece if dot < 0 else piece.replace(b"\r\n.", b"\r\n")), stop, False


class Inspection:
    """What the core must know of one content: its size, and whether the core itself has to refuse it.

    After the first problem nothing more is handed on: the rest is only counted.
    """

    __slots__ = ("_binary", "_header", "_held", "_max_header", "_max_octets", "_normalise", "_tail", "problem", "size")

    def __init__(self, settings: ServerSettings, binary: bool) -> None:
        """`binary` for BODY=BINARYMIME (RFC 3030, section 3), where CR, LF and NUL mean nothing."""
        self.size = 0
        self.problem: Reply | None = None
        self._max_octets = settings.max_message_octets
        self._max_header = settings.max_header_octets
        self._normalise = settings.normalise_newlines
        self._binary = binary
        self._header = 0  # octets of header section so far; −1 once its end was seen
        self._tail = b"\r\n"
        self._held = False

    def take(self, piece: bytes) -> bytes:
        """Look at the next piece of content; what to hand on of it (nothing after a problem)."""
        self.size += len(piece)
        if self.problem is not None:
            return b""
        if self.size > self._max_octets:
            self.problem = TOO_LARGE
            return b""
        if not self._binary:
            piece = self._check_newlines(piece)
        if self._header >= 0:
            piece = self._check_header(piece)
        return piece

    def finish(self) -> bytes:
        """The content has ended; what is left to hand on."""
        if not self._held or self.problem is not None:
            return b""
        self._held = False
        if not self._normalise:
            self.problem = BARE_NEWLINE
            return b""
        self.size += 1
        return b"\r\n"

    def _check_newlines(self, piece: bytes) -> bytes:
        """Refuse NUL; refuse or make whole every CR and LF that stands alone, also where two pieces meet."""
        if self._held:
            piece = b"\r" + piece
            self._held = False
        if piece.endswith(b"\r"):
            piece = piece[:-1]
            self._held = True
        if b"\0" in piece:
            self.problem = HAS_NUL
            return b""
        # Taking out all CR and LF takes out two octets for each CRLF, and more when any of them stands alone.
        if len(piece) - len(piece.translate(None, b"\r\n")) == 2 * piece.count(b"\r\n"):
            return piece
        if not self._normalise:
            self.problem = BARE_NEWLINE
            return b""
        whole = _ANY_NEWLINE.sub(b"\r\n", piece)
        self.size += len(whole) - len(piece)
        return whole

    def _check_header(self, piece: bytes) -> bytes:
        """Measure the header section, its empty line included, which may lie across pieces."""
        tail = self._tail
        across = (tail + piece[:3]).find(b"\r\n\r\n")
        blank = across - len(tail) if across >= 0 else piece.find(b"\r\n\r\n")
        is_over = across >= 0 or blank >= 0
        octets = self._header + (blank + 4 if is_over else len(piece))
        self._header = -1 if is_over else octets
        self._tail = (tail + piece[-3:])[-3:]
        if octets <= self._max_header:
            return piece
        self.problem = HEADER_TOO_LARGE
        return b""
