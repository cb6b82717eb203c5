"""What is known after reading a text."""

from __future__ import annotations

from dataclasses import dataclass, field

from postreeve.checks.cause import Cause
from postreeve.checks.verdict import Confidence


@dataclass(frozen=True, slots=True)
class Candidate:
    """One possible cause; `fix` and `decide_by` are filled with what the text names."""

    cause: Cause
    confidence: Confidence
    fix: str
    decide_by: str
    pattern: str
    """The id of the pattern that spoke for it most."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """`candidates`, likeliest first; none when nothing is known of the text.

    `is_decided`: the text admits only one, whose confidence then is HIGH, and `hints` are what else was seen with such
    texts. Otherwise none has HIGH.
    """

    candidates: tuple[Candidate, ...] = ()
    hints: tuple[Candidate, ...] = ()
    is_decided: bool = False
    matched: str = ""
    """The words that were recognised."""
    known: dict[str, str] = field(default_factory=dict)
    """What the text names: host, port, address, name, code."""
    library: str = ""
