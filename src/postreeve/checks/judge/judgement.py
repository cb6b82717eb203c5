"""What comes of judging Facts: one verdict, what else is wrong, what is worth knowing, and who else will fail."""

from __future__ import annotations

from dataclasses import dataclass

from postreeve.checks.finding import Finding
from postreeve.checks.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Refuser:
    """A family of clients that refuses this server, or treats it worse, though the probe did not."""

    client: str
    """Whose clients: "Go (crypto/tls)", "Node.js 24 and later"."""
    cause: str
    """An id of the catalogue."""
    reason: str
    """What that client does, and the observation that leads to it."""
    fix: str
    subject: str = ""
    """The endpoint that it is about."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer to "why does mail not flow?".

    `others` are verdicts of further faults and of the endpoints that the verdict is not about, worst first. `findings`
    are worth knowing though nothing fails by them today; on a healthy server none has level error.
    """

    verdict: Verdict
    others: tuple[Verdict, ...] = ()
    findings: tuple[Finding, ...] = ()
    refusers: tuple[Refuser, ...] = ()
