"""Which line of a TOML text a setting stands on: tomllib tells values only.

The text has been read by tomllib before, so it is well-formed; the scanner only has to know where keys and values end.
Places are paths such as ("listener", 1, "tls"): keys as text, places in arrays from 0.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

Place = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_KEY: Final = re.compile(r"""[ \t]*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))[ \t]*""")
# The long forms first: a multi-line string may end in up to five quotes.
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")|' + r"'''.*?'{3,5}(?!')|" + r'"(?:[^"\\]|\\.)*"|' + r"'[^']*'", re.DOTALL
)
_SCALAR: Final = re.compile(r"[^,\]}#\r\n]+")


def find_lines(text: str) -> dict[Place, int]:
    """The line, from 1, of every table, key and array element of a well-formed TOML text."""
    return _Scanner(text).scan()


def line_of(lines: dict[Place, int], place: Place) -> int:
    """The line of `place`, or of the nearest thing around it that has one; 0 for the file as a whole."""
    while place:
        if place in lines:
            return lines[place]
        place = place[:-1]
    return 0


def _spell(key: re.Match[str]) -> str:
    basic, literal, bare = key.groups()
    if basic is not None:
        return str(tomllib.loads(f'key = "{basic}"')["key"]) if "\\" in basic else basic
    return literal if literal is not None else bare


class _Scanner:
    """Walks the text once. `_at` only grows, so the walk ends."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._counts: dict[Place, int] = {}
        self._lines: dict[Place, int] = {}

    def scan(self) -> dict[Place, int]:
        table: Place = ()
        while True:
            self._skip_blank()
            if self._at >= len(self._text):
                return self._lines
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)

    def _skip_blank(self) -> None:
        matched = _BLANK.match(self._text, self._at)
        self._at = matched.end() if matched else self._at

    def _note(self, place: Place) -> None:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        self._lines.setdefault(place, self._line)

    def _header(self) -> Place:
        is_array = self._text.startswith("[[", self._at)
        start = self._at
        self._at += 2 if is_array else 1
        keys = self._keys()
        self._at += 2 if is_array else 1
        place: Place = ()
        for key in keys[:-1]:
            place = self._inside((*place, key))
        place = (*place, keys[-1])
        end, self._at = self._at, start
        self._note(place)
        if is_array:
            self._counts[place] = self._counts.get(place, 0) + 1
            place = self._inside(place)
            self._note(place)
        self._at = end
        return place

    def _inside(self, place: Place) -> Place:
        """Keys below an array of tables belong to its last element."""
        return (*place, self._counts[place] - 1) if place in self._counts else place

    def _keys(self) -> list[str]:
        keys = []
        while (matched := _KEY.match(self._text, self._at)) is not None:
            self._at = matched.end()
            keys.append(_spell(matched))
            if not self._text.startswith(".", self._at):
                break
            self._at += 1
        return keys

    def _pair(self, table: Place) -> None:
        start = self._at
        keys = self._keys()
        end, self._at = self._at, start
        for length in range(1, len(keys) + 1):
            self._note((*table, *keys[:length]))
        self._at = end + 1  # the "="
        self._value((*table, *keys))

    def _value(self, place: Place) -> None:
        self._skip_blank()
        opening = self._text[self._at : self._at + 1]
        if opening == "[":
            self._array(place)
        elif opening == "{":
            self._inline_table(place)
        else:
            pattern = _STRING if opening in ("'", '"') else _SCALAR
            matched = pattern.match(self._text, self._at)
            self._at = matched.end() if matched else self._at + 1

    def _array(self, place: Place) -> None:
        self._at += 1
        index = 0
        while True:
            self._skip_blank()
            if self._text[self._at : self._at + 1] in ("]", ""):
                self._at += 1
                return
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._note((*place, index))
            self._value((*place, index))
            index += 1

    def _inline_table(self, place: Place) -> None:
        self._at += 1
        while True:
            self._skip_blank()
            if self._text[self._at : self._at + 1] in ("}", ""):
                self._at += 1
                return
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._pair(place)
