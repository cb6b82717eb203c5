"""Literals in source text of JavaScript, PHP, Ruby, Go and C#: what is assigned, what is called; nothing is run.

The scanner knows strings, numbers, truth values, arrays, hashes and look-ups of the environment. Any other expression
is a reference without a value: it is there, and we do not know what it gives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from postreeve.clientconfig.scan.token import Language, Token, TokenKind, tokens
from postreeve.clientconfig.scan.tree import Call, Mapping, Node, Pair, Sequence
from postreeve.clientconfig.settings import Span
from postreeve.clientconfig.text import Scalar, Source, plain

_DEEPEST: Final = 30
_CLOSING: Final = {"{": "}", "[": "]", "(": ")"}
_ENDS: Final = frozenset(",;)}]")
_ASSIGNS: Final = frozenset(("=", ":="))
_LOOKUPS: Final = frozenset({
    "env", "getenv", "Env::get", "ENV.fetch", "os.Getenv", "os.getenv", "os.environ.get",
    "Environment.GetEnvironmentVariable", "System.Environment.GetEnvironmentVariable", "Deno.env.get",
    "env.get", "config.get", "config", "getenv_docker", "env_var", "configService.get",
    "this.configService.get", "os.LookupEnv",
})  # fmt: skip
_TABLES: Final = frozenset(("ENV", "$_ENV", "$_SERVER", "process.env", "import.meta.env", "os.environ"))
_VARIABLES: Final = ("process.env.", "import.meta.env.", "Deno.env.")
_CASTS: Final = frozenset(["int", "integer", "bool", "boolean", "string", "float", "array", "object"])
_DECLARES: Final = frozenset(
    ("const", "let", "var", "using", "final", "return", "if", "else", "defer", "go", "yield", "throw", "echo", "try")
)
_TYPED: Final = (Language.JAVA, Language.CSHARP)
_ALTERNATIVES: Final = frozenset(("||", "??", "?:", "or", ":"))
_INTERPOLATED: Final = {
    Language.JAVASCRIPT: re.compile(r"\$\{"),
    Language.PHP: re.compile(r"\$\w|\{\$"),
    Language.RUBY: re.compile(r"#\{"),
    Language.PYTHON: re.compile(r"\{"),
}
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Assignment:
    """`target = value` as written; a subscript belongs to the target (`gitlab_rails['smtp_address']`)."""

    target: str
    target_span: Span
    value: Node


@dataclass(frozen=True, slots=True)
class Code:
    """What a source text assigns and calls, each in the order of the text, wherever in it they stand."""

    assignments: tuple[Assignment, ...]
    calls: tuple[Call, ...]
    root: Node | None
    """The value that is the whole text (JSON), or that a file returns or exports (`return [...]` of PHP)."""


def scan_code(source: Source, language: Language) -> Code:
    """Every assignment and call in the text."""
    return _scan(source.text, language)


@lru_cache(maxsize=8)
def _scan(text: str, language: Language) -> Code:
    return _Reader(Source(text), language).read()


class _Reader:
    """One pass over the tokens; values are read where an assignment, a call or a `return` begins them."""

    __slots__ = ("assignments", "at", "calls", "language", "source", "tokens")

    def __init__(self, source: Source, language: Language) -> None:
        self.source = source
        self.language = language
        self.tokens: list[Token] = tokens(source.text, language)
        self.at = 0
        self.assignments: list[Assignment] = []
        self.calls: list[Call] = []

    def read(self) -> Code:
        root: Node | None = None
        if self._text() in ("{", "["):
            root = self._value(0)
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token.kind is not TokenKind.NAME:
                self.at += 1
            elif token.text in ("return", "default") and self._text(1) in ("[", "{", "array"):
                self.at += 1
                value = self._value(0)
                root = root or value
            else:
                self._statement(token, 0)
        by_place = lambda item: item.span.start  # noqa: E731 - a key, used once
        return Code(tuple(self.assignments), tuple(sorted(self.calls, key=by_place)), root)

    def _text(self, ahead: int = 0) -> str:
        place = self.at + ahead
        return self.tokens[place].text if place < len(self.tokens) else ""

    def _statement(self, token: Token, depth: int) -> None:
        """What begins with a name: an assignment, a call, or nothing that we know."""
        start, self.at = self.at, self.at + 1
        while self._text() == "[" and self._text(2) == "]" and self.tokens[self.at + 1].kind is not TokenKind.MARK:
            self.at += 3
        end = self.tokens[self.at - 1].end
        if self._text() in _ASSIGNS:
            self.at += 1
            value = self._value(depth)
            if value is not None:
                target = self.source.text[token.start : end]
                self.assignments.append(Assignment(target, self.source.span(token.start, end), value))
        elif self._text() == "(" and self.at == start + 1:
            self.at = start
            self._value(depth)
        elif self._text() == ":" and self.language is Language.JAVASCRIPT and self._text(2) == "=":
            # A type annotation of TypeScript: `const options: Options = {…}`.
            self.at += 2

    def _value(self, depth: int) -> Node | None:
        """The value at the present place; afterwards the place is behind it."""
        if self.at >= len(self.tokens):
            return None
        start = self.at
        first = self._primary(depth)
        if first is None or self._is_at_end(start):
            if self.at == start and self.tokens[start].text not in _ENDS:
                self.at += 1
            return first
        return self._expression(start, first, depth)

    def _is_at_end(self, start: int) -> bool:
        if self.at >= len(self.tokens):
            return True
        token = self.tokens[self.at]
        if token.text in _ENDS or token.text == "=>":
            return True
        if not token.is_first_on_line or self.at == start:
            return token.kind is not TokenKind.MARK and token.text in ("if", "unless", "as", "satisfies")
        return token.kind is not TokenKind.MARK or token.text in ("{", "[", "(", "@", "$", "#", "/", "<", "}", "'", '"')

    def _expression(self, start: int, first: Node, depth: int) -> Node:
        """More than one value joined by operators: a reference, its default what stands behind `||`, `??`, `?:`."""
        last: Node | None = None
        while not self._is_at_end(start):
            operator = self._text()
            self.at += 1
            if operator in _CLOSING:
                self.at -= 1
                self._value_within(depth)
                continue
            if self.at >= len(self.tokens) or self.tokens[self.at].text in _ENDS:
                break
            if self.tokens[self.at].kind is TokenKind.MARK and self._text() not in _CLOSING:
                continue
            before = self.at
            operand = self._primary(depth + 1)
            if self.at == before:
                self.at += 1
            if operator in _ALTERNATIVES:
                last = operand
        span = self._span(start)
        if isinstance(last, Scalar) and last.literal is not None:
            name = first.name if isinstance(first, Scalar) else ""
            return Scalar(last.value, span, last.literal, last.quote, True, name)
        if isinstance(first, Scalar) and first.is_reference:
            return Scalar(first.value, span, first.literal, first.quote, True, first.name)
        return Scalar(None, span, None, is_reference=True)

    def _value_within(self, depth: int) -> None:
        before = self.at
        self._primary(depth + 1)
        if self.at == before:
            self.at += 1

    def _span(self, start: int) -> Span:
        return self.source.span(self.tokens[start].start, self.tokens[max(self.at - 1, start)].end)

    def _primary(self, depth: int) -> Node | None:
        token = self.tokens[self.at]
        if depth > _DEEPEST:
            return None
        match token.kind:
            case TokenKind.STRING:
                self.at += 1
                return self._string(token)
            case TokenKind.NUMBER:
                self.at += 1
                span = self.source.span(token.start, token.end)
                value = plain(token.text.replace("_", ""))
                return Scalar(value, span, span)
            case TokenKind.NAME:
                return self._named(token, depth)
        match token.text:
            case "[" | "{":
                return self._collection(token, depth)
            case "(":
                return self._group(depth)
            case ":" | "&" | "*" | "!" | "-" | "+" | "@":
                self.at += 1
                if self.at < len(self.tokens) and self.tokens[self.at].kind is not TokenKind.MARK:
                    start = self.at - 1
                    inner = self._primary(depth + 1)
                    if token.text in "&@" and inner is not None:
                        return inner
                    return Scalar(None, self._span(start), None, is_reference=True)
                self.at -= 1
        return None

    def _string(self, token: Token) -> Scalar:
        span = self.source.span(token.start, token.end)
        prefix = len(token.text) - len(token.text.lstrip("$@frbFRB"))
        quote = token.text[prefix]
        inner = token.text[prefix + 1 :].removesuffix(quote)
        interpolated = _INTERPOLATED.get(self.language)
        if self.language is Language.JAVASCRIPT and quote != "`":
            interpolated = None
        if self.language is Language.PYTHON and "f" not in token.text[:prefix].lower():
            interpolated = None
        if "$" in token.text[:prefix] or (quote != "'" and interpolated is not None and interpolated.search(inner)):
            return Scalar(None, span, None, is_reference=True)
        if "\\" in inner and "@" not in token.text[:prefix] and not (self.language is Language.GO and quote == "`"):
            inner = _ESCAPE.sub(r"\1", inner)
        return Scalar(inner, span, span, quote)

    def _named(self, token: Token, depth: int) -> Node | None:
        text = token.text
        if text in ("new", "await", "async") and self.at + 1 < len(self.tokens):
            self.at += 1
            return self._primary(depth + 1)
        following = self._text(1)
        if following == "(":
            return self._call(token, depth)
        if following == "[" and text in _TABLES:
            return self._lookup(token, depth)
        if following == "{" and (self.language is Language.GO or self.language is Language.CSHARP):
            # A composite literal: `&tls.Config{InsecureSkipVerify: true}`, `new NetworkCredential { … }`.
            self.at += 1
            return self._collection(self.tokens[self.at], depth)
        self.at += 1
        span = self.source.span(token.start, token.end)
        value = plain(text)
        if not isinstance(value, str):
            return Scalar(value, span, span)
        if text.startswith(":") and not text.startswith("::"):
            return Scalar(text[1:], span, span, ":")
        name = next((text[len(prefix) :] for prefix in _VARIABLES if text.startswith(prefix)), "")
        return Scalar(None, span, None, is_reference=True, name=name)

    def _lookup(self, token: Token, depth: int) -> Node:
        start = self.at
        self.at += 1
        self._collection(self.tokens[self.at], depth)
        return Scalar(None, self._span(start), None, is_reference=True, name=self._inner_text(start + 2))

    def _inner_text(self, place: int) -> str:
        token = self.tokens[place] if place < len(self.tokens) else None
        return token.text.strip("\"'`:") if token is not None and token.kind is TokenKind.STRING else ""

    def _call(self, token: Token, depth: int) -> Node:
        start = self.at
        self.at += 2
        arguments = self._items(")", depth)
        if token.text == "array":
            return self._as_collection(arguments, self._span(start))
        nodes = tuple(item.value if isinstance(item, Pair) else item for item in arguments)
        pairs = tuple(item for item in arguments if isinstance(item, Pair))
        if pairs:
            # Keyword arguments stand together as one mapping, behind those that have no name.
            plain_ones = tuple(item for item in arguments if not isinstance(item, Pair))
            nodes = (*plain_ones, Mapping(pairs, self._span(start)))
        if token.text in _LOOKUPS and nodes:
            default = nodes[1] if len(nodes) > 1 else None
            name = self._inner_text(start + 2)
            if isinstance(default, Scalar):
                return Scalar(default.value, self._span(start), default.literal, default.quote, True, name)
            return Scalar(None, self._span(start), None, is_reference=True, name=name)
        call = Call(token.text, self.source.span(token.start, token.end), nodes, self._span(start))
        self.calls.append(call)
        return call

    def _group(self, depth: int) -> Node | None:
        start = self.at
        if self._text(1) in _CASTS and self._text(2) == ")":
            self.at += 3
            return self._primary(depth + 1) if self.at < len(self.tokens) else None
        self.at += 1
        items = self._items(")", depth)
        if self._text() in ("=>", "{"):
            return None
        if len(items) == 1 and not isinstance(items[0], Pair):
            return items[0]
        return Scalar(None, self._span(start), None, is_reference=True)

    def _collection(self, opening: Token, depth: int) -> Node:
        start = self.at
        self.at += 1
        items = self._items(_CLOSING[opening.text], depth)
        if opening.text == "{" and not items:
            return Mapping((), self._span(start))
        return self._as_collection(items, self._span(start))

    def _as_collection(self, items: list[Pair | Node], span: Span) -> Node:
        pairs = tuple(item for item in items if isinstance(item, Pair))
        if pairs:
            return Mapping(pairs, span)
        return Sequence(tuple(item for item in items if not isinstance(item, Pair)), span)

    def _items(self, closing: str, depth: int) -> list[Pair | Node]:
        """What stands before `closing`, which is passed; a block of statements inside loses nothing but its values."""
        found: list[Pair | Node] = []
        while self.at < len(self.tokens):
            text = self._text()
            if text == closing:
                self.at += 1
                break
            if text in _ENDS:
                self.at += 1
                if text in (",", ";"):
                    continue
                break
            before = self.at
            item: Pair | Node | None = self._shorthand() if closing == "}" else None
            item = item or self._pair(depth)
            if self.at == before:
                item = self._nested(depth)
            if item is not None:
                found.append(item)
            if self.at == before:
                self.at += 1
        return found

    def _shorthand(self) -> Pair | None:
        """`{ host, port }` of JavaScript: members whose values are the variables of the same names."""
        token = self.tokens[self.at]
        is_alone = self._text(1) in (",", "}") and token.kind is TokenKind.NAME and token.text.isidentifier()
        if self.language is not Language.JAVASCRIPT or not is_alone:
            return None
        self.at += 1
        span = self.source.span(token.start, token.end)
        return Pair(token.text, span, Scalar(None, span, None, is_reference=True))

    def _nested(self, depth: int) -> Node | None:
        while (self._text() in _DECLARES or self._is_typed()) and self.at + 1 < len(self.tokens):
            self.at += 1
        token = self.tokens[self.at]
        if token.kind is TokenKind.NAME and self._is_assignment():
            self._statement(token, depth + 1)
            return None
        return self._value(depth + 1)

    def _is_typed(self) -> bool:
        """`String host = …`: a type in front of a name that is assigned."""
        names = self.tokens[self.at : self.at + 2]
        is_pair = len(names) == 2 and all(one.kind is TokenKind.NAME for one in names)
        return is_pair and self.language in _TYPED and self._text() != "new"

    def _is_assignment(self) -> bool:
        ahead = 1
        if self._text(1) == "[" and self._text(3) == "]":
            ahead = 4
        return self._text(ahead) in _ASSIGNS

    def _pair(self, depth: int) -> Pair | None:
        """`key: value`, `'key' => value`, `:key => value`, and for C# and keyword arguments `Key = value`."""
        token = self.tokens[self.at]
        if token.kind is TokenKind.MARK or self._text(1) not in (":", "=>", "="):
            return None
        if self._text(1) == "=" and self.language not in (Language.CSHARP, Language.PYTHON):
            return None
        before = self.at
        self.at += 2
        value = self._value(depth + 1)
        if value is None:
            return None
        key = token.text if token.kind is TokenKind.NAME else token.text.strip("\"'`")
        span = self.source.span(token.start, token.end)
        if self.tokens[before + 1].text == "=" and self.language is Language.CSHARP:
            self.assignments.append(Assignment(key, span, value))
        return Pair(key.removeprefix(":"), span, value)
