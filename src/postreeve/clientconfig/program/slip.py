"""Names of settings that a program does not know, because a letter or two went astray."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from postreeve.clientconfig.program.group import Group
from postreeve.clientconfig.settings import Value

_LONGEST_SLIP: Final = 2


def slip_of(key: str, known: Iterable[str]) -> str:
    """The known key that `key` (lower case) is one or two slips of the finger away from, or ""."""
    if len(key) < 6 or key[-1].isdigit():
        return ""
    most = 1 if len(key) < 9 else _LONGEST_SLIP
    near = [(distance(key, each), each) for each in known if abs(len(each) - len(key)) <= most]
    best = min(near, default=(most + 1, ""))
    return best[1] if 0 < best[0] <= most else ""


def distance(one: str, other: str) -> int:
    """Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        earlier, before, row = before, row, [i]
        for j, facing in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != facing))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == facing:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1]


def strays(group: Group, known: frozenset[str], spell: Callable[[str], str]) -> tuple[Value[str], ...]:
    """The settings of a group that are none of `known` but a slip away from one that is not there.

    The value of each is the key that was probably meant, spelt as this file spells keys; the place is its key.
    """
    by_lower = {name.lower(): name for name in known}
    found: list[Value[str]] = []
    for entry in group.entries:
        if entry.key.lower() in by_lower:
            continue
        meant = by_lower.get(slip_of(entry.key.lower(), by_lower), "")
        if meant and meant not in group.last:
            found.append(Value(spell(meant), group.source.written(entry.key_span).strip("\"'"), entry.key_span))
    return tuple(found)
