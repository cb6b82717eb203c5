"""Patterns: what error texts look like, whose they are, and which causes fit them.

A pattern fits a text when one of its `literals` is in it (lower case), none of `unless`, and its `regex` is found; a
pattern without one fits by the literal alone. So a text costs a substring search per literal, and only the regexes
that have a chance are ever compiled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Final

from postreeve.checks.knowledge.catalogue import read_data

DECISIVE: Final = 95
"""From this weight on, a text names its cause; the highest weight wins where patterns disagree."""


class Tier(IntEnum):
    """A text is explained by its best tier alone."""

    EXACT = 0
    UMBRELLA = 1
    """A library's one text for many failures."""
    FALLBACK = 2
    """The general meaning of a reply code."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Other weights where the text around the match says more. All fields that are not empty must hold."""

    weights: tuple[tuple[str, int], ...]
    port: tuple[int, ...] = ()
    library: tuple[str, ...] = ()
    mode: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    family: int = 0
    loopback: bool = False
    address_as_host: bool = False


@dataclass(frozen=True, slots=True)
class Pattern:
    """One row of patterns/*.toml, without its examples."""

    id: str
    program: str
    tier: Tier
    literals: tuple[str, ...]
    unless: tuple[str, ...]
    regex: str
    weights: tuple[tuple[str, int], ...]
    rules: tuple[Rule, ...]

    def find(self, text: str, lower: str) -> tuple[tuple[int, int], dict[str, str]] | None:
        """Where it fits, and what its groups caught (`host2` counts as `host`). `lower` is text.lower()."""
        literal = next((one for one in self.literals if one in lower), None)
        if literal is None or any(one in lower for one in self.unless):
            return None
        if not self.regex:
            at = lower.index(literal)
            return (at, at + len(literal)), {}
        found = _compiled(self.regex).search(text)
        if found is None:
            return None
        caught = {name.rstrip("0123456789"): value for name, value in found.groupdict().items() if value}
        return found.span(), caught


@cache
def patterns() -> tuple[Pattern, ...]:
    """All of them, by tier."""
    return tuple(_pattern(row) for row in read_data("patterns.json"))


@cache
def _compiled(regex: str) -> re.Pattern[str]:
    return re.compile(regex, re.IGNORECASE | re.MULTILINE)


def _pattern(row: dict[str, Any]) -> Pattern:
    return Pattern(
        id=row["id"],
        program=row["program"],
        tier=Tier(row["tier"]),
        literals=tuple(row["literals"]),
        unless=tuple(row["unless"]),
        regex=row["regex"],
        weights=tuple(row["causes"].items()),
        rules=tuple(_rule(one) for one in row["when"]),
    )


def _rule(row: dict[str, Any]) -> Rule:
    weights = tuple(row["causes"].items())
    return Rule(weights, **{key: _frozen(value) for key, value in row.items() if key != "causes"})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
