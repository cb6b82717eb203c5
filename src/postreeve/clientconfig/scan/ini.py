"""Properties files and ini files: `key = value` by lines, with sections and continuation lines."""

from __future__ import annotations

import re
from typing import Final

from postreeve.clientconfig.text import Entry, Line, Source, lines, scalar_from

_PROPERTY: Final = re.compile(r"[ \t\f]*((?:[^\\\s=:#!]|\\.)(?:[^\\\s=:]|\\.)*+)[ \t]*[=:]?[ \t]*")
_SECTION: Final = re.compile(r"[ \t]*\[([^\[\]\n]{1,200})\]")
_SETTING: Final = re.compile(r"[ \t]*([^\s=:#;\[][^=:\n]{0,199}?)[ \t]*[=:][ \t]*")


def scan_properties(source: Source) -> tuple[Entry, ...]:
    """Java properties: `=`, `:` or a blank after the key; `#` and `!` begin comment lines; `${NAME:default}`."""
    found: list[Entry] = []
    is_continuation = False
    for line in lines(source.text):
        was, is_continuation = is_continuation, _continues(line.text)
        match = None if was else _PROPERTY.match(line.text)
        if match is not None:
            found.append(_entry(source, line, match, len(line.text.rstrip()), ""))
    return tuple(found)


def _continues(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1 and not text.lstrip().startswith(("#", "!"))


def scan_ini(source: Source, *, comments: str = ";#", inline_comments: bool = True) -> tuple[Entry, ...]:
    """Ini files: sections, `key = value` or `key: value`; `comments` begin a comment at the start of a line.

    With `inline_comments`, they do also after white space behind a value that is not quoted.
    """
    found: list[Entry] = []
    section = ""
    for line in lines(source.text):
        stripped = line.text.lstrip()
        if not stripped or stripped[0] in comments:
            continue
        opening = _SECTION.match(line.text)
        if opening is not None:
            section = opening[1].strip()
            continue
        match = _SETTING.match(line.text)
        if match is not None:
            end = _setting_end(line.text, match.end(), comments if inline_comments else "")
            found.append(_entry(source, line, match, end, section))
    return tuple(found)


def _setting_end(text: str, start: int, comments: str) -> int:
    quote = text[start : start + 1]
    if quote and quote in "\"'":
        closing = text.find(quote, start + 1)
        # `"Forge" <forge@example.com>` is no quoted value: something that is no comment follows the quote.
        if closing > 0 and text[closing + 1 :].lstrip()[:1] != "<":
            return closing + 1
    end = len(text)
    for comment in comments:
        for blank in " \t":
            at = text.find(blank + comment, start - 1 if start else 0, end)
            if at >= 0:
                end = max(at, start)
    return start + len(text[start:end].rstrip())


def _entry(source: Source, line: Line, match: re.Match[str], end: int, section: str) -> Entry:
    start = line.start + match.end()
    key = source.span(line.start + match.start(1), line.start + match.end(1))
    return Entry(match[1], scalar_from(source, start, max(start, line.start + end)), key, section)
