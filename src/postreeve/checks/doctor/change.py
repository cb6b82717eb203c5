"""What is new since the last look, what is over, and what is still so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from postreeve.checks.finding import Finding, Level


@dataclass(frozen=True, slots=True)
class Change:
    """Findings by what became of them; a finding is the same as long as its check and its subject are."""

    appeared: tuple[Finding, ...]
    gone: tuple[Finding, ...]
    still: tuple[Finding, ...]

    def __bool__(self) -> bool:
        return bool(self.appeared or self.gone)


def compare(before: Iterable[Finding], now: Iterable[Finding]) -> Change:
    """The change from one look to the next."""
    old = {(one.check, one.subject): one for one in before}
    new = {(one.check, one.subject): one for one in now}
    return Change(
        tuple(one for key, one in new.items() if key not in old),
        tuple(one for key, one in old.items() if key not in new),
        tuple(one for key, one in new.items() if key in old),
    )


def confirm(first: Change, before: Sequence[Finding], again: Sequence[Finding]) -> tuple[Finding, ...]:
    """What to take as so, after a second look soon after a change: what only one of the looks saw is no news.

    A finding that came and went within a minute, or went and came, stays as it was before.
    """
    second = compare(before, again)
    new = {(one.check, one.subject) for one in first.appeared}
    over = {(one.check, one.subject) for one in first.gone}
    kept = list(second.still)
    kept += [one for one in second.appeared if (one.check, one.subject) in new]
    kept += [one for one in second.gone if (one.check, one.subject) not in over]
    return tuple(kept)


def read_findings(documents: Any) -> tuple[Finding, ...]:
    """Findings as `doctor --json` prints them; what cannot be understood is left out."""
    found = []
    for one in documents if isinstance(documents, list) else ():
        if not isinstance(one, Mapping):
            continue
        try:
            because = tuple(str(line) for line in one["because"])
            check, title, subject, fix = (str(one[key]) for key in ("check", "title", "subject", "fix"))
            found.append(Finding(check, Level(one["level"]), title, subject, because, fix))
        except (KeyError, ValueError, TypeError):
            continue
    return tuple(found)
