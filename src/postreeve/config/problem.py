"""What is wrong with a configuration file, for people: where, what, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from postreeve.config.lines import Place
from postreeve.mail.error import PostreeveError


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `path` such as `listener[2].tls` (the second listener), `line` from 1 (0 = none in particular)."""

    path: str
    line: int
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        what = f"{self.path}: {self.problem}" if self.path else self.problem
        return f"{where}{what}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(PostreeveError):
    """The configuration cannot be used; `problems` has every mistake."""

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))
        self.source = source
        self.problems = problems


def path_text(place: Place) -> str:
    """The place as people count: `listener[2].tls` is in the second [[listener]]."""
    text = ""
    for part in place:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text
