"""Nested values as YAML, JSON and code literals have them, and their flattening into entries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from postreeve.clientconfig.settings import Span
from postreeve.clientconfig.text import Entry, Plain, Scalar

_MOST_ENTRIES = 20_000
_DEEPEST = 40


@dataclass(frozen=True, slots=True)
class Pair:
    """A key and its value within a mapping; `key_span` covers the key as written."""

    key: str
    key_span: Span
    value: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """A hash, object, dictionary or associative array."""

    pairs: tuple[Pair, ...]
    span: Span

    def find(self, key: str) -> Pair | None:
        """The last pair of this key: that which counts."""
        return next((pair for pair in reversed(self.pairs) if pair.key == key), None)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list or array."""

    items: tuple[Node, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """A call or construction, `name(arguments…)`; never carried out. `name` is as written, `new` taken off."""

    name: str
    name_span: Span
    arguments: tuple[Node, ...]
    span: Span


Node: TypeAlias = Scalar | Mapping | Sequence | Call


def flatten(node: Node, prefix: str = "", key_span: Span | None = None, section: str = "") -> tuple[Entry, ...]:
    """Every scalar below a node, its key the path joined by dots; items of a sequence are counted from 0."""
    return tuple(_walk(node, prefix, key_span or node.span, section, 0, [_MOST_ENTRIES]))


def _walk(node: Node, path: str, key: Span, section: str, depth: int, budget: list[int]) -> Iterator[Entry]:
    # Aliases of YAML share nodes: without a budget, nine lines could make a milliard of entries.
    budget[0] -= 1
    if budget[0] < 0 or depth > _DEEPEST:
        return
    match node:
        case Scalar():
            yield Entry(path, node, key, section)
        case Mapping():
            for pair in node.pairs:
                below = f"{path}.{pair.key}" if path else pair.key
                yield from _walk(pair.value, below, pair.key_span, section, depth + 1, budget)
        case Sequence():
            for number, item in enumerate(node.items):
                yield from _walk(item, f"{path}.{number}" if path else str(number), key, section, depth + 1, budget)
        case Call():
            scalar = as_scalar(node)
            if scalar is not None:
                yield Entry(path, scalar, key, section)


# Calls that give back their first argument in another type.
_CASTS = frozenset(
    [
        "parseInt",
        "Number",
        "String",
        "Boolean",
        "Integer",
        "Float",
        "str",
        "int",
        "float",
        "bool",
        "intval",
        "strval",
        "boolval",
        "strconv.Atoi",
        "int.Parse",
        "bool.Parse",
        "Convert.ToInt32",
        "Int32.Parse",
        "toInteger",
        "String.valueOf",
        "Integer.toString",
        "Integer.parseInt",
        "Integer.valueOf",
        "Boolean.toString",
        "Boolean.valueOf",
        "strconv.Itoa",
        "SecretStr",
    ]
)


def as_scalar(node: Node) -> Scalar | None:
    """The scalar that a node is: itself, the argument of a cast, a reference for any other call; else None."""
    match node:
        case Scalar():
            return node
        case Call() if node.name in _CASTS and node.arguments:
            return as_scalar(node.arguments[0])
        case Call():
            return Scalar(None, node.span, None, is_reference=True)
    return None


def text_of(node: Node | None) -> Plain:
    """The value of a scalar that is written out, or None."""
    return node.value if isinstance(node, Scalar) and not node.is_reference else None


def mappings(node: Node, path: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping]]:
    """Every mapping at and below a node with its path, outermost first."""
    if depth > _DEEPEST:
        return
    match node:
        case Mapping():
            yield path, node
            for pair in node.pairs:
                yield from mappings(pair.value, f"{path}.{pair.key}" if path else pair.key, depth + 1)
        case Sequence():
            for number, item in enumerate(node.items):
                yield from mappings(item, f"{path}.{number}" if path else str(number), depth + 1)
        case Call():
            for argument in node.arguments:
                yield from mappings(argument, path, depth + 1)
