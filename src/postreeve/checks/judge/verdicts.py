"""Making a verdict: cause, evidence and the exact fix of one endpoint."""

from __future__ import annotations

from postreeve.checks.judge.case import Case
from postreeve.checks.judge.fix import fix_for
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import Confidence, Verdict


def found(
    case: Case, cause: str, confidence: Confidence, stage: Stage, *evidence: str, fix: str = "", **known: str
) -> Verdict:
    """A verdict about this endpoint; `known` fills further blanks of the fix, `fix` replaces it. Empty lines go."""
    lines = tuple(line for line in evidence if line)
    return Verdict(cause, confidence, stage, lines, fix or fix_for(cause, case, **known), case.place)
