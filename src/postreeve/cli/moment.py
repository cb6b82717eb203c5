"""Times as the commands show them: relative for people, RFC 3339 in UTC for programs and with --utc."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from postreeve.mail.date import format_timestamp

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_COARSE_FROM: Final = 10


def span(seconds: float) -> str:
    """A length of time in its largest unit, with the next where the first is small: `45s`, `4m`, `1h 20m`, `12d`."""
    rest = round(abs(seconds))
    for place, (unit, length) in enumerate(_UNITS):
        if rest < length:
            continue
        whole, rest = divmod(rest, length)
        if whole >= _COARSE_FROM or place + 1 == len(_UNITS):
            return f"{whole}{unit}"
        smaller, length = _UNITS[place + 1]
        return f"{whole}{unit} {rest // length}{smaller}" if rest >= length else f"{whole}{unit}"
    return "0s"


def iso(at: float | None) -> str | None:
    """A time for programs, None where there is none."""
    return None if at is None else format_timestamp(at)


def size(octets: int) -> str:
    """A number of octets for people."""
    value = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{octets} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


@dataclass(frozen=True, slots=True)
class Clock:
    """`now` in POSIX seconds, and whether people want absolute times."""

    now: float
    is_absolute: bool = False

    def tell(self, at: float) -> str:
        """A time such as `2h ago`, `in 4m`, `now`; with --utc `2026-11-24T00:01:02Z`."""
        if self.is_absolute:
            return format_timestamp(at)[:19] + "Z"
        away = at - self.now
        if abs(away) < 1:
            return "now"
        return f"in {span(away)}" if away > 0 else f"{span(away)} ago"

    def age(self, at: float) -> str:
        """How long ago, without the word; with --utc the time itself."""
        return self.tell(at) if self.is_absolute else span(max(0.0, self.now - at))
