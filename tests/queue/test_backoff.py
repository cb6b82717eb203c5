from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.mail.envelope import MailParameters
from postreeve.queue.backoff import attempts_within, first_due, is_fallback_due, next_due, pause_seconds, spread
from postreeve.queue.settings import Fallback, Schedule, Smarthost

SCHEDULE = Schedule()
IDENTS = st.integers(0, (1 << 63) - 1)
FRACTIONS = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("attempts", "pause"),
    [(1, 300), (2, 600), (3, 1200), (4, 2400), (5, 4800), (6, 9600), (7, 14400), (8, 14400), (500, 14400), (0, 300)],
    ids=str,
)
def test_pause_follows_the_schedule_and_repeats_its_last(attempts: int, pause: float) -> None:
    assert pause_seconds(SCHEDULE, attempts, 0.5) == pause


@given(attempts=st.integers(0, 1000), fraction=FRACTIONS, jitter=st.floats(0, 0.5))
def test_pause_stays_within_the_jitter(attempts: int, fraction: float, jitter: float) -> None:
    schedule = Schedule(jitter=jitter)
    middle = pause_seconds(schedule, attempts, 0.5)
    assert middle * (1 - jitter) - 1e-6 <= pause_seconds(schedule, attempts, fraction) <= middle * (1 + jitter) + 1e-6


@given(now=st.floats(-1e10, 1e12), attempts=st.integers(1, 100), fraction=FRACTIONS)
def test_next_due_is_one_pause_from_now_whatever_the_clock_says(now: float, attempts: int, fraction: float) -> None:
    due = next_due(SCHEDULE, now, attempts, fraction)
    assert now < due <= now + max(SCHEDULE.retry_seconds) * 1.1 + 1


@given(ident=IDENTS, attempts=st.integers(0, 1000))
def test_spread_is_a_fraction_that_repeats_itself(ident: int, attempts: int) -> None:
    assert 0 <= spread(ident, attempts) < 1
    assert spread(ident, attempts) == spread(ident, attempts)


def test_spread_spreads_messages_and_attempts_evenly() -> None:
    neighbours = [spread(7 << 22 | ident, 1) for ident in range(4000)]
    attempts = [spread(7 << 22, number) for number in range(4000)]
    for fractions in (neighbours, attempts):
        tenths = [sum(index / 10 <= fraction < (index + 1) / 10 for fraction in fractions) for index in range(10)]
        assert all(300 <= count <= 500 for count in tenths)


@pytest.mark.parametrize(
    ("hold_until", "due"), [(None, 1000.0), (900.0, 1000.0), (5000.0, 5000.0)], ids=["none", "past", "future"]
)
def test_first_due_waits_for_the_future_release(hold_until: float | None, due: float) -> None:
    assert first_due(MailParameters(hold_until=hold_until), 1000.0) == due


FALLBACK = Fallback(Smarthost("smarthost.example.net"), after_attempts=3, after_seconds=3600.0)
ONLY_ATTEMPTS = Fallback(FALLBACK.smarthost, after_attempts=3, after_seconds=0.0)
ONLY_TIME = Fallback(FALLBACK.smarthost, after_attempts=0, after_seconds=3600.0)


@pytest.mark.parametrize(
    ("fallback", "attempts", "waited", "due"),
    [
        (None, 50, 1e6, False),
        (FALLBACK, 0, 1e6, False),
        (FALLBACK, 1, 60.0, False),
        (FALLBACK, 3, 60.0, True),
        (FALLBACK, 1, 3600.0, True),
        (ONLY_ATTEMPTS, 2, 1e6, False),
        (ONLY_ATTEMPTS, 3, 0.0, True),
        (ONLY_TIME, 50, 3599.0, False),
        (ONLY_TIME, 1, 3600.0, True),
    ],
    ids=["none", "untried", "early", "attempts", "time", "attempts-not", "attempts-only", "time-not", "time-only"],
)
def test_fallback_is_due_by_attempts_or_time(
    fallback: Fallback | None, attempts: int, waited: float, due: bool
) -> None:
    assert is_fallback_due(fallback, attempts, waited) is due


@pytest.mark.parametrize(
    ("waited", "due"), [(3599.0, False), (3600.0, True)], ids=["attempts are not made by waiting", "time counts"]
)
def test_fallback_past_a_dead_destination_is_due_by_time_alone(waited: float, due: bool) -> None:
    assert is_fallback_due(FALLBACK, 0, waited, is_dead=True) is due


@pytest.mark.parametrize(
    ("seconds", "attempts"),
    [(0, 1), (299, 1), (300, 2), (900, 3), (1e9, 8)],
    ids=["at once", "early", "2nd", "3rd", "end"],
)
def test_attempts_within_a_time_follow_the_schedule(seconds: float, attempts: int) -> None:
    assert attempts_within(SCHEDULE, seconds) == attempts
