"""Files whose every line is a word and what follows it: msmtprc, and settings of other programs of the shell."""

from __future__ import annotations

import re
from typing import Final

from postreeve.clientconfig.text import Entry, Scalar, Source, lines

_LINE: Final = re.compile(r"[ \t]*([A-Za-z_]\w*)(?:[ \t]+(.*\S))?[ \t]*")


def scan_words(source: Source) -> tuple[Entry, ...]:
    """Every line as an entry; comments are lines that begin with `#`, and double quotes may stand around the value."""
    found: list[Entry] = []
    for line in lines(source.text):
        match = None if line.text.lstrip(" \t").startswith("#") else _LINE.fullmatch(line.text)
        if match is None:
            continue
        start, end = line.start + match.start(1), line.start + match.end(1)
        value = match[2] or ""
        at = line.start + (match.start(2) if value else match.end(1))
        span = source.span(at, at + len(value))
        quote = '"' if len(value) > 1 and value[0] == value[-1] == '"' else ""
        text = value[1:-1] if quote else value
        literal = span if value else None
        found.append(Entry(match[1], Scalar(text, span, literal, quote), source.span(start, end)))
    return tuple(found)
