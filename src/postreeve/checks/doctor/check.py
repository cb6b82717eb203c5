"""What a check of the doctor is: an id that never changes, a level, and a function that looks at a Machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from postreeve.checks.finding import Finding, Level
from postreeve.checks.machine import Machine


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that a check saw: what it is about, the evidence, and what to do."""

    subject: str
    because: tuple[str, ...]
    fix: str


@dataclass(frozen=True, slots=True)
class Check:
    """One entry of the catalogue. `about` says what is looked at, for the page of all checks."""

    id: str
    level: Level
    title: str
    about: str
    look: Callable[[Machine], Iterator[Seen]]

    def run(self, machine: Machine) -> Iterator[Finding]:
        """Everything that this check has to say."""
        for seen in self.look(machine):
            yield Finding(self.id, self.level, self.title, seen.subject, seen.because, seen.fix)


def span(seconds: float) -> str:
    """A time for people: "45 s", "12 min", "5 h", "3 days"."""
    for size, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if abs(seconds) >= 2 * size or (abs(seconds) >= size and name != "days"):
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def place(address: str, port: int) -> str:
    """An address and port as one writes them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
