"""A bounded reader of header sections over bytes: it reads, it never writes a received header anew.

    message        = (fields / obs-fields) [CRLF body]                RFC 5322, section 3.5
    optional-field = field-name ":" unstructured CRLF                 RFC 5322, section 3.6.8

Line ends are CRLF and nothing else; folding is the only structure looked at; fields are cut out in bulk and unfolded
only when asked. What is malformed is no field: it is named in `problems`, and policy decides what that means. All work
is linear in the section, and the section is bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

MAX_HEADER_OCTETS: Final = 262_144
MAX_FIELDS: Final = 1_000
_MAX_CACHED_NAME: Final = 76

# A line break that does not fold.
_FIELD_BREAK: Final = re.compile(rb"\r\n(?![ \t])")
# ftext = %d33-57 / %d59-126
_FIELD_NAME: Final = re.compile(rb"[!-9;-~]+")
# Everything below space except HTAB, CR and LF (counted apart), and DEL.
_CONTROLS: Final = bytes(octet for octet in range(32) if octet not in b"\t\r\n") + b"\x7f"


class HeaderProblem(Enum):
    """What is wrong with a header section, in words for a reply."""

    LEADING_FOLD = "the first line of the header section is folded"
    NO_COLON = "a line of the header section has no colon"
    SPACE_BEFORE_COLON = "a field name is followed by a space"
    BAD_NAME = "a field name is empty or has characters that no field name may have"
    CONTROL = "the header section has control characters"
    BARE_NEWLINE = "the header section has a bare CR or LF"
    TOO_LARGE = "the header section is too large"
    TOO_MANY_FIELDS = "the header section has too many fields"


class Field(NamedTuple):
    """One field. `raw` is all of it, folded as it came, without the CRLF that ends it."""

    key: bytes
    """The field name in lower case."""
    raw: bytes
    colon: int
    """Where in `raw` the colon stands."""
    start: int
    """Where in the content the field begins."""

    @property
    def name(self) -> bytes:
        """The field name as written."""
        return self.raw[: self.colon].rstrip(b" \t")

    @property
    def value(self) -> bytes:
        """Everything after the colon, still folded."""
        return self.raw[self.colon + 1 :]

    @property
    def end(self) -> int:
        """Where in the content the field ends: the offset of its CRLF."""
        return self.start + len(self.raw)

    def unfolded(self) -> bytes:
        """The value with folding undone (RFC 5322, section 2.2.3) and the outer white space removed."""
        return self.value.replace(b"\r\n", b"").strip(b" \t")

    def text(self) -> str:
        """The unfolded value for people; octets that are no UTF-8 show as U+FFFD. Encoded words stay as they are."""
        return self.unfolded().decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class HeaderSection:
    """The fields of one message in their order."""

    fields: tuple[Field, ...]
    end: int
    """How many octets the header section has, its last CRLF included."""
    body: int
    """Where the body begins: after the empty line, or the content's length where there is no body."""
    is_ascii: bool
    """False when raw 8-bit octets occur (RFC 6532)."""
    problems: tuple[HeaderProblem, ...]

    def all(self, key: bytes) -> list[Field]:
        """The fields named `key` (in lower case), first to last."""
        return [field for field in self.fields if field.key == key]

    def first(self, key: bytes) -> Field | None:
        """The topmost field named `key` (in lower case)."""
        for field in self.fields:
            if field.key == key:
                return field
        return None

    def has(self, key: bytes) -> bool:
        """True when there is a field named `key` (in lower case)."""
        return self.first(key) is not None


def read_header_section(
    content: bytes, max_octets: int = MAX_HEADER_OCTETS, max_fields: int = MAX_FIELDS
) -> HeaderSection:
    """Read the header section at the beginning of `content`, which may be the whole message or a head of it.

    Never raises. Past a limit the rest is unread and the problem says so. A malformed line is no field, but the section
    still ends at the first empty line only.
    """
    problems: list[HeaderProblem] = []
    section, end, body = _cut(content, max_octets, problems)
    _check_octets(section, problems)
    fields: list[Field] = []
    offset = 0
    if section:
        if section[0] in b" \t":
            problems.append(HeaderProblem.LEADING_FOLD)
        pieces = _FIELD_BREAK.split(section, max_fields)
        if len(pieces) > max_fields:
            problems.append(HeaderProblem.TOO_MANY_FIELDS)
            pieces.pop()
        for raw in pieces:
            colon = raw.find(b":")
            key, problem = _read_name(raw[:colon]) if 0 <= colon <= _MAX_CACHED_NAME else _read_odd_name(raw, colon)
            if problem is not None and problem not in problems:
                problems.append(problem)
            if key:
                fields.append(Field(key, raw, colon, offset))
            offset += len(raw) + 2
    return HeaderSection(tuple(fields), end, body, section.isascii(), tuple(problems))


def _cut(content: bytes, max_octets: int, problems: list[HeaderProblem]) -> tuple[bytes, int, int]:
    """The section without its last CRLF, its length with it, and where the body begins."""
    if content[:2] == b"\r\n":
        return b"", 0, 2
    blank = content.find(b"\r\n\r\n", 0, max_octets + 4)
    if blank >= 0:
        return content[:blank], blank + 2, blank + 4
    if len(content) > max_octets:
        problems.append(HeaderProblem.TOO_LARGE)
        last = max(content.rfind(b"\r\n", 0, max_octets), 0)
        return content[:last], last, len(content)
    return content.removesuffix(b"\r\n"), len(content), len(content)


def _check_octets(section: bytes, problems: list[HeaderProblem]) -> None:
    if len(section.translate(None, _CONTROLS)) != len(section):
        problems.append(HeaderProblem.CONTROL)
    newlines = section.count(b"\r\n")
    if section.count(b"\n") != newlines or section.count(b"\r") != newlines:
        problems.append(HeaderProblem.BARE_NEWLINE)


def _judge_name(name: bytes) -> tuple[bytes, HeaderProblem | None]:
    if _FIELD_NAME.fullmatch(name):
        return name.lower(), None
    stripped = name.rstrip(b" \t")
    if stripped != name and _FIELD_NAME.fullmatch(stripped):
        # obs-optional allows it; readers disagree on whether such a line is a field at all.
        return stripped.lower(), HeaderProblem.SPACE_BEFORE_COLON
    return b"", HeaderProblem.BAD_NAME


_read_name = lru_cache(maxsize=1024)(_judge_name)


def _read_odd_name(raw: bytes, colon: int) -> tuple[bytes, HeaderProblem | None]:
    """A name too long to be worth remembering, or none at all."""
    return _judge_name(raw[:colon]) if colon >= 0 else (b"", HeaderProblem.NO_COLON)
