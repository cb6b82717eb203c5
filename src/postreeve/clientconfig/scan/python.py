"""Python by its own parser: names that are set and keyword arguments, with their places; nothing is run."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from postreeve.clientconfig.settings import Span
from postreeve.clientconfig.text import Entry, Scalar, Source

_LONGEST: Final = 400_000
_LOOKUPS: Final = frozenset(
    ("env", "config", "getenv", "get", "str", "int", "bool", "float", "url", "email_url", "strtobool", "environ", "pop")
)


@dataclass(frozen=True, slots=True)
class Block:
    """The settings of one scope: a module, a class body, a branch, the arguments of one call, a dictionary.

    `name` is that of the class or of what is called, "" for a module; `depth` is 0 for the module.
    """

    name: str
    entries: tuple[Entry, ...]
    depth: int
    is_arguments: bool = False


@lru_cache(maxsize=4)
def scan_python(text: str) -> tuple[Block, ...]:
    """Every scope that sets something, outer ones first; none where the text is not Python."""
    if len(text) > _LONGEST:
        return ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(text)
            return tuple(block for block in _blocks(Source(text), tree) if block.entries)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return ()


def _blocks(source: Source, tree: ast.Module) -> Iterator[Block]:
    pending: list[tuple[str, list[ast.stmt], int]] = [("", tree.body, 0)]
    while pending:
        name, body, depth = pending.pop(0)
        entries: list[Entry] = []
        for statement in body:
            entries += _settings(source, statement)
            for inner in _inner(statement):
                pending.append((getattr(statement, "name", ""), inner, depth + 1))
        yield Block(name, tuple(entries), depth)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.keywords:
            yield Block(_name(node.func), tuple(_arguments(source, node)), 1, is_arguments=True)


def _inner(statement: ast.stmt) -> Iterable[list[ast.stmt]]:
    for field in ("body", "orelse", "finalbody"):
        inner = getattr(statement, field, None)
        if isinstance(inner, list) and inner:
            yield inner


def _settings(source: Source, statement: ast.stmt) -> Iterator[Entry]:
    match statement:
        case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
            key = _target(source, target)
            if key is not None:
                yield Entry(key[0], scalar_of(source, value), key[1])
            if isinstance(value, ast.Dict):
                yield from _members(source, value)


def _target(source: Source, target: ast.expr) -> tuple[str, Span] | None:
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name, span_of(source, target)
        case ast.Subscript(slice=ast.Constant(value=str(name)) as place):
            return name, span_of(source, place)
    return None


def _members(source: Source, value: ast.Dict) -> Iterator[Entry]:
    for key, member in zip(value.keys, value.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield Entry(key.value, scalar_of(source, member), span_of(source, key))


def _arguments(source: Source, call: ast.Call) -> Iterator[Entry]:
    for keyword in call.keywords:
        if keyword.arg:
            start = source.byte_offset(keyword.lineno - 1, keyword.col_offset)
            yield Entry(keyword.arg, scalar_of(source, keyword.value), source.span(start, start + len(keyword.arg)))


def span_of(source: Source, node: ast.expr) -> Span:
    """Where an expression stands."""
    start = source.byte_offset(node.lineno - 1, node.col_offset)
    end = source.byte_offset((node.end_lineno or node.lineno) - 1, node.end_col_offset or node.col_offset)
    return source.span(start, end)


def _name(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def scalar_of(source: Source, value: ast.expr) -> Scalar:
    """The scalar that an expression is; anything but literals and look-ups is a reference."""
    span = span_of(source, value)
    match value:
        case ast.Constant(value=str() | int() | float() | None as plain):
            written = source.written(span)
            quote = written[0] if written[:1] in ("'", '"') and written[:3] not in ("'''", '"""') else ""
            is_simple = not isinstance(plain, str) or (quote != "" and written.endswith(quote) and "\n" not in written)
            return Scalar(plain, span, span if is_simple else None, quote)
        case ast.Tuple(elts=[*_, ast.Constant(value=str(address))]) if "@" in address:
            return Scalar(address, span, None)
        case ast.Call():
            return _looked_up(source, value, span)
        case ast.BoolOp(op=ast.Or(), values=[*_, ast.Constant() as last]):
            inner = scalar_of(source, last)
            return Scalar(inner.value, span, inner.literal, inner.quote, is_reference=True)
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return Scalar(None, span, None, is_reference=True, name=name)
    return Scalar(None, span, None, is_reference=True)


def _looked_up(source: Source, call: ast.Call, span: Span) -> Scalar:
    """`os.environ.get("X", 587)`, `env.int("X", default=587)`, `int(os.environ.get("X", 587))`."""
    function = _name(call.func)
    if function in ("int", "str", "bool", "SecretStr", "float") and len(call.args) == 1 and not call.keywords:
        return scalar_of(source, call.args[0]) if not isinstance(call.func, ast.Attribute) else _reference(call, span)
    default = next((keyword.value for keyword in call.keywords if keyword.arg == "default"), None)
    if default is None and len(call.args) == 2 and function in _LOOKUPS:
        default = call.args[1]
    if isinstance(default, ast.Constant):
        inner = scalar_of(source, default)
        name = _reference(call, span).name
        return Scalar(inner.value, span, inner.literal, inner.quote, is_reference=True, name=name)
    return _reference(call, span)


def _reference(call: ast.Call, span: Span) -> Scalar:
    match call.args:
        case [ast.Constant(value=str(name)), *_]:
            return Scalar(None, span, None, is_reference=True, name=name)
    return Scalar(None, span, None, is_reference=True)
