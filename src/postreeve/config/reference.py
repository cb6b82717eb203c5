"""What is written about the settings, drawn from the model: the reference page, the default file, `config show`."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
import types
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from postreeve.config.lines import Place, find_lines, line_of
from postreeve.config.model import Config
from postreeve.config.problem import path_text

_SECRET: Final = ("password",)
_KINDS: Final = {
    "Size": "size",
    "Duration": "time",
    "MinFree": "share or size",
    "DomainName": "domain",
    "Pattern": "domain pattern",
    "MailboxName": "mail address",
    "Address": "IP address",
    "SourceAddress": "IP address",
    "NetworkName": "network",
    "DnsServer": "IP address and port",
    "Host": "host and port",
    "Url": "URL",
    "Listen": "IP address and port",
    "FilePath": "path",
    "OptionalPath": "path",
    "Workers": '"auto" or number',
    "Peers": '"world" or networks',
    "Recipients": '"any" or list',
    "Switch": "true or false",
}
"""By the names in `kind`; what is not here is a choice, text or a number."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting in force: `value` as TOML; `line` 0 where it is the default."""

    path: str
    value: str
    line: int


def to_toml(value: Any) -> str:
    """A value as it would stand in the file."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list() | tuple():
            return "[" + ", ".join(to_toml(item) for item in value) + "]"
        case dict():
            return "{ " + ", ".join(f"{key} = {to_toml(item)}" for key, item in value.items()) + " }" if value else "{}"
        case _:
            return str(value)


def show(text: str) -> Iterator[Shown]:
    """Every setting in force for a valid file, in the order of the reference; passwords are not shown."""
    lines = find_lines(text)
    yield from _show(Config, tomllib.loads(text), (), lines)


def _show(table: type[BaseModel], data: dict[str, Any], place: Place, lines: dict[Place, int]) -> Iterator[Shown]:
    for name, field in table.model_fields.items():
        here = (*place, name)
        inner, is_array = _table_in(field.annotation)
        given = data.get(name)
        if inner is not None and is_array:
            for index, element in enumerate(given or ()):
                yield from _show(inner, element, (*here, index), lines)
        elif inner is not None and name == "limits" and place:
            yield from _show_given(inner, given or {}, here, lines)
        elif inner is not None and (given is not None or not _is_optional(field)):
            yield from _show(inner, given or {}, here, lines)
        elif name in data:
            shown = '"(not shown)"' if name in _SECRET else to_toml(given)
            yield Shown(path_text(here), shown, line_of(lines, here))
        elif not field.is_required() and field.default is not None:
            yield Shown(path_text(here), to_toml(field.default), 0)


def _show_given(table: type[BaseModel], data: dict[str, Any], place: Place, lines: dict[Place, int]) -> Iterator[Shown]:
    for name in table.model_fields:
        if name in data:
            yield Shown(path_text((*place, name)), to_toml(data[name]), line_of(lines, (*place, name)))


def reference() -> str:
    """docs/config.md: every table, every setting, its kind, default and meaning."""
    lines = [
        "# Configuration",
        "",
        "One TOML file. `postreeve config check` names every mistake in it with its line; `postreeve config show`",
        "prints every setting in force and where it comes from; `postreeve config default` prints a file with all of",
        "them. Unknown settings are mistakes. SIGHUP reloads the file; one with a mistake leaves the old one in force.",
        "",
        'A size is a number of octets or text such as `"50MiB"` (kB, MB, GB count by 1000; KiB, MiB, GiB by 1024). A',
        'time is a number of seconds or text such as `"30s"`, `"1h20m"`, `"5d"`. A path is relative to the directory',
        "of the file. In messages about the file `listener[2]` is the second `[[listener]]`.",
        "",
        "Drawn by `make docs` from the program's own model; not edited by hand.",
        "",
    ]
    for title, text, table in _tables(Config, ()):
        lines += [f"## {title}", "", text, "", "| setting | kind | default | meaning |", "|---|---|---|---|"]
        for name, field in table.model_fields.items():
            inner, is_array = _table_in(field.annotation)
            if inner is not None and table is Config:
                continue
            default = "required" if field.is_required() else _default_text(field)
            kind = "tables" if is_array else "table" if inner is not None else _kind(table, name)
            cells = (f"`{name}`", kind, default, (field.description or "").replace("|", "\\|"))
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _kind(table: type[BaseModel], name: str) -> str:
    words = re.findall(r"\w+", str(table.__annotations__[name]))
    plural = "list of " if "tuple" in words else ""
    for word in words:
        if word in _KINDS:
            return plural + _KINDS[word]
    annotation = table.model_fields[name].annotation
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, Enum):
            return plural + " or ".join(f'"{member.value}"' for member in kind)
    return "text" if annotation is str else "number"


def _default_text(field: FieldInfo) -> str:
    if field.default in ({}, None, "") or field.default == ():
        return ""
    return f"`{to_toml(field.default)}`"


def _tables(table: type[BaseModel], place: tuple[str, ...]) -> Iterator[tuple[str, str, type[BaseModel]]]:
    """Every table with its heading, each model once."""
    text = " ".join((table.__doc__ or "").split())
    yield ".".join(place) or "The top of the file", text, table
    for name, field in table.model_fields.items():
        inner, is_array = _table_in(field.annotation)
        if inner is None or (place and name == "limits"):
            continue
        heading = f"[[{'.'.join((*place, name))}]]" if is_array else f"[{'.'.join((*place, name))}]"
        for title, words, found in _tables(inner, (*place, name)):
            yield (heading if title == ".".join((*place, name)) else title), words, found


def _table_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model of a table or an array of tables, and whether it is an array."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType, tuple):
        for argument in get_args(annotation):
            inner, _ = _table_in(argument)
            if inner is not None:
                return inner, origin is tuple
    return None, False


def _is_optional(field: FieldInfo) -> bool:
    return field.default is None and not field.is_required()


def default_file() -> str:
    """A file that can be used as it is once its names are changed: every setting, the optional ones commented out."""
    lines = [_HEAD]
    for name, field in Config.model_fields.items():
        inner, _ = _table_in(field.annotation)
        if inner is None:
            lines += _entry(name, field, _EXAMPLE.get(name))
    for name, field in Config.model_fields.items():
        inner, is_array = _table_in(field.annotation)
        if inner is None:
            continue
        head = f"[[{name}]]" if is_array else f"[{name}]"
        for number, example in enumerate(_TABLES.get(name, ({},))):
            if number:
                lines += ["", head, *(f"{key} = {to_toml(value)}" for key, value in example.items())]
                continue
            lines += ["", f"# {_summary(inner)}", head]
            for key, setting in inner.model_fields.items():
                lines += _entry(key, setting, example.get(key))
    return "\n".join(lines) + "\n"


_HEAD: Final = """\
# The configuration of postreeve. Lines that begin with "#" and a setting show its default.
# `postreeve config check` finds every mistake; SIGHUP (systemctl reload postreeve) takes a changed file into use.
"""
_EXAMPLE: Final[dict[str, Any]] = {"hostname": "mail.example.org", "data_dir": "/var/lib/postreeve"}
_TABLES: Final[dict[str, tuple[dict[str, Any], ...]]] = {
    "tls": ({"certificate": "/etc/postreeve/certificate.pem", "key": "/etc/postreeve/key.pem"},),
    "listener": (
        {"name": "mx", "port": 25, "role": "relay"},
        {"name": "submission", "port": 587, "role": "submission"},
        {"name": "submissions", "port": 465, "role": "submission"},
    ),
    "domain": ({"name": "example.org"},),
    "route": (
        {"name": "local", "domains": ["example.org"], "via": "maildir"},
        {"name": "world", "domains": ["*"], "via": "mx"},
    ),
}


def _summary(table: type[BaseModel]) -> str:
    return " ".join((table.__doc__ or "").split())


def _entry(name: str, field: FieldInfo, given: Any) -> list[str]:
    inner, is_array = _table_in(field.annotation)
    comment = textwrap.wrap(field.description or "", 110, initial_indent="# ", subsequent_indent="# ")
    if given is not None:
        return [*comment, f"{name} = {to_toml(given)}"]
    default = (
        "[]" if is_array else "{}" if inner is not None else "…" if field.default is None else to_toml(field.default)
    )
    return [*comment, f"#{name} = {default}"]
