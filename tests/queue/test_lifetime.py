from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.mail.envelope import DeliverBy
from postreeve.queue.backoff import spread
from postreeve.queue.disposition import Action, Disposition
from postreeve.queue.lifetime import (
    ENOUGH_ATTEMPTS,
    Conclusion,
    Waiting,
    conclude,
    conclude_untried,
    has_expired,
    is_past_deadline,
    least_attempts,
    too_late,
)
from postreeve.queue.outcome import DestinationDead
from postreeve.queue.settings import Schedule

DEFERRED = Disposition(Action.DEFERRED, "4.4.1", "connection timed out", is_site_trouble=True)
SCHEDULE = Schedule()
START = 1_000_000.0
DAY = 86_400.0
HOUR = 3_600.0


def _middle(attempts: int) -> float:
    return 0.5


def _conclude(waiting: Waiting, now: float, schedule: Schedule = SCHEDULE) -> Conclusion:
    return conclude(DEFERRED, waiting, schedule, now, _middle)


@pytest.mark.parametrize(
    "action", [action for action in Action if action is not Action.DEFERRED], ids=lambda action: action.name
)
def test_conclude_leaves_what_is_not_deferred(action: Action) -> None:
    disposition = Disposition(action, "2.0.0", "ok")
    waiting = Waiting(START, 50, deliver_by=DeliverBy(START, must_return=True))
    assert conclude(disposition, waiting, SCHEDULE, START + 50 * DAY, _middle) == Conclusion(disposition)


def test_conclude_defers_to_the_next_pause() -> None:
    conclusion = _conclude(Waiting(START, 2), START + 400)
    assert conclusion == Conclusion(DEFERRED, START + 400 + 600)


def test_conclude_expires_after_the_lifetime_and_says_what_the_last_attempt_said() -> None:
    conclusion = _conclude(Waiting(START, 35), START + 5 * DAY)
    assert (conclusion.disposition.action, conclusion.disposition.status) == (Action.EXPIRED, "5.4.7")
    assert "35 attempts in 120 hours" in conclusion.disposition.text
    assert conclusion.disposition.text.endswith("connection timed out")
    assert conclusion.disposition.is_site_trouble
    assert _conclude(Waiting(START, 35), START + 5 * DAY - 1).disposition.action is Action.DEFERRED


def test_conclude_counts_the_lifetime_from_the_future_release() -> None:
    held = Waiting(START, 20, hold_until=START + 30 * DAY)
    assert _conclude(held, START + 34 * DAY).disposition.action is Action.DEFERRED
    assert _conclude(held, START + 35 * DAY).disposition.action is Action.EXPIRED


def test_conclude_prefers_the_messages_own_expiry() -> None:
    waiting = Waiting(START, 5, expires_at=START + HOUR)
    assert _conclude(waiting, START + HOUR).disposition.action is Action.EXPIRED
    assert _conclude(waiting, START + HOUR - 1).disposition.action is Action.DEFERRED


@given(jump=st.floats(-1e9, 1e9), attempts=st.integers(1, ENOUGH_ATTEMPTS - 1))
def test_conclude_never_expires_by_a_jump_of_the_clock_alone(jump: float, attempts: int) -> None:
    conclusion = _conclude(Waiting(START, attempts), START + jump)
    assert conclusion.disposition.action is Action.DEFERRED
    assert conclusion.due > START + jump


def _conclude_untried(waiting: Waiting, now: float, dead: DestinationDead, schedule: Schedule = SCHEDULE) -> Conclusion:
    return conclude_untried(DEFERRED, waiting, schedule, now, _middle, dead)


@pytest.mark.parametrize(
    ("attempts", "age", "until", "pause"),
    [
        (0, 0, 60, 300),
        (1, 10, 60, 300),
        (0, 400, 60, 600),
        (3, 400, 60, 1200),
        (0, 4 * DAY, 60, 14400),
        (1, 0, 900, 900),
    ],
    ids=["first", "tried once", "older", "tried often", "much older", "dead for longer"],
)
def test_untried_waits_as_long_as_one_of_its_age(attempts: int, age: float, until: float, pause: float) -> None:
    now = START + age
    conclusion = _conclude_untried(Waiting(START, attempts), now, DestinationDead("refused", now + until))
    assert conclusion == Conclusion(DEFERRED, now + pause, int(age > 4 * HOUR))


UNTRIED = {
    "tried and long dead": (1, DAY, Action.EXPIRED),
    "tried often": (ENOUGH_ATTEMPTS, 0.0, Action.EXPIRED),
    "never tried": (0, DAY, Action.DEFERRED),
    "dead for a moment only": (ENOUGH_ATTEMPTS - 1, 300.0, Action.DEFERRED),
}


@pytest.mark.parametrize(("attempts", "dead_seconds", "action"), UNTRIED.values(), ids=UNTRIED)
def test_untried_expires_with_those_that_were_tried_for_it(attempts: int, dead_seconds: float, action: Action) -> None:
    now = START + 6 * DAY
    dead = DestinationDead("refused", now + 900, dead_seconds)
    assert _conclude_untried(Waiting(START, attempts), now, dead).disposition.action is action
    assert _conclude_untried(Waiting(START, attempts), START + HOUR, dead).disposition.action is Action.DEFERRED


def test_untried_is_returned_at_its_deadline_and_looked_at_then() -> None:
    waiting = _until_deadline(True, START + 120)(0)
    dead = DestinationDead("refused", START + 60)
    assert _conclude_untried(waiting, START, dead).due == START + 120
    assert _conclude_untried(waiting, START + 120, dead).disposition.action is Action.BOUNCED


@pytest.mark.parametrize(
    ("pauses", "lifetime", "attempts"),
    [((300.0,), 432_000.0, 4), ((300.0,), 1.0, 2), ((3.0,), 10.0, 4), ((3.0,), 4.0, 3), ((300.0,), 0.0, 2)],
    ids=["days", "shorter-than-a-pause", "tiny", "two-pauses", "none"],
)
def test_least_attempts_go_by_the_schedule(pauses: tuple[float, ...], lifetime: float, attempts: int) -> None:
    schedule = Schedule(pauses, lifetime_seconds=lifetime)
    assert least_attempts(schedule) == attempts
    assert not has_expired(Waiting(START, attempts - 1), schedule, START + 1e9)
    assert has_expired(Waiting(START, attempts), schedule, START + 1e9)


@given(ident=st.integers(0, (1 << 63) - 1))
def test_schedule_ends_soon_after_the_lifetime(ident: int) -> None:
    def fraction(attempts: int) -> float:
        return spread(ident, attempts)

    now, warnings = START, 0
    for attempts in range(1, 100):
        conclusion = conclude(DEFERRED, Waiting(START, attempts, warnings), SCHEDULE, now, fraction)
        warnings += conclusion.warned
        if conclusion.disposition.action is Action.EXPIRED:
            break
        now = conclusion.due
    assert START + 5 * DAY <= now <= START + 5 * DAY + 1.1 * 4 * HOUR
    assert warnings == 1


def test_warning_comes_once_for_each_age() -> None:
    schedule = Schedule((1800.0,), jitter=0.1, warn_after_seconds=(HOUR, 4 * HOUR, DAY))
    now, warned_at = START, []
    for attempts in range(1, 80):
        conclusion = conclude(DEFERRED, Waiting(START, attempts, len(warned_at)), schedule, now, lambda n: spread(9, n))
        if conclusion.warned:
            assert conclusion.warned == len(warned_at) + 1
            warned_at.append(now - START)
        now = conclusion.due
    assert len(warned_at) == 3
    for age, at in zip(schedule.warn_after_seconds, warned_at, strict=True):
        assert age <= at <= age + 1980


def test_warning_after_a_long_silence_tells_of_all_ages_at_once() -> None:
    schedule = Schedule(warn_after_seconds=(HOUR, 4 * HOUR, DAY))
    late = _conclude(Waiting(START, 2, 1), START + 2 * DAY, schedule)
    assert late.warned == 3
    assert not _conclude(Waiting(START, 3, late.warned), START + 2 * DAY + HOUR, schedule).warned


def test_warning_is_off_without_ages() -> None:
    assert not _conclude(Waiting(START, 9), START + 2 * DAY, Schedule(warn_after_seconds=())).warned


def _until_deadline(must_return: bool, deadline: float) -> Callable[[int], Waiting]:
    return lambda attempts: Waiting(START, attempts, deliver_by=DeliverBy(deadline, must_return))


def test_deliver_by_return_bounces_at_the_deadline_even_after_one_attempt() -> None:
    waiting = _until_deadline(True, START + 120)
    early = _conclude(waiting(1), START + 5)
    assert (early.disposition.action, early.due) == (Action.DEFERRED, START + 120)
    late = _conclude(waiting(2), early.due).disposition
    assert (late.action, late.status) == (Action.BOUNCED, "5.4.7")
    assert "connection timed out" in late.text


def test_deliver_by_notify_warns_at_the_deadline_and_goes_on() -> None:
    waiting = _until_deadline(False, START + 120)
    early = _conclude(waiting(1), START + 5)
    assert (early.warned, early.due) == (0, START + 120)
    late = _conclude(waiting(2), early.due)
    assert late.disposition.action is Action.DEFERRED
    assert late.warned == 1
    again = _conclude(replace(waiting(3), warned=late.warned), late.due)
    assert not again.warned


def test_deadline_counts_only_in_mode_return() -> None:
    assert is_past_deadline(DeliverBy(START, True), START)
    assert not is_past_deadline(DeliverBy(START, True), START - 1)
    assert not is_past_deadline(DeliverBy(START, False), START + DAY)
    assert not is_past_deadline(None, START)
    assert too_late().status == "5.4.7"
