"""YAML, by its own composer: nodes with their places, nothing constructed."""

from __future__ import annotations

from typing import Any, Final

import yaml

from postreeve.clientconfig.scan.tree import Mapping, Node, Pair, Sequence
from postreeve.clientconfig.text import Scalar, Source, scalar_from

# libyaml's composer is some twenty times as fast; where PyYAML came without it, its own gives the same nodes.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LONGEST: Final = 400_000
_DEEPEST: Final = 40
_MOST_NODES: Final = 50_000


def scan_yaml(source: Source) -> tuple[Node, ...]:
    """The root of every document; none where the text is no YAML (a template, say)."""
    if len(source.text) > _LONGEST or "\t\t\t\t\t\t\t\t" in source.text or _is_nested_without_end(source.text):
        return ()
    try:
        roots = [root for root in yaml.compose_all(source.text, Loader=_LOADER) if root is not None]
    except (yaml.YAMLError, RecursionError, ValueError, UnicodeError):
        return ()
    budget = [_MOST_NODES]
    nodes = [_node(source, root, 0, budget) for root in roots]
    return tuple(node for node in nodes if node is not None)


def _is_nested_without_end(text: str) -> bool:
    return "[[[[[[[[[[[[[[[[" in text or "{{{{{{{{{{{{{{{{" in text or "- - - - - - - - - - - - - - - -" in text


def _node(source: Source, node: Any, depth: int, budget: list[int]) -> Node | None:
    budget[0] -= 1
    if depth > _DEEPEST or budget[0] < 0:
        return None
    match node:
        case yaml.ScalarNode():
            return _scalar(source, node)
        case yaml.MappingNode():
            return _mapping(source, node, depth, budget)
        case yaml.SequenceNode():
            items = (_node(source, item, depth + 1, budget) for item in node.value)
            return Sequence(tuple(item for item in items if item is not None), _span(source, node))
    return None


def _mapping(source: Source, node: Any, depth: int, budget: list[int]) -> Mapping:
    pairs: list[Pair] = []
    for key, value in node.value:
        below = _node(source, value, depth + 1, budget)
        if below is None or not isinstance(key, yaml.ScalarNode):
            continue
        if key.value == "<<" and isinstance(below, Mapping):
            # A merge key (YAML 1.1): what stands in the mapping itself wins, so the merged pairs come first.
            pairs[:0] = below.pairs
            continue
        pairs.append(Pair(key.value, _span(source, key), below))
    return Mapping(tuple(pairs), _span(source, node))


def _span(source: Source, node: Any) -> Any:
    start, end = node.start_mark, node.end_mark
    return source.span(source.offset(start.line, start.column), source.offset(end.line, end.column))


def _scalar(source: Source, node: Any) -> Scalar:
    span = _span(source, node)
    if node.style in ("|", ">"):
        return Scalar(node.value, span, None)
    written = source.written(span)
    # An anchor or a tag stands within the node's span: what a correction replaces begins behind it.
    skipped = len(written) - len(written.lstrip("&!")) and written.find(" ") + 1
    scalar = scalar_from(source, span.start + max(skipped, 0), span.end, typed=not node.style)
    if scalar.is_reference:
        return scalar
    if node.style:
        return Scalar(node.value, scalar.span, scalar.literal, scalar.quote)
    return Scalar(_typed(node), scalar.span, scalar.literal)


def _typed(node: Any) -> str | int | bool | None:
    value: str = node.value
    match node.tag.rpartition(":")[2]:
        case "bool":
            return value.lower() in ("true", "yes", "on")
        case "null":
            return None
        case "int" if value.isascii() and value.isdigit() and len(value) < 19:
            return int(value)
    return value
