"""The one thing that `probe` says first: the cause, how sure we are, the evidence, the fix."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from postreeve.checks.stage import Stage

HEALTHY: Final = "ok"
"""The cause of a verdict that found nothing wrong."""
UNDECIDED: Final = "undecided"
"""The cause of a verdict that will not guess: the evidence fits several causes, and `evidence` says which."""


class Confidence(Enum):
    """HIGH: the evidence admits no other cause. MEDIUM: the best of few. LOW: a hint where to look."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`cause` is an id of the catalogue (or HEALTHY, UNDECIDED); `fix` is exact enough to paste.

    `subject` names the endpoint that it is about ("192.0.2.7:587"), "" when it is about all.
    """

    cause: str
    confidence: Confidence
    stage: Stage
    evidence: tuple[str, ...]
    fix: str
    subject: str = ""
