"""When waiting ends: lifetime (RFC 5321, section 4.5.4.1), DELIVERBY (RFC 2852), and the warnings on the way.

A clock that jumps must not expire mail: besides its age, a recipient needs as many attempts as the schedule makes in a
lifetime, up to `ENOUGH_ATTEMPTS`. After a long outage, or a clock set years ahead, mail therefore still gets its tries.

A recipient that was not tried because its destination is dead waits as long as the schedule lets one of its age wait,
without counting an attempt. In place of its own attempts those that found the destination dead may speak, once the
destination has been dead, by a clock that does not jump, for as long as its own would have taken; one it always has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from postreeve.mail.envelope import DeliverBy
from postreeve.queue.backoff import attempts_within, next_due, pause_seconds
from postreeve.queue.disposition import Action, Disposition
from postreeve.queue.outcome import DestinationDead
from postreeve.queue.settings import Schedule

ENOUGH_ATTEMPTS: Final = 4


@dataclass(frozen=True, slots=True)
class Waiting:
    """One recipient's history as it stands after an attempt. Times in POSIX seconds."""

    accepted_at: float
    attempts: int
    """This one included."""
    warned: int = 0
    """The ages to warn at that the sender was told of."""
    hold_until: float | None = None
    expires_at: float | None = None
    deliver_by: DeliverBy | None = None

    @property
    def begun_at(self) -> float:
        """When waiting began: at acceptance, or when FUTURERELEASE let it go."""
        return self.accepted_at if self.hold_until is None else max(self.accepted_at, self.hold_until)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What becomes of a recipient: its final disposition, or DEFERRED with the next `due`.

    `warned` wants a delay DSN when it is not 0, and is then the number of ages the sender will have been told of.
    """

    disposition: Disposition
    due: float = 0.0
    warned: int = 0


def conclude(
    disposition: Disposition, waiting: Waiting, schedule: Schedule, now: float, fraction: Callable[[int], float]
) -> Conclusion:
    """Whether a deferred recipient may go on waiting; other dispositions stay as they are.

    `fraction` gives the place within the jitter for an attempt's number, always the same for the same (`spread`).
    """
    if disposition.action is not Action.DEFERRED:
        return Conclusion(disposition)
    if is_past_deadline(waiting.deliver_by, now):
        return Conclusion(too_late(disposition.text))
    if has_expired(waiting, schedule, now):
        return Conclusion(_give_up(disposition, waiting, now))
    due = next_due(schedule, now, waiting.attempts, fraction(waiting.attempts))
    return Conclusion(disposition, _by_deadline(waiting, due, now), _ages_to_tell(waiting, schedule, now))


def conclude_untried(
    disposition: Disposition,
    waiting: Waiting,
    schedule: Schedule,
    now: float,
    fraction: Callable[[int], float],
    dead: DestinationDead,
) -> Conclusion:
    """The same for a recipient that was not tried, `waiting.attempts` being those before."""
    if is_past_deadline(waiting.deliver_by, now):
        return Conclusion(too_late(disposition.text))
    least = least_attempts(schedule)
    is_enough = waiting.attempts >= (1 if dead.dead_seconds >= _seconds_of(schedule, least) else least)
    if is_enough and is_lifetime_over(waiting, schedule, now):
        return Conclusion(_give_up(disposition, waiting, now))
    number = max(waiting.attempts, attempts_within(schedule, now - waiting.begun_at))
    due = max(dead.until, next_due(schedule, now, number, fraction(number)))
    return Conclusion(disposition, _by_deadline(waiting, due, now), _ages_to_tell(waiting, schedule, now))


def _give_up(last: Disposition, waiting: Waiting, now: float) -> Disposition:
    hours = round((now - waiting.begun_at) / 3600)
    attempts = "1 attempt" if waiting.attempts == 1 else f"{waiting.attempts} attempts"
    text = f"gave up after {attempts} in {hours} hours; the last said: {last.text}"
    return Disposition(Action.EXPIRED, "5.4.7", text, last.is_site_trouble)


def _by_deadline(waiting: Waiting, due: float, now: float) -> float:
    """`due`, or the time of DELIVERBY when that comes before."""
    if waiting.deliver_by is not None and now < waiting.deliver_by.deadline < due:
        return waiting.deliver_by.deadline
    return due


def is_past_deadline(deliver_by: DeliverBy | None, now: float) -> bool:
    """True when mode R asks for the message back by now (RFC 2852, section 4)."""
    return deliver_by is not None and deliver_by.must_return and now >= deliver_by.deadline


def too_late(last_text: str = "") -> Disposition:
    """The end of a message whose DELIVERBY time has passed."""
    text = "not delivered by the time the sender set"
    return Disposition(Action.BOUNCED, "5.4.7", f"{text}; the last attempt said: {last_text}" if last_text else text)


def has_expired(waiting: Waiting, schedule: Schedule, now: float) -> bool:
    """True when both the time and the attempts of a lifetime are used up."""
    return waiting.attempts >= least_attempts(schedule) and is_lifetime_over(waiting, schedule, now)


def is_lifetime_over(waiting: Waiting, schedule: Schedule, now: float) -> bool:
    """True when the time of a lifetime is used up, whatever was tried in it."""
    end = waiting.expires_at
    return now >= (waiting.begun_at + schedule.lifetime_seconds if end is None else end)


def least_attempts(schedule: Schedule) -> int:
    """How many attempts a recipient has at least before it expires: 2 … ENOUGH_ATTEMPTS, by the schedule."""
    elapsed, attempts = 0.0, 1
    while attempts < ENOUGH_ATTEMPTS and elapsed < schedule.lifetime_seconds:
        elapsed += pause_seconds(schedule, attempts, 0.5)
        attempts += 1
    return max(2, attempts)


def _seconds_of(schedule: Schedule, attempts: int) -> float:
    """How long the schedule takes for so many attempts."""
    return sum([pause_seconds(schedule, number, 0.5) for number in range(1, attempts)])


def _ages_to_tell(waiting: Waiting, schedule: Schedule, now: float) -> int:
    """How many ages to warn at have passed, when that is more than the sender was told of, else 0."""
    passed = sum(now >= waiting.begun_at + age for age in schedule.warn_after_seconds)
    if waiting.deliver_by is not None and not waiting.deliver_by.must_return:
        passed += now >= waiting.deliver_by.deadline
    return passed if passed > waiting.warned else 0
