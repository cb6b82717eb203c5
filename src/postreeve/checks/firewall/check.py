"""What a check of the firewall is: an id that never changes, a level, and a function that looks at a scene."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from postreeve.checks.doctor.check import Seen
from postreeve.checks.finding import Finding, Level
from postreeve.checks.firewall.reach import View

MOST_QUOTED: Final = 5


@dataclass(frozen=True, slots=True)
class Check:
    """One entry of the catalogue. `about` says what is looked at, for the page of all checks."""

    id: str
    level: Level
    title: str
    about: str
    look: Callable[[View], Iterator[Seen]]

    def run(self, view: View) -> Iterator[Finding]:
        """Everything that this check has to say, each thing once."""
        said: set[Seen] = set()
        for seen in self.look(view):
            if seen not in said:
                said.add(seen)
                yield Finding(self.id, self.level, self.title, seen.subject, seen.because, seen.fix)


def some(lines: list[str], most: int = MOST_QUOTED) -> tuple[str, ...]:
    """The first ones, and how many more there are."""
    rest = len(lines) - most
    return (*lines[:most], f"and {rest:,} more") if rest > 0 else tuple(lines)
