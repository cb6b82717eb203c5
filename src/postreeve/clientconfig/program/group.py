"""The settings in one file that belong together, looked up by name: what a program reads before it decides anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from postreeve.clientconfig.settings import TlsMode, Value
from postreeve.clientconfig.text import Entry, Source

T = TypeVar("T")

# A key that is the first argument of a call, which its span covers as well: `props.put("mail.smtp.port"`.
_IN_CALL: Final = re.compile(r"[\w.]+\(\s*[\"']([\w.]+)[\"']")
YES = frozenset({"true", "yes", "on", "1", "t", "y"})
NO = frozenset({"false", "no", "off", "0", "f", "n"})


@dataclass(frozen=True, slots=True)
class Group:
    """Entries under the names that the program's own manual gives them; of several with one name the last counts.

    `last` also has what the group takes over from elsewhere in the file: that counts, but is not changed there.
    `label` is what the file calls the group (an account, a section), "" where there is but one.
    """

    source: Source
    entries: tuple[Entry, ...]
    last: Mapping[str, Entry]
    label: str = ""

    @property
    def line(self) -> int:
        """The line of the first entry."""
        return self.entries[0].key_span.line if self.entries else 1

    def has(self, *names: str) -> bool:
        """True when at least one of these is set to something."""
        return any(name in self.last and self.text(name) is not None for name in names)

    def written(self, name: str) -> str:
        """The value as text; "" when it is absent, empty or a reference without a default."""
        entry = self.last.get(name)
        return "" if entry is None else as_text(entry)

    def says(self, name: str) -> str:
        """As `written`, in lower case."""
        return self.written(name).lower()

    def is_yes(self, name: str) -> bool | None:
        """The truth value; None when the name is absent or its value no truth value."""
        said = self.says(name)
        return True if said in YES else False if said in NO else None

    def text(self, *names: str) -> Value[str] | None:
        """The first of these that is set; None when none is, an empty value counting as none."""
        for name in names:
            entry = self.last.get(name)
            if entry is not None and (as_text(entry) or entry.scalar.is_reference):
                return self.value(entry, as_text(entry) or None)
        return None

    def number(self, name: str, default: int | None = None) -> Value[int] | None:
        """A number; `default` (without a place) when it is absent, a place without a value when it is no number."""
        found = self.text(name)
        if found is None:
            return None if default is None else Value(default)
        return Value(as_number(found.value or ""), found.key, found.span, found.is_reference)

    def seconds(self, name: str, unit: float = 1.0) -> Value[float] | None:
        """A duration in seconds, `unit` being what one of the file's is worth."""
        found = self.number(name)
        if found is None or found.value is None:
            return None
        return Value(found.value * unit, found.key, found.span, found.is_reference)

    def decides(self, value: T, *names: str) -> Value[T]:
        """A value that follows from the first of these settings, or from the defaults when none is set."""
        for name in names:
            if name in self.last:
                return self.value(self.last[name], value)
        return Value(value)

    def value(self, entry: Entry, value: T | None) -> Value[T]:
        """A value that stands where this entry does."""
        key = self.source.written(entry.key_span)
        call = _IN_CALL.fullmatch(key)
        key = (call[1] if call is not None else key.strip("\"'")) or entry.key
        return Value(value, key, entry.scalar.span, entry.scalar.is_reference)

    def mode(self, mode: TlsMode, *names: str) -> Value[TlsMode]:
        """As `decides`, for the mode; unknown where the deciding setting is a reference."""
        found = self.decides(mode, *names)
        if found.is_reference and not self.written(next(name for name in names if name in self.last)):
            return Value(None, found.key, found.span, is_reference=True)
        return found


def group_of(source: Source, entries: Iterable[Entry], label: str = "", inherited: Iterable[Entry] = ()) -> Group:
    """The group of these entries, in the order of the file, after what it takes over from elsewhere."""
    kept = tuple(entries)
    return Group(source, kept, {entry.key: entry for entry in (*inherited, *kept)}, label)


def as_text(entry: Entry) -> str:
    """An entry's value as the text that a program would see."""
    value = entry.scalar.value
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_number(text: str) -> int | None:
    """A decimal number of at most nine digits, or None."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
