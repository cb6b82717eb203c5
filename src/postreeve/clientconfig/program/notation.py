"""How a file writes a setting, and what must be edited to make it say something else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from postreeve.clientconfig.program.group import Group, as_text
from postreeve.clientconfig.settings import Edit
from postreeve.clientconfig.text import Entry, Scalar, Source


class Absent(Enum):
    """What a change says of a setting that shall not stand in the file."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
Wish = str | int | bool | Absent
Changes = Mapping[str, Wish]


@dataclass(frozen=True, slots=True)
class Notation:
    """One way to write settings down.

    `line` gives a whole new setting from its key and its literal, without indentation and line end. `literal` gives a
    value as written, `scalar` being what stands there now, or None for a new setting. `spell` turns the program's name
    for a setting into the key in this file. `is_before` is true where a new setting goes before the others (where the
    last one may lack a comma); `joint` stands before a new setting that follows another on the same line ("" where each
    setting has its own line); `removes` is false where a line cannot be taken out.
    """

    line: Callable[[str, str], str]
    literal: Callable[[Wish, Scalar | None], str]
    spell: Callable[[str], str] = str
    is_before: bool = False
    joint: str = ""
    removes: bool = True
    beside: Callable[[str, str], str] | None = None
    """Instead of `spell`, where the key follows from that of the setting before: (name, that key) → key or ""."""
    indent: str = ""
    """What a new setting is indented by where the one before is not."""


def rewrite(group: Group, changes: Changes, notation: Notation) -> tuple[Edit, ...] | None:
    """The edits that make these changes and no others, in order; None where one of them cannot be written.

    A setting is replaced where it stands last, and a new one follows the others of its group.
    """
    edits: list[Edit] = []
    for name, wish in changes.items():
        entry = group.last.get(name)
        if entry is not None and as_text(entry) != plain_text(wish) and entry not in group.entries:
            entry = None
        if entry is None:
            gone = {one for one, other in changes.items() if other is ABSENT}
            edit = None if wish is ABSENT else _insertion(group, name, wish, notation, gone)
            if edit is None and wish is not ABSENT:
                return None
        elif wish is ABSENT:
            if not notation.removes:
                return None
            edits += (_removal(group.source, one) for one in group.entries if one.key == name)
            continue
        elif as_text(entry) == plain_text(wish):
            edit = None
        else:
            edit = _replacement(entry, wish, notation)
            if edit is None:
                return None
        if edit is not None:
            edits.append(edit)
    return tuple(sorted(edits, key=lambda edit: (edit.start, edit.end)))


def plain_text(wish: Wish) -> str:
    """A wish as the text that `as_text` would give for it."""
    return str(wish).lower() if isinstance(wish, bool) else "" if wish is ABSENT else str(wish)


def _replacement(entry: Entry, wish: Wish, notation: Notation) -> Edit | None:
    place = entry.scalar.literal
    if place is None:
        return None
    text = notation.literal(wish, entry.scalar)
    return Edit(place.start, place.end, text)


def _removal(source: Source, entry: Entry) -> Edit:
    start = source.line_start(entry.key_span.start)
    end = source.line_end(entry.scalar.span.end)
    after = source.text.find("\n", end)
    return Edit(start, len(source.text) if after < 0 else after + 1, "")


def _insertion(group: Group, name: str, wish: Wish, notation: Notation, gone: Collection[str]) -> Edit | None:
    near = neighbour(group, name, gone) or neighbour(group, name)
    if near is None:
        return None
    source = group.source
    key = notation.beside(name, source.written(near.key_span)) if notation.beside else notation.spell(name)
    if not key:
        return None
    new = notation.line(key, notation.literal(wish, None))
    indent = source.indent(near.key_span.start) or notation.indent
    if notation.joint:
        starts_line = source.line_start(near.key_span.start) + len(indent) == near.key_span.start
        gap = source.newline() + indent if starts_line else " "
        return Edit(near.scalar.span.end, near.scalar.span.end, notation.joint + gap + new)
    if notation.is_before or near.key in gone:
        start = source.line_start(near.key_span.start)
        return Edit(start, start, indent + new + source.newline())
    end = source.line_end(near.scalar.span.end)
    return Edit(end, end, source.newline() + indent + new)


def neighbour(group: Group, name: str, gone: Collection[str] = ()) -> Entry | None:
    """The entry that a new one is written next to: the last (in the file) with the same parent that is not to go."""
    parent = name.rpartition(".")[0]
    family = [one for one in group.entries if one.key.rpartition(".")[0] == parent and one.key not in gone]
    return max(family, key=lambda entry: entry.scalar.span.end, default=None)


def bare(wish: Wish, scalar: Scalar | None) -> str:
    """The value with the quotes that stand there now, without any where none do."""
    text = plain_text(wish)
    return text if scalar is None or scalar.is_reference else quoted(text, scalar.quote)


def quoted(text: str, quote: str) -> str:
    """A text between quotes, with a backslash before each quote and backslash inside."""
    if not quote:
        return text
    return quote + text.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote
