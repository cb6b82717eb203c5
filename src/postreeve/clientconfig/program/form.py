"""Forms that several programs share: sections of ini files, variables of the environment, members of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Notation, Wish, bare, plain_text, quoted
from postreeve.clientconfig.program.program import Form, basename
from postreeve.clientconfig.scan.code import scan_code
from postreeve.clientconfig.scan.env import scan_env
from postreeve.clientconfig.scan.ini import scan_ini
from postreeve.clientconfig.scan.token import Language
from postreeve.clientconfig.scan.tree import flatten
from postreeve.clientconfig.text import Entry, Scalar, Source, renamed

_NO_ENVIRONMENT: Final = (".yml", ".yaml", ".json", ".md", ".rst", ".html")
_PLACEHOLDER: Final = re.compile(r"\$\{[^{}\n]{1,200}\}|\{\{[^{}\n]{1,200}\}\}|%\w{1,100}%")
_PLAIN_VALUE: Final = re.compile(r"[\w.@+:/,<>\[\]-]*")


def ini_form(
    is_mine: Callable[[str, str], bool],
    section: str,
    spell: Callable[[str], str] = str,
    *,
    comments: str = ";#",
    inline_comments: bool = True,
    separator: str = " = ",
) -> Form:
    """One section of an ini file, `""` for a file without sections; keys are compared in lower case."""

    def scan(source: Source) -> Iterable[Group]:
        entries = scan_ini(source, comments=comments, inline_comments=inline_comments)
        found = group_of(source, (renamed(one, one.key.lower()) for one in entries if one.section.lower() == section))
        return (found,) if found.entries else ()

    notation = Notation(
        line=lambda key, literal: f"{key}{separator}{literal}",
        literal=bare,
        spell=spell,
    )
    return Form(is_mine, scan, notation)


def env_form(
    marker: str,
    name_of: Callable[[str], str],
    spell: Callable[[str], str],
    is_mine: Callable[[str, str], bool] | None = None,
) -> Form:
    """Variables in an environment file.

    `name_of` gives the program's name for a variable, "" where it is none of its; `marker` is text without which the
    file cannot be one.
    """

    def looks_like_one(file: str, text: str) -> bool:
        return marker in text and not basename(file).endswith(_NO_ENVIRONMENT)

    def of_variables(source: Source, entries: Iterable[Entry]) -> Iterable[Group]:
        named = ((name_of(entry.key), entry) for entry in entries)
        found = group_of(source, (renamed(entry, name) for name, entry in named if name))
        return (found,) if found.entries else ()

    notation = Notation(line=lambda key, literal: f"{key}={literal}", literal=env_literal, spell=spell)
    return Form(
        is_mine or looks_like_one, lambda source: of_variables(source, scan_env(source)), notation, of_variables
    )


def env_literal(wish: Wish, scalar: Scalar | None) -> str:
    """A value of an environment file: quotes stay, and are added where the value needs them."""
    text = plain_text(wish)
    if scalar is not None and (scalar.quote or scalar.is_reference):
        return bare(wish, scalar)
    return text if _PLAIN_VALUE.fullmatch(text) else quoted(text, '"')


def prefixed(prefix: str) -> tuple[Callable[[str], str], Callable[[str], str]]:
    """`name_of` and `spell` for variables that are a prefix and the name in capital letters."""
    return (
        lambda key: key[len(prefix) :].lower() if key.startswith(prefix) else "",
        lambda name: prefix + name.upper(),
    )


def json_form(is_mine: Callable[[str, str], bool], parents: Iterable[str]) -> Form:
    """Members of a JSON file, their names paths joined by dots.

    Every object at a path that ends in one of `parents` is a group; its members' names begin below it.
    """
    endings = tuple(parents)

    def scan(source: Source) -> Iterable[Group]:
        return json_groups(source, endings)

    return Form(is_mine, scan, json_notation())


def json_groups(source: Source, parents: tuple[str, ...]) -> list[Group]:
    """The groups of `json_form`, in the order of the text."""
    root = scan_code(source, Language.JAVASCRIPT).root
    found: dict[str, list[Entry]] = {}
    for entry in flatten(root) if root is not None else ():
        base = _base(entry.key, parents)
        if base is not None:
            name = entry.key[len(base) + 1 if base else 0 :]
            found.setdefault(base, []).append(replace(entry, key=name, scalar=_filled_in_later(entry.scalar)))
    return [group_of(source, entries, base) for base, entries in found.items()]


def _filled_in_later(scalar: Scalar) -> Scalar:
    """JSON has no references of its own, but programs and templates fill in `${NAME}`."""
    if isinstance(scalar.value, str) and _PLACEHOLDER.fullmatch(scalar.value):
        return replace(scalar, value=None, literal=None, is_reference=True)
    return scalar


def _base(key: str, parents: tuple[str, ...]) -> str | None:
    for parent in parents:
        if not parent or key.startswith(parent + "."):
            return parent
        at = key.find(f".{parent}.")
        if at >= 0:
            return key[: at + 1 + len(parent)]
    return None


def json_notation() -> Notation:
    """Members of an object; nothing is taken out, since the comma before it may have to go too."""
    return Notation(
        line=lambda key, literal: f"{json.dumps(key)}: {literal}",
        literal=json_literal,
        spell=lambda name: name.rpartition(".")[2],
        joint=",",
        removes=False,
    )


def json_literal(wish: Wish, scalar: Scalar | None) -> str:
    """A value of JSON, of the type that stands there now (Keycloak writes truth values as strings)."""
    if scalar is not None and scalar.quote:
        return json.dumps(plain_text(wish), ensure_ascii=False)
    return json.dumps(wish if isinstance(wish, bool | int) else plain_text(wish), ensure_ascii=False)


_PLAIN_YAML: Final = re.compile(r"[A-Za-z][\w.@+/-]*")


def yaml_literal(wish: Wish, scalar: Scalar | None) -> str:
    """A value of YAML: quotes stay, and are added where the text could mean something else."""
    text = plain_text(wish)
    if scalar is not None and scalar.quote == "'":
        return "'" + text.replace("'", "''") + "'"
    if scalar is not None and (scalar.quote or scalar.is_reference):
        return bare(wish, scalar)
    return text if isinstance(wish, bool | int) or _PLAIN_YAML.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def yaml_notation(spell: Callable[[str], str]) -> Notation:
    """Members of a block mapping, one a line."""
    return Notation(line=lambda key, literal: f"{key}: {literal}", literal=yaml_literal, spell=spell)
