"""Reading what a server says without believing in it: replies as they came, and what is no reply at all.

PURE. The client core's reader normalises and refuses; a probe must keep what it heard, also half a line, a line of
another protocol or a reply of a thousand lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_REPLY_OCTETS: Final = 65_536
MAX_LINES: Final = 200
MAX_LINE_CHARACTERS: Final = 1_024
MAX_HEARD_OCTETS: Final = 512


@dataclass(frozen=True, slots=True)
class Heard:
    """A reply (RFC 5321, section 4.2). `code` is 0 when these lines are none: then they are whole, code and all."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The lines as they may be shown and kept."""
        return tuple(escape(line, MAX_LINE_CHARACTERS) for line in self.lines[:MAX_LINES])


class Ear:
    """Cuts what a server says into replies. A bare LF ends a line as well as CRLF does."""

    __slots__ = ("_buffer", "_lines", "_octets")

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[bytes] = []
        self._octets = 0

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._buffer += data

    def next_reply(self) -> Heard | None:
        """The next reply or non-reply, None until more arrives."""
        while True:
            end = self._buffer.find(b"\n")
            if end < 0:
                return self._give_up() if len(self._buffer) + self._octets > MAX_REPLY_OCTETS else None
            line, self._buffer = self._buffer[:end].removesuffix(b"\r"), self._buffer[end + 1 :]
            self._octets += end + 1
            self._lines.append(line)
            if not is_reply_line(line) or self._octets > MAX_REPLY_OCTETS:
                return self._give_up()
            if line[3:4] != b"-":
                lines, self._lines, self._octets = self._lines, [], 0
                return Heard(int(line[:3]), tuple(one[4:] for one in lines))

    def end(self) -> Heard | None:
        """The connection ended: a last line without its end is a reply all the same; else what is left is none."""
        if self._buffer and is_reply_line(self._buffer) and self._buffer[3:4] != b"-":
            self._buffer += b"\n"
            return self.next_reply()
        return self.leave()

    def leave(self) -> Heard | None:
        """Whatever has come and is no complete reply; nothing is left then."""
        return self._give_up() if self._buffer or self._lines else None

    def take_rest(self) -> bytes:
        """What came after the reply that should have been the last in the clear; nothing is left then."""
        rest, self._buffer = b"\r\n".join([*self._lines, self._buffer]), b""
        self._lines, self._octets = [], 0
        return rest

    def _give_up(self) -> Heard:
        pieces = self._buffer.split(b"\n", MAX_LINES) if self._buffer else []
        lines = (*self._lines, *(one.removesuffix(b"\r") for one in pieces if one))
        self._buffer, self._lines, self._octets = b"", [], 0
        return Heard(0, lines[:MAX_LINES])


def is_reply_line(line: bytes) -> bool:
    """RFC 5321, section 4.2: three digits, the first of them 2 to 5, and a space, a hyphen or nothing more."""
    return line[:3].isdigit() and len(line) >= 3 and line[0] in b"2345" and line[3:4] in (b" ", b"-", b"")


def escape(data: bytes, most: int = MAX_HEARD_OCTETS) -> str:
    """Octets as text on one line: latin-1, control characters escaped, bounded."""
    text = data[:most].decode("latin-1")
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _ESCAPES.get(one, f"\\x{ord(one):02x}") for one in text)


_ESCAPES: Final = {"\r": "\\r", "\n": "\\n", "\t": "\\t"}
