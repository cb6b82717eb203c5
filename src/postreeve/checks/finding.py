"""What a check says: one thing, how bad it is, why we say so, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad a finding is; the values are those of SARIF 2.1.0, section 3.27.10."""

    ERROR = "error"
    """Mail fails, or is open to abuse, now."""
    WARNING = "warning"
    """It will fail, or fails for some."""
    NOTE = "note"
    """Worth knowing; nothing need be done."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` is the stable id, `subject` what it is about (a listener, an address, file:line, "" for all of it).

    `because` is the evidence, one observation per line; `fix` is what to paste or do, "" where nothing need be done.
    """

    check: str
    level: Level
    title: str
    subject: str
    because: tuple[str, ...]
    fix: str
