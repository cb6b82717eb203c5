"""SMTP replies: a three-digit code, an enhanced status code, and text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_REPLY_LINE_OCTETS: Final = 512
"""RFC 5321, section 4.5.3.1.5: the reply line with code and CRLF."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply (RFC 5321, section 4.2; RFC 2034 for `enhanced`).

    `text` may hold several lines separated by "\\n"; `enhanced` is "" where none applies (greeting, EHLO, 354 and, from
    remote servers, whenever they gave none).
    """

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text.replace("\n", " / ")) if part)

    @property
    def is_positive(self) -> bool:
        """2yz or 3yz: the peer goes on."""
        return 200 <= self.code < 400

    @property
    def is_transient(self) -> bool:
        """4yz: try again later."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5yz: do not try again."""
        return self.code >= 500

    def to_bytes(self, utf8: bool = False) -> bytes:
        """The reply on the wire, one line per line of text, control characters and over-long lines made harmless.

        `utf8` is True only where the client asked for SMTPUTF8 (RFC 6531, section 3.7.4.2); else "?" stands for what
        is not US-ASCII.
        """
        status = f"{self.enhanced} " if self.enhanced else ""
        room = MAX_REPLY_LINE_OCTETS - 6 - len(status)
        if "\n" not in self.text:
            return b"%d %s%s\r\n" % (self.code, status.encode(), _encode(self.text, room, utf8))
        *first, last = [_encode(line, room, utf8) for line in self.text.split("\n")]
        lines = [b"%d-%s%s\r\n" % (self.code, status.encode(), line) for line in first]
        return b"".join(lines) + b"%d %s%s\r\n" % (self.code, status.encode(), last)


def _encode(line: str, room: int, utf8: bool) -> bytes:
    if not line.isprintable():
        line = "".join(character if character.isprintable() else "?" for character in line)
    if not utf8 or line.isascii():
        return line.encode("ascii", "replace")[:room]
    # Cut by octets, but never within a character.
    return line.encode()[:room].decode("utf-8", "ignore").encode()
