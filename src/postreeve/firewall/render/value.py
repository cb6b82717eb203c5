"""Values that a cloud takes, checked by us: what the vendors' own libraries let pass fails when it is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from postreeve.firewall.flow import CannotExpress, PolicyError

PRINTABLE: Final = re.compile(r"[^\x20-\x7e]")
"""What no description may have."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files by name, and the commands that load them, in order."""

    files: Mapping[str, str]
    commands: tuple[str, ...]


def dump(value: object) -> str:
    """JSON as people read it; the order of members is ours."""
    return json.dumps(value, indent=2, ensure_ascii=True) + "\n"


def match(what: str, value: str, pattern: str, hint: str) -> str:
    """The value, if it is one. Raises PolicyError."""
    if re.fullmatch(pattern, value) is None:
        raise PolicyError(f"{value[:80]!r} is no {what}: {hint}")
    return value


def within(what: str, value: int, first: int, last: int) -> int:
    """The number, if it is in the range. Raises PolicyError."""
    if not first <= value <= last:
        raise PolicyError(f"{what} {value} is not from {first} to {last}")
    return value


def quota(target: str, where: str, number: int, most: int, alternative: str) -> None:
    """Raises CannotExpress when there are more rules than the target takes."""
    if number > most:
        raise CannotExpress(target, where, f"{number} rules, {most} is the most", alternative)
