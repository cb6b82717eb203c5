"""Places in a text: lines, spans, and what all scanners give (Scalar, Entry).

Offsets count characters of the text as it was decoded, line ends included, so an edit at a span changes nothing else.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import Final

from postreeve.clientconfig.settings import Span

Plain = str | int | float | bool | None

_LONGEST_REFERENCE: Final = 2_000

# What means "taken from elsewhere" in one or another of the formats that we read, with the default where one is given.
_REFERENCE: Final = re.compile(
    r"\$\{(?P<name>[A-Za-z_][\w.\-]{0,99})(?:(?P<sep>:-|:\?|:|-)(?P<default>[^{}\n]{0,200}))?\}"
    r"|\$__(?:env|file|vault)\{[^{}\n]{0,200}\}"
    r"|\$\{[^{}\n]{0,200}\}"
    r"|\$\([A-Za-z_][^()\n]{0,200}\)"
    r"|\$[A-Za-z_]\w{0,99}"
    r"|%env\([^()\n]{0,200}\)%"
    r"|%\(\w{1,100}\)s"
    r"|\{\{[^{}\n]{0,200}\}\}"
    r"|<%[^%\n]{0,200}%>"
    r"|#\{[^{}\n]{0,200}\}"
)


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value in a text.

    `span` covers it as written, quotes included; `literal` is what a correction replaces: the same span, or the
    default inside a reference (`587` in `env('MAIL_PORT', 587)`), or None where there is none. `quote` is the quote
    character of the literal, "" for none. `name` is the environment variable of a reference, where it is known.
    """

    value: Plain
    span: Span
    literal: Span | None
    quote: str = ""
    is_reference: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key and its value. `key` is the whole path, joined by dots (`spring.mail.port`); `section` is that of an ini.

    `key_span` covers the last part of the key as written.
    """

    key: str
    scalar: Scalar
    key_span: Span
    section: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end; `number` counts from 1, `start` is its offset in the text."""

    number: int
    start: int
    text: str

    @property
    def end(self) -> int:
        """The offset after its last character, before the line end."""
        return self.start + len(self.text)


class Source:
    """A text that knows its lines."""

    __slots__ = ("_starts", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts: list[int] | None = None

    def _line_starts(self) -> list[int]:
        starts = self._starts
        if starts is None:
            starts = [0, *(found.end() for found in re.finditer("\n", self.text))]
            self._starts = starts
        return starts

    def line_of(self, offset: int) -> int:
        """The number of the line, from 1, that has this offset."""
        return bisect_right(self._line_starts(), offset)

    def span(self, start: int, end: int) -> Span:
        """The span of [start, end)."""
        return Span(start, end, self.line_of(start))

    def offset(self, line: int, column: int) -> int:
        """The offset of a line and a column, both from 0; never beyond the text."""
        starts = self._line_starts()
        return min(starts[min(line, len(starts) - 1)] + column, len(self.text))

    def byte_offset(self, line: int, column: int) -> int:
        """As `offset`, for a column that counts the octets of UTF-8, as `ast` does."""
        start = self.offset(line, 0)
        text = self.line_text(start)
        if text.isascii():
            return start + column
        return start + len(text.encode("utf-8", "surrogatepass")[:column].decode("utf-8", "ignore"))

    def line_start(self, offset: int) -> int:
        """The offset at which the line of this offset begins."""
        starts = self._line_starts()
        return starts[bisect_right(starts, offset) - 1]

    def line_end(self, offset: int) -> int:
        """The offset of the line end (`\\r\\n` or `\\n`) after this offset, or the end of the text."""
        end = self.text.find("\n", offset)
        if end < 0:
            return len(self.text)
        return end - 1 if end > offset and self.text[end - 1] == "\r" else end

    def line_text(self, offset: int) -> str:
        """The line of this offset, without its end."""
        return self.text[self.line_start(offset) : self.line_end(offset)]

    def indent(self, offset: int) -> str:
        """The white space that begins the line of this offset."""
        line = self.line_text(offset)
        return line[: len(line) - len(line.lstrip(" \t"))]

    def newline(self) -> str:
        """The line end that this text uses."""
        first = self.text.find("\n")
        return "\r\n" if first > 0 and self.text[first - 1] == "\r" else "\n"

    def written(self, span: Span) -> str:
        """The characters of a span."""
        return self.text[span.start : span.end]


def lines(text: str) -> list[Line]:
    """The lines of a text, ended by `\\n` or `\\r\\n`."""
    found: list[Line] = []
    start = 0
    for number, line in enumerate(text.split("\n"), 1):
        found.append(Line(number, start, line.removesuffix("\r")))
        start += len(line) + 1
    return found


def scalar_from(source: Source, start: int, end: int, *, expands: bool = True, typed: bool = False) -> Scalar:
    """The scalar written at [start, end): quotes taken off, references recognised.

    `expands` is false where the format has no references; `typed` reads what is unquoted as a number or truth value
    where it is one, else it stays text.
    """
    raw = source.text[start:end]
    quote = raw[0] if len(raw) >= 2 and raw[0] in "\"'" and raw[-1] == raw[0] else ""
    inner = raw[1:-1] if quote else raw
    span = source.span(start, end)
    if expands and quote != "'":
        found = _REFERENCE.search(inner, 0, _LONGEST_REFERENCE)
        if found is not None:
            return _reference(source, span, inner, found, start + len(quote))
    if typed and not quote:
        return Scalar(plain(inner), span, span)
    value = inner.replace("\\" + quote, quote) if quote and "\\" in inner else inner
    return Scalar(value, span, span, quote)


def _reference(source: Source, span: Span, inner: str, found: re.Match[str], base: int) -> Scalar:
    name, default = found["name"] or "", found["default"]
    if default is None or found.end() - found.start() != len(inner) or found["sep"] == ":?":
        return Scalar(None, span, None, is_reference=True, name=name)
    literal = source.span(base + found.start("default"), base + found.end("default"))
    return Scalar(default or None, span, literal, is_reference=True, name=name)


def plain(raw: str) -> Plain:
    """A number, truth value or null where `raw` is one, else `raw`."""
    match raw.lower():
        case "true":
            return True
        case "false":
            return False
        case "null" | "nil" | "none" | "undefined":
            return None
    if raw.isascii() and raw.isdigit() and len(raw) < 19:
        return int(raw)
    return raw


def unnamed(name: str, scalar: Scalar) -> Entry:
    """An entry for what has no name in the file, as the second argument of a call: it goes by ours."""
    return Entry(name, scalar, Span(scalar.span.start, scalar.span.start, scalar.span.line))


def renamed(entry: Entry, key: str) -> Entry:
    """The same entry under another key."""
    return replace(entry, key=key)
