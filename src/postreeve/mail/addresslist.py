"""Address lists of header fields (From, Sender, To …) read to mailboxes, in one pass and within bounds.

    address-list = (address *("," address)) / obs-addr-list           RFC 5322, section 3.4
    name-addr    = [display-name] angle-addr
    group        = display-name ":" [group-list] ";" [CFWS]
    obs-route    = obs-domain-list ":"                                RFC 5322, section 4.4

Every addr-spec goes through `mail.address.parse_mailbox`, the only parser of mailboxes; display names and comments are
skipped, nested comments by counting, so no input costs recursion or more than linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from postreeve.mail.address import Mailbox, parse_mailbox

MAX_ADDRESS_TOKENS: Final = 10_240

# Possessive throughout: nothing is ever tried twice.
_SPACE: Final = re.compile(r"[ \t\r\n]++")
_ATOM: Final = re.compile(r'[^\x00-\x20()<>@,;:\\".\[\]\x7f]++')
_QUOTED: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_LITERAL: Final = re.compile(r"\[[^\[\]\\]*+\]")
_IN_COMMENT: Final = re.compile(r"[^()\\]*+(?:\\.[^()\\]*+)*+([()])", re.DOTALL)


@dataclass(frozen=True, slots=True)
class AddressList:
    """The mailboxes of one field in their order. With a `problem` some may be missing: do not trust the field."""

    mailboxes: tuple[Mailbox, ...]
    problem: str = ""
    has_group: bool = False
    has_route: bool = False


class _Malformed(Exception):
    """Ends the reading of a list; the text is the problem."""


def read_address_list(value: bytes, max_tokens: int = MAX_ADDRESS_TOKENS) -> AddressList:
    """The mailboxes that a field's value (`Field.value`) names; octets that are no UTF-8 are part of none."""
    return parse_address_list(value.replace(b"\r\n", b"").decode("utf-8", "surrogateescape"), max_tokens)


def parse_address_list(text: str, max_tokens: int = MAX_ADDRESS_TOKENS) -> AddressList:
    """The mailboxes of an unfolded address list; never raises. Empty list elements are skipped (obs-addr-list)."""
    reader = _Reader()
    problem = ""
    try:
        for token in _tokens(text, max_tokens):
            reader.take(token)
        reader.finish()
    except _Malformed as malformed:
        problem = str(malformed)
    return AddressList(tuple(reader.mailboxes), problem, reader.has_group, reader.has_route)


def _tokens(text: str, max_tokens: int) -> Iterator[str]:
    """Atoms, quoted strings, domain literals and specials; white space and comments are left out."""
    position, count, end = 0, 0, len(text)
    while position < end:
        first = text[position]
        if first == "(":
            position, count = _skip_comment(text, position + 1, count, max_tokens)
            continue
        pattern = _QUOTED if first == '"' else _LITERAL if first == "[" else _SPACE if first in " \t\r\n" else _ATOM
        match = pattern.match(text, position)
        if match is not None:
            position = match.end()
            if pattern is _SPACE:
                continue
            token = match[0]
        elif first in "<>@,;:.":
            position += 1
            token = first
        else:
            raise _Malformed("a quoted string, literal or character that no address may have")
        count += 1
        if count > max_tokens:
            raise _Malformed("too many tokens in an address list")
        yield token


def _skip_comment(text: str, position: int, count: int, max_tokens: int) -> tuple[int, int]:
    depth = 1
    while depth:
        match = _IN_COMMENT.match(text, position)
        if match is None:
            raise _Malformed("a comment without end")
        count += 1
        if count > max_tokens:
            raise _Malformed("too many tokens in an address list")
        depth += 1 if match[1] == "(" else -1
        position = match.end()
    return position, count


class _Reader:
    """Takes tokens one by one. `_words` is what stands before "<" or is an addr-spec; `_angle` what stands within."""

    __slots__ = ("_angle", "_in_group", "_is_closed", "_words", "has_group", "has_route", "mailboxes")

    def __init__(self) -> None:
        self.mailboxes: list[Mailbox] = []
        self.has_group = False
        self.has_route = False
        self._words: list[str] = []
        self._angle: list[str] | None = None
        self._in_group = False
        self._is_closed = False

    def take(self, token: str) -> None:
        if self._angle is not None:
            self._take_in_angle(token)
            return
        match token:
            case ",":
                self._end_address()
            case ";":
                if not self._in_group:
                    raise _Malformed("a semicolon outside a group")
                self._end_address()
                self._in_group = False
                self._is_closed = True
            case _ if self._is_closed:
                raise _Malformed("text after an address")
            case ":":
                self._begin_group()
            case "<":
                _check_phrase(self._words)
                self._angle = []
            case ">":
                raise _Malformed("a > without <")
            case _:
                self._words.append(token)

    def finish(self) -> None:
        if self._angle is not None:
            raise _Malformed("a < without >")
        if self._in_group:
            raise _Malformed("a group without end")
        self._end_address()

    def _take_in_angle(self, token: str) -> None:
        assert self._angle is not None
        if token == "<":
            raise _Malformed("a < within <>")
        if token != ">":
            self._angle.append(token)
            return
        words, self._angle = self._angle, None
        if words and words[0] in ("@", ",") and ":" in words:
            self.has_route = True
            words = words[words.index(":") + 1 :]
        self.mailboxes.append(_addr_spec(words))
        self._words.clear()
        self._is_closed = True

    def _begin_group(self) -> None:
        if self._in_group or not self._words:
            raise _Malformed("a group within a group, or without a name")
        _check_phrase(self._words)
        self._words.clear()
        self._in_group = self.has_group = True

    def _end_address(self) -> None:
        if self._words:
            self.mailboxes.append(_addr_spec(self._words))
            self._words.clear()
        self._is_closed = False


def _check_phrase(words: list[str]) -> None:
    """phrase = 1*word / obs-phrase: an @ or a literal before <> is how one address hides behind another."""
    if any(word == "@" or word[0] == "[" for word in words):
        raise _Malformed("an address where a display name belongs")
    if words and words[0] == ".":
        raise _Malformed("a display name that begins with a dot")


def _addr_spec(words: list[str]) -> Mailbox:
    """addr-spec = local-part "@" domain; white space around the dots was obsolete syntax and is gone."""
    if words.count("@") != 1:
        raise _Malformed("an address without one @")
    at = words.index("@")
    text = _dotted(words[:at]) + "@" + _dotted(words[at + 1 :])
    mailbox = parse_mailbox(text)
    if mailbox is None:
        raise _Malformed("an address that is no mailbox")
    return mailbox


def _dotted(words: list[str]) -> str:
    """word *("." word) as one text; two words side by side are no local part and no domain."""
    is_word = [word != "." for word in words]
    if not words or not all(is_word[::2]) or any(is_word[1::2]) or not is_word[-1]:
        raise _Malformed("an address with misplaced dots or spaces")
    return "".join(words)
