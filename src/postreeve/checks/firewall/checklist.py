"""Every check of the firewall, in the order of their ids."""

from __future__ import annotations

from typing import Final

from postreeve.checks.finding import Finding, Level
from postreeve.checks.firewall import (
    around,
    banning,
    cloud,
    entrance,
    groundwork,
    kubernetes,
    order,
    way_out,
    windows,
)
from postreeve.checks.firewall.check import Check
from postreeve.checks.firewall.reach import View
from postreeve.checks.firewall.scene import Scene

_MODULES: Final = (entrance, groundwork, way_out, order, around, banning, cloud, kubernetes, windows)
CHECKS: Final[tuple[Check, ...]] = tuple(
    sorted((check for module in _MODULES for check in module.CHECKS), key=lambda check: check.id)
)
_ORDER: Final = (Level.ERROR, Level.WARNING, Level.NOTE)


def examine(scene: Scene) -> tuple[Finding, ...]:
    """All findings, the worst first; within a level in the order of their ids."""
    view = View(scene)
    found = [finding for check in CHECKS for finding in check.run(view)]
    return tuple(sorted(found, key=lambda one: _ORDER.index(one.level)))
