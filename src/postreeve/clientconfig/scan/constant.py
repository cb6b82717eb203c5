"""Names that a source text gives one value and no other: `const host = "smtp.example.com"` and what refers to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from postreeve.clientconfig.scan.code import Code
from postreeve.clientconfig.scan.tree import Call, Node, as_scalar
from postreeve.clientconfig.text import Scalar, Source

_OWNERS: Final = ("this.", "self.", "s.")
Constants = Mapping[str, Scalar]


def constants(code: Code) -> dict[str, Scalar]:
    """Every name that is assigned once, and then a literal; fields without their owner."""
    found: dict[str, Scalar] = {}
    spoilt: set[str] = set()
    for one in code.assignments:
        name = _bare(one.target)
        scalar = as_scalar(one.value)
        if name in found or scalar is None or scalar.literal is None or scalar.is_reference:
            spoilt.add(name)
        else:
            found[name] = scalar
    return {name: scalar for name, scalar in found.items() if name not in spoilt}


def value_of(source: Source, node: Node, known: Constants) -> Scalar | None:
    """The scalar that a node is; of a name that is a constant, that which it stands for, in its place."""
    scalar = as_scalar(node)
    if scalar is None or not scalar.is_reference or scalar.literal is not None:
        return scalar
    written = source.written(scalar.span)
    if isinstance(node, Call):
        written = next((source.written(one.span) for one in node.arguments if len(node.arguments) == 1), "")
    return known.get(_bare(written), scalar)


def _bare(name: str) -> str:
    for owner in _OWNERS:
        if name.startswith(owner):
            return name[len(owner) :]
    return name
