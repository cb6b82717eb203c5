"""Every rule of the firewall audit, in the order of their ids."""

from __future__ import annotations

from typing import Final

from postreeve.checks.finding import Finding, Level
from postreeve.checks.firewall import essential, inward, outward
from postreeve.checks.firewall.audit import Audited, AuditRule

RULES: Final[tuple[AuditRule, ...]] = (*inward.RULES, *essential.RULES, *outward.RULES, *essential.ORDER)
_ORDER: Final = (Level.ERROR, Level.WARNING, Level.NOTE)


def audit(audited: Audited) -> tuple[Finding, ...]:
    """All findings, the worst first; within a level in the order of the catalogue."""
    found = [finding for rule in RULES for finding in rule.run(audited)]
    return tuple(sorted(found, key=lambda one: _ORDER.index(one.level)))
