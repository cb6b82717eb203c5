"""Environments of containers in YAML: Compose services, Kubernetes containers, ConfigMaps and Secrets, Helm values."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from postreeve.clientconfig.scan.tree import Mapping, Node, Sequence, flatten, mappings
from postreeve.clientconfig.settings import Span
from postreeve.clientconfig.text import Entry, Scalar, Source, renamed, scalar_from

_ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w*)=")
_BLOCK: Final = re.compile(
    r"(?:^|\.)(?:smtp|mail|mailer|email|outgoing_?mail|smtp_?settings|smtp_?config)\Z", re.IGNORECASE
)
_CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ENVIRONMENTS: Final = ("env", "extraEnv", "extraEnvVars", "environment", "envVars", "data", "stringData")


def environments(source: Source, root: Node, *, is_compose: bool) -> Iterator[list[Entry]]:
    """The variables of every environment below a node, in order."""
    for path, found in mappings(root):
        if is_compose:
            pair = found.find("environment")
            if pair is not None and (path.startswith(("services.", "x-")) or path == ""):
                yield list(_variables(source, pair.value))
            continue
        for key in _ENVIRONMENTS:
            pair = found.find(key)
            # `data` is that of a ConfigMap or Secret at the top, or of one in a List.
            if pair is None or not (not key.endswith("ata") or path == "" or path[-1].isdigit()):
                continue
            entries = list(_variables(source, pair.value))
            yield [_decoded(entry) for entry in entries] if key == "data" and _is_secret(found) else entries


def helm_blocks(root: Node) -> Iterator[list[Entry]]:
    """Blocks called `smtp` and the like, their keys as variables: `smtp.useTLS` is SMTP_USE_TLS."""
    for path, found in mappings(root):
        if _BLOCK.search(path) is None:
            continue
        own = [entry for entry in flatten(found) if entry.key.count(".") == 0 or entry.key.startswith("auth.")]
        yield [renamed(entry, f"smtp_{_snake(entry.key)}") for entry in own]


def _snake(key: str) -> str:
    return _CAPITAL.sub("_", key.removeprefix("auth.")).replace("-", "_").lower().removeprefix("smtp_")


def _is_secret(found: Mapping) -> bool:
    pair = found.find("kind")
    return pair is not None and isinstance(pair.value, Scalar) and pair.value.value == "Secret"


def _variables(source: Source, node: Node) -> Iterator[Entry]:
    """The variables of a mapping, of a list of `KEY=value`, or of a list of `name:` and `value:`."""
    match node:
        case Mapping():
            for pair in node.pairs:
                if isinstance(pair.value, Scalar):
                    yield Entry(pair.key, pair.value, pair.key_span)
                elif isinstance(pair.value, Mapping) and pair.value.find("valueFrom") is not None:
                    yield Entry(pair.key, Scalar(None, pair.key_span, None, is_reference=True), pair.key_span)
        case Sequence():
            for item in node.items:
                entry = _listed(source, item)
                if entry is not None:
                    yield entry


def _listed(source: Source, item: Node) -> Entry | None:
    if isinstance(item, Mapping):
        name, value = item.find("name"), item.find("value")
        if name is None or not isinstance(name.value, Scalar) or not isinstance(name.value.value, str):
            return None
        key_span = _with_dash(source, Span(name.key_span.start, name.value.span.end, name.key_span.line))
        if value is None or not isinstance(value.value, Scalar):
            return Entry(name.value.value, Scalar(None, name.value.span, None, is_reference=True), key_span)
        return Entry(name.value.value, value.value, key_span)
    if not isinstance(item, Scalar):
        return None
    quote = len(item.quote)
    start, end = item.span.start + quote, item.span.end - quote
    found = _ASSIGNMENT.match(source.text, start, end)
    if found is None:
        return None
    return Entry(found[1], scalar_from(source, found.end(), end), _with_dash(source, source.span(start, found.end(1))))


def _with_dash(source: Source, span: Span) -> Span:
    """The span from the dash of the list item on, from which a new item learns how it is written."""
    dash = source.text.rfind("-", source.line_start(span.start), span.start)
    return span if dash < 0 or source.text[dash + 1 : span.start].strip(" \"'") else replace(span, start=dash)


def _decoded(entry: Entry) -> Entry:
    try:
        text = base64.b64decode(str(entry.scalar.value), validate=True).decode()
    except (binascii.Error, ValueError):
        return entry
    return replace(entry, scalar=Scalar(text.removesuffix("\n"), entry.scalar.span, None))
