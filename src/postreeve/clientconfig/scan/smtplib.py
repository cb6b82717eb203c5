"""Python code that uses smtplib: what each connection is opened with and what is done on it; nothing is run."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from postreeve.clientconfig.scan.python import scalar_of, span_of
from postreeve.clientconfig.settings import Span
from postreeve.clientconfig.text import Entry, Scalar, Source, unnamed

_LONGEST: Final = 400_000
_CLASSES: Final = ("SMTP", "SMTP_SSL")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Connection:
    """One connection. `starts_tls` is None where that depends on something; `call` covers the class's name."""

    is_implicit: bool
    call: Span
    name: ast.expr
    starts_tls: bool | None = False
    has_context: bool = False
    tls_call: Span | None = None
    entries: list[Entry] = field(default_factory=list)


@lru_cache(maxsize=4)
def scan_smtplib(text: str) -> tuple[Connection, ...]:
    """Every connection in the order of the text; none where the text is not Python."""
    if len(text) > _LONGEST or "smtplib" not in text:
        return ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return tuple(_Reader(Source(text), ast.parse(text)).read())
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return ()


class _Reader:
    __slots__ = ("constants", "source", "tree")

    def __init__(self, source: Source, tree: ast.Module) -> None:
        self.source = source
        self.tree = tree
        self.constants = self._constants(tree)

    def _constants(self, scope: ast.AST) -> dict[str, ast.expr]:
        """Names (attributes by their last part) that are assigned once, and then a literal."""
        found: dict[str, ast.expr] = {}
        spoilt: set[str] = set()
        for node in ast.walk(scope):
            match node:
                case ast.Assign(targets=[ast.Name(id=name) | ast.Attribute(attr=name)], value=value):
                    pass
                case ast.AnnAssign(target=ast.Name(id=name) | ast.Attribute(attr=name), value=ast.expr() as value):
                    pass
                case _:
                    continue
            if name in found:
                spoilt.add(name)
            found[name] = value
        return {name: value for name, value in found.items() if name not in spoilt}

    def read(self) -> Iterator[Connection]:
        for scope in self._scopes():
            yield from self._connections(scope)

    def _scopes(self) -> Iterator[ast.AST]:
        """Classes with a connection of their own (`self.server = …`), then functions and the module without them."""
        inner = [node for node in ast.walk(self.tree) if isinstance(node, _Function | ast.ClassDef)]
        classes = [node for node in inner if isinstance(node, ast.ClassDef) and self._keeps_one(node)]
        of_classes = {id(below) for one in classes for below in ast.walk(one)}
        yield from classes
        yield from (one for one in inner if isinstance(one, _Function) and id(one) not in of_classes)
        outside = [
            one for one in self.tree.body if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        ]
        yield ast.Module(outside, [])

    def _keeps_one(self, node: ast.ClassDef) -> bool:
        return any(
            isinstance(below, ast.Assign)
            and isinstance(below.targets[0], ast.Attribute)
            and isinstance(below.value, ast.Call)
            and _class_of(below.value) != ""
            for below in ast.walk(node)
        )

    def _connections(self, scope: ast.AST) -> list[Connection]:
        """The connections of a scope; what is done on one belongs to the last that was opened before."""
        depending = _depending(scope)
        found: list[Connection] = []
        calls = [node for node in _own(scope) if isinstance(node, ast.Call)]
        for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
            kind = _class_of(call)
            if kind:
                found.append(self._opened(call, kind))
            elif found and isinstance(call.func, ast.Attribute):
                self._done(found[-1], call, call.func.attr, is_sure=id(call) not in depending)
        return found

    def _opened(self, call: ast.Call, kind: str) -> Connection:
        made = Connection(kind == "SMTP_SSL", span_of(self.source, call.func), call.func)
        self._arguments(made, call, ("host", "port"), {"host": "host", "port": "port", "timeout": "timeout"})
        made.has_context = _has_context(call)
        self._split(made)
        return made

    def _split(self, made: Connection) -> None:
        """`SMTP("smtp.example.com:587")` says both in one."""
        host = next((one for one in made.entries if one.key == "host"), None)
        if host is None or not isinstance(host.scalar.value, str) or host.scalar.literal is None:
            return
        name, colon, port = host.scalar.value.rpartition(":")
        start = host.scalar.literal.start + len(host.scalar.quote)
        if colon and port.isdigit() and self.source.text.startswith(host.scalar.value, start):
            made.entries.remove(host)
            for key, text, at in (("host", name, start), ("port", port, start + len(name) + 1)):
                span = self.source.span(at, at + len(text))
                made.entries.append(unnamed(key, Scalar(text, span, span)))

    def _done(self, made: Connection, call: ast.Call, method: str, *, is_sure: bool) -> None:
        match method:
            case "starttls":
                made.starts_tls = True if is_sure else None
                made.has_context = _has_context(call)
                made.tls_call = span_of(self.source, call.func)
            case "login":
                self._arguments(made, call, ("user", "password"), {"user": "user", "password": "password"})
            case "connect":
                self._arguments(made, call, ("host", "port"), {"host": "host", "port": "port"})

    def _arguments(self, made: Connection, call: ast.Call, names: tuple[str, ...], keywords: dict[str, str]) -> None:
        given = [*zip(names, call.args, strict=False)]
        given += [(keywords[one.arg], one.value) for one in call.keywords if one.arg in keywords]
        for name, value in given:
            scalar = self._value(value)
            made.entries.append(unnamed(name, scalar))

    def _value(self, value: ast.expr) -> Scalar:
        match value:
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in self.constants:
                return scalar_of(self.source, self.constants[name])
        return scalar_of(self.source, value)


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """Everything below a scope without functions in it (but for a class, whose functions share its connection)."""
    pending = list(ast.iter_child_nodes(scope))
    while pending:
        node = pending.pop()
        yield node
        if isinstance(scope, ast.ClassDef) or not isinstance(node, _Function | ast.ClassDef):
            pending += ast.iter_child_nodes(node)


def _depending(scope: ast.AST) -> frozenset[int]:
    """The nodes that an `if` decides over."""
    return frozenset(
        id(below)
        for node in ast.walk(scope)
        if isinstance(node, ast.If | ast.IfExp | ast.Match)
        for child in (*getattr(node, "body", ()), *getattr(node, "orelse", ()))
        if isinstance(node, ast.If) and isinstance(child, ast.stmt)
        for below in ast.walk(child)
    )


def _class_of(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(value=ast.Name(id="smtplib"), attr=name) | ast.Name(id=name) if name in _CLASSES:
            return name
    return ""


def _has_context(call: ast.Call) -> bool:
    return any(one.arg in ("context", None) for one in call.keywords)
