"""What comes next for a recipient, and why: the sentence that `queue show` ends with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from postreeve.cli.moment import Clock
from postreeve.config.units import format_duration
from postreeve.queue.backoff import pause_seconds, spread
from postreeve.queue.model import Attempt, MessageStory, RecipientRecord, RecipientState
from postreeve.queue.settings import Schedule

_TOLERANCE_SECONDS: Final = 5.0
"""Between the end of an attempt and the commit of what came of it."""

_NOT_TRIED: Final = "not tried"
"""How the text of `queue.outcome.DestinationDead` begins."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the sentence depends on beside the message."""

    clock: Clock
    schedule: Schedule
    is_running: bool


def tell_prospect(told: MessageStory, record: RecipientRecord, about: Circumstances) -> str:
    """What happens next with this recipient, and why."""
    if record.state.is_final:
        return _ending(told, record, about.clock)
    if record.state is RecipientState.HELD:
        return _held(record)
    clock, now = about.clock, about.clock.now
    if record.doomed:
        return "an operator wants it returned: the sender gets a failure report " + _at_once(about)
    if record.leased_until is not None and record.leased_until > now:
        return (
            "being delivered now" if about.is_running else "its attempt was cut off: tried again when the server runs"
        )
    why = _why_then(told, record, about)
    if record.due > now:
        return f"next try {clock.tell(record.due)}: {why}"
    if not about.is_running:
        return f"due since {clock.age(record.due)}, but the server is not running"
    return f"due now: {why}; waits for a free connection to {record.destination}"


def _held(record: RecipientRecord) -> str:
    kind, _, route = record.destination.partition(":")
    if kind == "hold":
        return (
            f'held by route {route} (via = "hold"), until `postreeve queue release`: then by the next route that fits'
        )
    return "held by an operator, until `postreeve queue release`"


def _at_once(about: Circumstances) -> str:
    return "at once" if about.is_running else "when the server runs"


def _why_then(told: MessageStory, record: RecipientRecord, about: Circumstances) -> str:
    held_until = told.envelope.parameters.hold_until
    if record.last_problem.startswith(_NOT_TRIED):
        return f"{_ordinal(record.attempts + 1)} attempt, when {record.destination} is tried again: it does not answer"
    if record.attempts == 0:
        if held_until is not None and abs(held_until - record.due) < _TOLERANCE_SECONDS:
            return "held until then as the sender asked (FUTURERELEASE)"
        return "the first attempt"
    number, pause = record.attempts + 1, pause_seconds(about.schedule, record.attempts, 0.5)
    last = _last_attempt(told, record)
    exact = pause_seconds(about.schedule, record.attempts, spread(told.summary.ident, record.attempts))
    by_schedule = f"{_ordinal(number)} attempt of the schedule: +{format_duration(pause)}"
    if last is None:
        return by_schedule
    since = record.due - (last.at + last.duration_seconds)
    if abs(since - exact) <= _TOLERANCE_SECONDS:
        return by_schedule
    which = f"{_ordinal(number)} attempt, not by the schedule (+{format_duration(pause)})"
    return f"{which}: an operator asked for it, or the attempt before was cut off"


def _last_attempt(told: MessageStory, record: RecipientRecord) -> Attempt | None:
    return next((one for one in reversed(told.attempts) if record.index in one.recipients), None)


def _ending(told: MessageStory, record: RecipientRecord, clock: Clock) -> str:
    last = _last_attempt(told, record)
    match record.state:
        case RecipientState.DELIVERED | RecipientState.RELAYED:
            where = f" to {last.host or last.destination}" if last is not None else ""
            when = f" {clock.tell(last.at + last.duration_seconds)}" if last is not None else ""
            note = ", which sends no delivery reports" if record.state is RecipientState.RELAYED else ""
            return f"{record.state.value}{where}{when}{note}"
        case RecipientState.BOUNCED:
            return "returned to the sender as undeliverable" + (" by an operator" if record.doomed else "")
        case RecipientState.EXPIRED:
            return "given up: its lifetime ended"
        case _:
            return "dropped by an operator, without a report"


def _ordinal(number: int) -> str:
    tail = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{tail}"
