"""When to try again (RFC 5321, section 4.5.4.1).

Every due time is counted from the present, never from an earlier due time: whatever the clock did meanwhile, the next
attempt is one pause away, no more, and always in the future.
"""

from __future__ import annotations

from typing import Final

from postreeve.mail.envelope import MailParameters
from postreeve.queue.settings import Fallback, Schedule

_MIX: Final = 0x9E3779B97F4A7C15
_MASK: Final = (1 << 64) - 1


def pause_seconds(schedule: Schedule, attempts: int, fraction: float) -> float:
    """How long to wait after attempt number `attempts` (from 1); `fraction` in [0, 1) places it within the jitter."""
    pauses = schedule.retry_seconds
    pause = pauses[min(max(attempts, 1), len(pauses)) - 1]
    return pause * (1.0 + schedule.jitter * (2.0 * fraction - 1.0))


def attempts_within(schedule: Schedule, seconds: float) -> int:
    """How many attempts the schedule makes in so many seconds, the first included; counts until its last pause."""
    elapsed, attempts = 0.0, 1
    for pause in schedule.retry_seconds:
        elapsed += pause
        if elapsed > seconds:
            break
        attempts += 1
    return attempts


def next_due(schedule: Schedule, now: float, attempts: int, fraction: float) -> float:
    """When the attempt after number `attempts` is due."""
    return now + pause_seconds(schedule, attempts, fraction)


def spread(ident: int, attempts: int) -> float:
    """A fraction in [0, 1) that differs between messages and attempts but is the same whenever it is asked for."""
    mixed = ((ident * 64 + attempts + 1) * _MIX) & _MASK
    mixed = ((mixed ^ (mixed >> 29)) * _MIX) & _MASK
    return (mixed >> 11) / (1 << 53)


def first_due(parameters: MailParameters, now: float) -> float:
    """When the first attempt is due: at once, or when FUTURERELEASE says (RFC 4865)."""
    return now if parameters.hold_until is None else max(now, parameters.hold_until)


def is_fallback_due(fallback: Fallback | None, attempts: int, waited_seconds: float, is_dead: bool = False) -> bool:
    """True when the fallback smarthost is to be used after `attempts` failed attempts and that much waiting.

    A destination that is dead fails without an attempt: there waiting alone is enough, but counts as no attempt.
    """
    if fallback is None:
        return False
    if 0 < fallback.after_attempts <= attempts:
        return True
    return (attempts >= 1 or is_dead) and 0 < fallback.after_seconds <= waited_seconds
