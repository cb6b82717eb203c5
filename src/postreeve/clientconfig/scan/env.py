"""Environment files: `KEY=value`, `export KEY="value" # comment`, quoted values over several lines."""

from __future__ import annotations

import re
from typing import Final

from postreeve.clientconfig.text import Entry, Source, scalar_from

_KEY: Final = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.]*)[ \t]*=[ \t]*", re.MULTILINE)
_QUOTED: Final = {
    '"': re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL),
    "'": re.compile(r"'[^']*+'"),
}
_LONGEST_VALUE: Final = 20_000


def scan_env(source: Source) -> tuple[Entry, ...]:
    """Every assignment, in order; lines that are none are left out."""
    text, found, at = source.text, [], 0
    while (match := _KEY.search(text, at)) is not None:
        start = match.end()
        end = value_end(source, start)
        scalar = scalar_from(source, start, end)
        found.append(Entry(match[1], scalar, source.span(match.start(1), match.end(1))))
        at = max(source.line_end(end), start)
    return tuple(found)


def value_end(source: Source, start: int) -> int:
    """Where the value that begins at `start` ends: at its closing quote, before a comment, or at the line end."""
    text = source.text
    quoted = _QUOTED.get(text[start : start + 1])
    if quoted is not None:
        closed = quoted.match(text, start, start + _LONGEST_VALUE)
        if closed is not None:
            return closed.end()
    end = source.line_end(start)
    for mark in (" #", "\t#"):
        comment = text.find(mark, start, end)
        if comment >= 0:
            end = comment
    if text[start : start + 1] == "#":
        return start
    while end > start and text[end - 1] in " \t\r":
        end -= 1
    return end
