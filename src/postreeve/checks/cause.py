"""A cause: why mail does not flow, in the operator's words, with the fix and what would prove it."""

from __future__ import annotations

from dataclasses import dataclass

from postreeve.checks.stage import Stage


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of the catalogue. `id` never changes once it was published.

    `narrows` is the id of a wider cause whose texts fit this one too: a text names the wider, a probe tells them apart.
    """

    id: str
    stage: Stage
    title: str
    cause: str
    fix: str
    decide_by: str
    """The observation that proves or rules it out: a command or what to look at."""
    references: tuple[str, ...] = ()
    narrows: str = ""
