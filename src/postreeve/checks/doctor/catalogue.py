"""Every check of the doctor, in the order in which findings are told."""

from __future__ import annotations

from typing import Final

from postreeve.checks.doctor import certificates, health, listeners, reputation, ways_out
from postreeve.checks.doctor.check import Check
from postreeve.checks.finding import Finding, Level
from postreeve.checks.machine import Machine

CHECKS: Final[tuple[Check, ...]] = (
    *listeners.CHECKS,
    *certificates.CHECKS,
    *ways_out.CHECKS,
    *reputation.CHECKS,
    *health.CHECKS,
)
_ORDER: Final = (Level.ERROR, Level.WARNING, Level.NOTE)


def examine(machine: Machine) -> tuple[Finding, ...]:
    """All findings, the worst first; within a level in the order of the catalogue."""
    found = [finding for check in CHECKS for finding in check.run(machine)]
    return tuple(sorted(found, key=lambda one: _ORDER.index(one.level)))
