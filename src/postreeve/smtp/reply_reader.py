"""Reading a server's replies: whatever it sends, the result is a Reply, the wish for more, or BadReply.

Bounded: a reply is at most MAX_REPLY_OCTETS with all its lines, and at most MAX_TEXT_CHARACTERS of it are kept, free of
control characters, so that it can be stored, logged and quoted.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from postreeve.mail.error import PostreeveError
from postreeve.mail.reply import Reply

MAX_REPLY_OCTETS: Final = 65_536
MAX_TEXT_CHARACTERS: Final = 1_024

# RFC 3463, section 2: status-code = class "." subject "." detail
_ENHANCED: Final = re.compile(r"([245])\.\d{1,3}\.\d{1,3}(?= |$)")
_SHORT_LINE_OCTETS: Final = 128


class BadReply(PostreeveError):
    """What the server sent is no SMTP reply; the conversation cannot go on. The text is safe to store."""


class ReplyReader:
    """Cuts the octets of a server into replies (RFC 5321, section 4.2)."""

    __slots__ = ("_buffer", "_earlier", "_octets", "lines")

    def __init__(self) -> None:
        self._buffer = b""
        self._earlier: list[bytes] = []
        self._octets = 0
        self.lines: tuple[bytes, ...] = ()
        """The last reply's lines without code and line end, for those who need more than its text (EHLO)."""

    @property
    def is_empty(self) -> bool:
        """True when nothing has arrived beyond the replies already given out."""
        return not self._buffer and not self._earlier

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._buffer = self._buffer + data if self._buffer else data

    def next_reply(self) -> Reply | None:
        """The next complete reply, or None until more arrives. Raises BadReply.

        A bare LF ends a line as well as CRLF does: some servers send it, and a client has nothing to lose by it.
        """
        while True:
            end = self._buffer.find(b"\n")
            if end < 0:
                if len(self._buffer) + self._octets > MAX_REPLY_OCTETS:
                    raise BadReply(f"reply longer than {MAX_REPLY_OCTETS} octets")
                return None
            line = self._buffer[:end]
            self._buffer = self._buffer[end + 1 :]
            if line.endswith(b"\r"):
                line = line[:-1]
            reply = self._take(line)
            if reply is not None:
                return reply

    def _take(self, line: bytes) -> Reply | None:
        separator = line[3:4]
        if not (line[:3].isdigit() and line[0] in b"2345" and separator in (b" ", b"-", b"")):
            raise BadReply(f"no SMTP reply: {_quote(line)}{_guess(line)}")
        if separator == b"-":
            self._octets += len(line) + 2
            if self._octets > MAX_REPLY_OCTETS:
                raise BadReply(f"reply longer than {MAX_REPLY_OCTETS} octets")
            self._earlier.append(line)
            return None
        if not self._earlier:
            self.lines = (line[4:],)
            return _parse_short(line) if len(line) <= _SHORT_LINE_OCTETS else _parse((line,))
        lines = (*self._earlier, line)
        self._earlier = []
        self._octets = 0
        if any(one[0] != line[0] for one in lines):
            # RFC 5321, section 4.2.1 wants one code; with two classes nobody knows what was meant.
            raise BadReply(f"contradicting codes in one reply: {_quote(lines[0])} … {_quote(line)}")
        self.lines = tuple(one[4:] for one in lines)
        return _parse(lines)


@lru_cache(maxsize=256)
def _parse_short(line: bytes) -> Reply:
    return _parse((line,))


def _parse(lines: tuple[bytes, ...]) -> Reply:
    code = int(lines[-1][:3])
    text = clean(b"\n".join(line[4 : 4 + MAX_TEXT_CHARACTERS] for line in lines[:MAX_TEXT_CHARACTERS]))
    found = _ENHANCED.match(text)
    if found is None or int(found[1]) != code // 100:
        return Reply(code, "", text)
    enhanced = found[0]
    if len(lines) > 1:
        text = "\n".join(one.removeprefix(enhanced).removeprefix(" ") for one in text.split("\n"))
    else:
        text = text[len(enhanced) + 1 :]
    return Reply(code, enhanced, text)


def clean(words: bytes) -> str:
    """A server's words as text that can be stored and shown: bounded, no control characters but "\\n"."""
    text = words[: 4 * MAX_TEXT_CHARACTERS].decode("utf-8", "replace")[:MAX_TEXT_CHARACTERS]
    if text.isprintable():
        return text
    return "".join(one if one == "\n" or one.isprintable() else "?" for one in text)


def _quote(line: bytes) -> str:
    return repr(clean(line[:80]).replace("\n", "?"))


def _guess(line: bytes) -> str:
    if line[:2] in (b"\x15\x03", b"\x16\x03"):
        return " (the server speaks TLS on this port: implicit TLS is needed)"
    for start, protocol in ((b"HTTP/", "HTTP"), (b"SSH-", "SSH"), (b"* OK", "IMAP"), (b"+OK", "POP3")):
        if line.startswith(start):
            return f" (the server speaks {protocol} on this port)"
    return ""
