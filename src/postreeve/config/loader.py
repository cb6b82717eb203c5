"""TOML text → Config, or every mistake in it at once.

The model's mistakes are found first. Then what is wrong is taken out and the rest is read again, so that the cross
checks can speak of everything that is right: one round of corrections, not five.
"""

from __future__ import annotations

import copy
import difflib
import tomllib
from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from postreeve.config.consistency import Complaint, check
from postreeve.config.lines import Place, find_lines, line_of
from postreeve.config.model import Config
from postreeve.config.problem import Problem, path_text

_ROUNDS: Final = 8
_GAP: Final = object()
_STAND_IN: Final[dict[str, Any]] = {"hostname": "stand-in.invalid", "data_dir": "/"}

# Keys that people bring along from other servers or that suggest themselves.
_KNOWN_MISTAKES: Final = {
    "auth": 'the role decides: "submission" requires a login, "relay" never offers one',
    "ssl": "see tls",
    "address": "see addresses, a list",
    "bind": "see addresses, a list",
    "listeners": "one [[listener]] table per port",
    "domains": "one [[domain]] table per domain",
    "routes": "one [[route]] table per way",
    "cert": "see certificate",
    "timeout": "see command_timeout, content_timeout, session_timeout",
}


def load(text: str, directory: str = "/") -> Config | tuple[Problem, ...]:
    """The configuration that `text` describes, or all its mistakes by line.

    Paths in it are relative to `directory`, that of the file. Files it names are not looked at.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        return (_syntax(str(problem), text),)
    complaints: list[Complaint] = []
    touched: list[Place] = []
    config: Config | None = None
    remaining = copy.deepcopy(data)
    for round_ in range(_ROUNDS):
        origins: dict[Place, Place] = {}
        try:
            config = Config.model_validate(_whole(remaining, (), (), origins), context={"directory": directory})
            break
        except ValidationError as problem:
            errors = [(_original(error["loc"], origins), error) for error in problem.errors(include_url=False)]
        if round_ == 0:
            complaints += [_complaint(place, error) for place, error in errors]
        touched += [place for place, _ in errors]
        for place, _ in errors:
            _remove(remaining, _removable(place))
    if config is not None:
        found = [one.moved(lambda place: _original(place, origins)) for one in check(config)]
        complaints += [one for one in found if not _is_doubtful(one, touched)]
    if config is not None and not complaints:
        return config
    lines = find_lines(text)
    problems = {
        Problem(path_text(one.place), line_of(lines, one.place), one.problem, one.hint): None for one in complaints
    }
    return tuple(sorted(problems, key=lambda one: one.line))


def _syntax(message: str, text: str) -> Problem:
    """tomllib says `Expected '=' after a key in a key/value pair (at line 3, column 8)`."""
    what, _, where = message.rpartition(" (at ")
    digits = "".join(c if c.isdigit() else " " for c in where).split()
    line = int(digits[0]) if digits else len(text.splitlines())
    column = f", column {digits[1]}" if len(digits) > 1 else ""
    hint = "text needs quotes" if "Invalid value" in what else ""
    return Problem("", line, f"not TOML{column}: {what or message}", hint)


def _is_doubtful(complaint: Complaint, touched: list[Place]) -> bool:
    """True where the complaint may only be about what had to be taken out."""
    depends = (complaint.place, *complaint.depends_on)
    return any(one[: len(other)] == other or other[: len(one)] == one for one in depends for other in touched)


def _complaint(place: Place, error: ErrorDetails) -> Complaint:
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return _unknown_key(place)
        case "missing":
            return Complaint(place, "is missing", _meaning(place))
        case "enum":
            choices = _enum_values(place)
            return Complaint(
                place, f"{error['input']!r} is none of {', '.join(choices)}", _nearest(error["input"], choices)
            )
        case "value_error":
            return Complaint(place, str(context["error"]))
        case _:
            return Complaint(place, _plain(error["msg"], error["input"]))


def _plain(message: str, given: object) -> str:
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) else ""
    return (
        message.replace("Input should be a valid dictionary or instance of", "must be a table:")
        .replace("Input should be", "must be")
        .replace("valid tuple", "list")
        .replace("valid string", "text in quotes")
        .replace("valid integer", "whole number")
        .replace("a valid number", "a number")
        .replace("Tuple should have", "the list must have")
    ) + shown


def _unknown_key(place: Place) -> Complaint:
    key = str(place[-1])
    table = _table_at(place[:-1])
    names = list(table.model_fields) if table else []
    hint = _nearest(key, names)
    if not hint:
        hint = _KNOWN_MISTAKES.get(key, "")
    if not hint:
        elsewhere = [name for name, field in Config.model_fields.items() if key in _fields_of(field.annotation)]
        hint = f"it belongs into [{elsewhere[0]}]" if elsewhere else f"known here: {', '.join(sorted(names))}"
    return Complaint(place, "unknown setting", hint)


def _nearest(given: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(given).lower(), list(known), n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else ""


def _meaning(place: Place) -> str:
    table = _table_at(place[:-1])
    field = table.model_fields.get(str(place[-1])) if table else None
    return (field.description or "").rstrip(".") if field else ""


def _enum_values(place: Place) -> list[str]:
    while place and isinstance(place[-1], int):
        place = place[:-1]
    table = _table_at(place[:-1])
    annotation = table.model_fields[str(place[-1])].annotation if table else None
    return [str(member.value) for kind in _kinds(annotation) for member in getattr(kind, "__members__", {}).values()]


def _table_at(place: Place) -> type[BaseModel] | None:
    """The model of the table at `place`."""
    table: type[BaseModel] = Config
    for part in place:
        if isinstance(part, int):
            continue
        field = table.model_fields.get(part)
        inner = _table_in(field.annotation) if field else None
        if inner is None:
            return None
        table = inner
    return table


def _fields_of(annotation: object) -> Iterable[str]:
    table = _table_in(annotation)
    return table.model_fields if table else ()


def _table_in(annotation: object) -> type[BaseModel] | None:
    tables = [kind for kind in _kinds(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return tables[0] if tables else None


def _kinds(annotation: object) -> list[object]:
    """The annotation itself and, of a union or tuple, its members."""
    members = getattr(annotation, "__args__", ())
    return [annotation] if not members else [kind for member in members for kind in _kinds(member)]


def _whole(node: Any, place: Place, origin: Place, origins: dict[Place, Place]) -> Any:
    """A copy without the gaps left by `_remove`; `origins` learns where each place of the copy comes from."""
    origins[place] = origin
    if isinstance(node, dict):
        return {key: _whole(child, (*place, key), (*origin, key), origins) for key, child in node.items()}
    if isinstance(node, list):
        kept = [(index, child) for index, child in enumerate(node) if child is not _GAP]
        return [_whole(child, (*place, new), (*origin, index), origins) for new, (index, child) in enumerate(kept)]
    return node


def _original(place: Place, origins: dict[Place, Place]) -> Place:
    for length in range(len(place), 0, -1):
        if place[:length] in origins:
            return origins[place[:length]] + place[length:]
    return place


def _removable(place: Place) -> Place:
    """What has to go when `place` is wrong: itself, or the table around it when that cannot do without."""
    table = _table_at(place[:-1])
    field = table.model_fields.get(str(place[-1])) if table and place else None
    if field is None or not field.is_required() or len(place) == 1:
        return place
    return place[:-1]


def _remove(data: dict[str, Any], place: Place) -> None:
    """Take out what stands at `place`; elements of arrays leave a gap, so that the other places stay true."""
    node: Any = data
    for part in place[:-1]:
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            return
    last = place[-1]
    if isinstance(node, list) and isinstance(last, int) and last < len(node):
        node[last] = _GAP
    elif isinstance(node, dict):
        node.pop(last, None)
        if node is data and last in _STAND_IN:
            data[str(last)] = _STAND_IN[str(last)]
