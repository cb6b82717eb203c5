"""Gives the dataclasses of a source an `__init__` that mypyc can compile.

What `dataclasses` makes at run time stays interpreted Python, which for a frozen class calls `object.__setattr__` for
each field: a microsecond for eight of them, where a compiled `__init__` takes a twentieth. A dataclass keeps an
`__init__` that its class has already, so the one written here changes nothing but that.
"""

from __future__ import annotations

import ast
from typing import Final

_UNDERSTOOD: Final = frozenset({"frozen", "slots", "eq", "order", "repr"})
"""Arguments of the decorator that say nothing about `__init__`."""


def with_native_init(source: str) -> str:
    """`source` with an `__init__` for each dataclass that can do with a plain one.

    It stands on the blank line behind its class, so that lines keep their numbers.
    """
    lines = source.split("\n")
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and _is_plain(node):
            made = _write_init(node)
            place = node.end_lineno
            if made and place is not None and place < len(lines) and not lines[place].strip():
                lines[place] = made
    return "\n".join(lines)


def _is_plain(node: ast.ClassDef) -> bool:
    """True for a dataclass that inherits nothing and has no way of its own to be made."""
    if node.bases or node.keywords or len(node.decorator_list) != 1:
        return False
    methods = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
    if methods & {"__init__", "__new__", "__post_init__"}:
        return False
    match node.decorator_list[0]:
        case ast.Name(id="dataclass"):
            return True
        case ast.Call(func=ast.Name(id="dataclass"), args=[], keywords=keywords):
            return all(keyword.arg in _UNDERSTOOD for keyword in keywords)
        case _:
            return False


def _write_init(node: ast.ClassDef) -> str:
    """The line; "" for a class with a field that it could not do justice to."""
    parameters, assignments = ["self"], []
    for one in node.body:
        if not isinstance(one, ast.AnnAssign) or not isinstance(one.target, ast.Name):
            continue
        name, annotation = one.target.id, ast.unparse(one.annotation)
        field = _read_field(name, annotation, one.value)
        if field is None:
            return ""
        parameters.append(field[0])
        assignments.append(f"self.{name} = {field[1]}")
    if not assignments:
        return ""
    # To write to a field of a frozen class is an error for mypy everywhere; here it is what the line is for.
    return f"    def __init__({', '.join(parameters)}) -> None: {'; '.join(assignments)}  # type: ignore"


def _read_field(name: str, annotation: str, value: ast.expr | None) -> tuple[str, str] | None:
    """A field as a parameter and as what is assigned."""
    if any(word in annotation for word in ("ClassVar", "InitVar", "KW_ONLY")):
        return None
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Name) or value.func.id != "field":
        return f"{name}: {annotation}" + ("" if value is None else f" = {ast.unparse(value)}"), name
    arguments = {keyword.arg: keyword.value for keyword in value.keywords}
    if value.args or not arguments.keys() <= {"default", "default_factory", "repr", "compare", "hash"}:
        return None
    if "default" in arguments:
        return f"{name}: {annotation} = {ast.unparse(arguments['default'])}", name
    factory = arguments.get("default_factory")
    if factory is None:
        return f"{name}: {annotation}", name
    if not isinstance(factory, ast.Name) or "None" in annotation:
        return None
    return f"{name}: {annotation} | None = None", f"{factory.id}() if {name} is None else {name}"
