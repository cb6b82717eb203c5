"""Facts as JSON and back: what was seen can be saved, sent to somebody, and judged where there is no network.

The form is that of the dataclasses: an object for each, enumerations by value, tuples as lists. A reader ignores
members that it does not know and refuses a version that it does not; whatever it is given, it raises NotFacts or
returns Facts whose every field has the type that it says.
"""

from __future__ import annotations

import json
import math
import types
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from postreeve.checks.facts import Facts
from postreeve.mail.error import PostreeveError

VERSION: Final = 1
MAX_OCTETS: Final = 16 * 1024 * 1024
_MAX_ITEMS: Final = 10_000
_MAX_INTEGER: Final = 2**63


class NotFacts(PostreeveError):
    """The text holds no Facts; says where and why, in one line."""


def dump_facts(facts: Facts) -> str:
    """The document, ending with a line end."""
    return json.dumps(to_document(facts), indent=2) + "\n"


def load_facts(text: str | bytes) -> Facts:
    """The Facts of a document made by `dump_facts`, by this version or an earlier one. Raises NotFacts."""
    if len(text) > MAX_OCTETS:
        raise NotFacts(f"the facts are longer than {MAX_OCTETS // 1024 // 1024} MB")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as problem:
        words = str(problem) if isinstance(problem, json.JSONDecodeError) else "it is not text in UTF-8, or too deep"
        raise NotFacts(f"the facts are no JSON: {words}") from None
    return from_document(document)


def from_document(document: Any) -> Facts:
    """The Facts of a parsed document. Raises NotFacts."""
    if isinstance(document, dict) and "facts" in document and "asked" not in document:
        document = document["facts"]  # the whole answer of `probe --json`
    if not isinstance(document, dict) or "asked" not in document:
        raise NotFacts("this JSON holds no facts of a probe")
    version = document.get("version", VERSION)
    if version != VERSION or isinstance(version, bool):
        raise NotFacts(f"the facts are of version {str(version)[:20]!r}, this program knows version {VERSION}")
    facts = _read(Facts, document, "")
    assert isinstance(facts, Facts)
    return facts


def to_document(value: Any) -> Any:
    """Any value made of dataclasses, enumerations, tuples and plain types, as JSON has them."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_document(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [to_document(one) for one in value]
    if isinstance(value, dict):
        return {str(key): to_document(one) for key, one in value.items()}
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value` as a `kind`, or NotFacts that says where it is none."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        return _read(next(one for one in get_args(kind) if one is not types.NoneType), value, where)
    if origin is tuple:
        items = get_args(kind)
        if not isinstance(value, list) or len(value) > _MAX_ITEMS:
            raise _wrong(where, "a list")
        return tuple(_read(items[0], one, f"{where}[{place}]") for place, one in enumerate(value))
    if is_dataclass(kind):
        return _read_object(kind, value, where)
    if issubclass(kind, Enum):
        try:
            return kind(value)
        except (ValueError, TypeError):
            raise _wrong(where, f"one of {', '.join(str(one.value) for one in kind)}") from None
    return _read_plain(kind, value, where)


def _read_object(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, "an object")
    hints, given = _hints(kind), {}
    for field in fields(kind):
        place = f"{where}.{field.name}" if where else field.name
        if field.name in value:
            given[field.name] = _read(hints[field.name], value[field.name], place)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise NotFacts(f"the facts lack {place}")
    return kind(**given)


def _read_plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if (isinstance(value, int) and abs(value) > _MAX_INTEGER) or not math.isfinite(value):
            raise _wrong(where, "a finite number")
        return float(value)
    if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or abs(value) > _MAX_INTEGER)):
        raise _wrong(where, {"str": "a text", "int": "a whole number", "bool": "true or false"}.get(kind.__name__, ""))
    return value


def _wrong(where: str, wanted: str) -> NotFacts:
    return NotFacts(f"in the facts, {where or 'the document'} must be {wanted or 'something else'}")
