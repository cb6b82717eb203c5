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

    def to_bytes(self) -> bytes:
        """The reply on the wire, one line per line of text, control characters and over-long lines made harmless."""
        status = f"{self.enhanced} " if self.enhanced else ""
        room = MAX_REPLY_LINE_OCTETS - 6 - len(status)
        if "\n" not in self.text:
            return f"{self.code} {status}{_printable(self.text)[:room]}\r\n".encode("utf-8", "replace")
        *first, last = [_printable(line)[:room] for line in self.text.split("\n")]
        lines = [f"{self.code}-{status}{line}\r\n" for line in first] + [f"{self.code} {status}{last}\r\n"]
        return "".join(lines).encode("utf-8", "replace")


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(character if character.isprintable() else "?" for character in line)
