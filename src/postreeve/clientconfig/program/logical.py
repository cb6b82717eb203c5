"""Files of logical lines, as Postfix has them: a line that begins with white space continues the one before."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from postreeve.clientconfig.text import Entry, Scalar, Source, lines

_SETTING: Final = re.compile(r"([A-Za-z0-9_]+)[ \t]*=[ \t]*")
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|\((\w+)\)|(\w+))")
_DEEPEST: Final = 8
_LONGEST: Final = 4_000


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """The characters [start, end) without comment lines; `text` is the meaning, line ends turned into blanks."""

    start: int
    end: int
    text: str


def logical_lines(source: Source) -> Iterator[LogicalLine]:
    """Every logical line; comment lines and empty ones do not interrupt it."""
    start = end = 0
    parts: list[str] = []
    for line in lines(source.text):
        stripped = line.text.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if line.text[0] not in " \t":
            if parts:
                yield LogicalLine(start, end, " ".join(parts))
            start, parts = line.start, []
        elif not parts:
            continue
        parts.append(stripped if parts else line.text.rstrip())
        end = line.start + len(line.text.rstrip())
    if parts:
        yield LogicalLine(start, end, " ".join(parts))


def scan_main_cf(source: Source) -> tuple[Entry, ...]:
    """Every `name = value`, in order; what the file says of `$name` by its end is filled in."""
    found: list[tuple[str, str, int, int, int]] = []
    for line in logical_lines(source):
        match = _SETTING.match(line.text)
        if match is not None:
            at = line.start + match.end() if match.end() < len(line.text) else line.end
            found.append((match[1], line.text[match.end() :], line.start, min(at, line.end), line.end))
    values = {name: value for name, value, *_places in found}
    return tuple(
        Entry(name, _scalar(source, value, at, end, values), source.span(start, start + len(name)))
        for name, value, start, at, end in found
    )


def _scalar(source: Source, value: str, start: int, end: int, values: Mapping[str, str]) -> Scalar:
    span = source.span(start, end)
    if "$" not in value:
        return Scalar(value, span, span)
    expanded = expand(value, values)
    if expanded is None:
        return Scalar(None, span, span, is_reference=True)
    return Scalar(expanded, span, span)


def expand(value: str, values: Mapping[str, str], depth: int = 0) -> str | None:
    """The value with its `$name` filled in; None where one of them is not in the file."""
    if depth > _DEEPEST or len(value) > _LONGEST:
        return None
    parts: list[str] = []
    done = 0
    for match in _VARIABLE.finditer(value):
        known = values.get(match[1] or match[2] or match[3])
        inner = None if known is None else expand(known, values, depth + 1)
        if inner is None or len(inner) > _LONGEST:
            return None
        parts += (value[done : match.start()], inner)
        done = match.end()
    rest = value[done:]
    return None if "$" in rest else "".join((*parts, rest))
