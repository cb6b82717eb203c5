"""Tokens of C-like and Ruby-like source text: strings, numbers, names, marks; comments are left out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Language(Enum):
    """A notation that the scanner of code reads."""

    JAVASCRIPT = "javascript"
    """TypeScript and JSON (with comments or without) too."""
    PHP = "php"
    RUBY = "ruby"
    GO = "go"
    CSHARP = "c#"
    JAVA = "java"
    """Kotlin, Scala and Groovy as far as they look alike."""
    PYTHON = "python"


class TokenKind(Enum):
    """What a token is."""

    STRING = "string"
    NUMBER = "number"
    NAME = "name"
    MARK = "mark"


@dataclass(slots=True)
class Token:
    """One token at [start, end); `text` as written."""

    kind: TokenKind
    text: str
    start: int
    end: int
    is_first_on_line: bool = False


_STRINGS: Final = (
    r"""(?P<string>[$@frbFRB]{0,2}"(?:[^"\\\n]++|\\.)*+"?|[frbFRB]?'(?:[^'\\\n]++|\\.)*+'?|`(?:[^`\\]++|\\.)*+`?)"""
)
_NUMBER: Final = r"(?P<number>\d[\d_]*+(?:\.\d+)?+[A-Za-z]*+)"
_NAME: Final = (
    r"(?P<name>\\?[$@]{0,2}[^\W\d]\w*+(?:(?:\.|->|::|\?\.|\?->|&\.|\\)\$?[^\W\d]\w*+)*+(?:[?!](?![\w=.>:]))?)"
)
# A symbol begins where a value may: what follows a key at once (`secure:true`) is none.
_SYMBOL: Final = r"(?P<symbol>(?<![\w\"':]):[^\W\d]\w*+)"
_MARK: Final = r"(?P<mark>=>|==+|!=+|<=|>=|:=|\|\|=?|&&|\?\?=?|\?:|->|\?\.|&\.|\.\.\.|::|[^\w\s])"
_SLASHES: Final = r"(?P<comment>//[^\n]*+|/\*)"
_HASH: Final = r"(?P<comment>\#[^\n]*+)"
_BOTH: Final = r"(?P<comment>//[^\n]*+|/\*|\#(?!\[)[^\n]*+|<!--)"
_SPACE: Final = r"(?P<line>\n)|[ \t\r\f\v\xa0\ufeff]++"


def _pattern(comment: str, symbol: str = r"(?P<symbol>(?!))") -> re.Pattern[str]:
    return re.compile(f"{_SPACE}|{comment}|{_STRINGS}|{_NUMBER}|{symbol}|{_NAME}|{_MARK}", re.DOTALL)


_PATTERNS: Final = {
    Language.JAVASCRIPT: _pattern(_SLASHES),
    Language.GO: _pattern(_SLASHES),
    Language.CSHARP: _pattern(_SLASHES),
    Language.JAVA: _pattern(_SLASHES),
    Language.PHP: _pattern(_BOTH),
    Language.RUBY: _pattern(_HASH, _SYMBOL),
    Language.PYTHON: _pattern(_HASH),
}
_KINDS: Final = {
    "string": TokenKind.STRING,
    "number": TokenKind.NUMBER,
    "name": TokenKind.NAME,
    "symbol": TokenKind.NAME,
    "mark": TokenKind.MARK,
}
_MOST_TOKENS: Final = 200_000


def tokens(text: str, language: Language) -> list[Token]:
    """The tokens of a text; at most 200,000, what comes after is not read."""
    match = _PATTERNS[language].match
    found: list[Token] = []
    at, is_first = 0, True
    while at < len(text) and len(found) < _MOST_TOKENS:
        token = match(text, at)
        if token is None:
            at += 1
            continue
        at = token.end()
        match token.lastgroup:
            case None:
                pass
            case "line":
                is_first = True
            case "comment":
                at = _comment_end(text, token)
            case group:
                found.append(Token(_KINDS[group], token.group(), token.start(), at, is_first))
                is_first = False
    return found


def _comment_end(text: str, opening: re.Match[str]) -> int:
    closing = {"/*": "*/", "<!--": "-->"}.get(opening.group())
    if closing is None:
        return opening.end()
    end = text.find(closing, opening.end())
    return len(text) if end < 0 else end + len(closing)
