from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from postreeve.queue.throttle import FIRST_DEAD_SECONDS, LONGEST_DEAD_SECONDS, Throttle, Turn


def _start_all(throttle: Throttle, now: float = 0.0) -> int:
    started = 0
    while throttle.may_start(now):
        throttle.start()
        started += 1
    return started


def _fail_all(throttle: Throttle, now: float = 0.0) -> list[Turn]:
    turns = [throttle.on_failure(now, "connection refused") for _ in range(_start_all(throttle, now))]
    while throttle.may_start(now):
        throttle.start()
        turns.append(throttle.on_failure(now, "connection refused"))
    return [turn for turn in turns if turn is not None]


def test_throttle_starts_with_the_initial_window() -> None:
    assert _start_all(Throttle(5, 20)) == 5
    assert _start_all(Throttle(50, 20)) == 20
    assert _start_all(Throttle(0, 0)) == 1


def test_throttle_widens_by_one_for_each_cohort_of_successes() -> None:
    throttle = Throttle(5, 20)
    widths = []
    for _ in range(40):
        width = _start_all(throttle)
        widths.append(width)
        for _ in range(width):
            assert throttle.on_success() is None
    assert widths[0] == 5
    assert widths[-1] == 20
    assert all(later - earlier in (0, 1) for earlier, later in itertools.pairwise(widths))


def test_throttle_narrows_with_troubles_and_recovers() -> None:
    throttle = Throttle(10, 20)
    for _ in range(5):
        throttle.start()
        throttle.on_failure(0.0, "connection timed out")
        throttle.start()
        throttle.on_success()
    assert 9 <= throttle.concurrency <= 10
    for _ in range(4):
        throttle.start()
        throttle.on_failure(0.0, "connection timed out")
    assert throttle.concurrency == 9
    assert throttle.dead_until(0.0) is None


def test_throttle_dies_after_a_cohort_of_troubles() -> None:
    throttle = Throttle(5, 20)
    assert _fail_all(throttle, 100.0) == [Turn.DIED]
    assert throttle.dead_until(100.0) == 100.0 + FIRST_DEAD_SECONDS
    assert not throttle.may_start(100.0 + FIRST_DEAD_SECONDS - 1)
    assert throttle.reason == "connection refused"


def test_throttle_does_not_die_of_one_trouble_where_only_one_attempt_is_allowed() -> None:
    throttle = Throttle(1, 1)
    turns = []
    for _ in range(3):
        throttle.start()
        turns.append(throttle.on_failure(0.0, "x"))
    assert turns == [None, None, Turn.DIED]


def test_throttle_lives_when_a_success_falls_between_troubles() -> None:
    throttle = Throttle(5, 20)
    for _ in range(100):
        for _ in range(2):
            throttle.start()
            assert throttle.on_failure(0.0, "x") is None
        throttle.start()
        assert throttle.on_success() is None


def test_throttle_probes_a_dead_destination_with_one_attempt() -> None:
    throttle = Throttle(5, 20)
    _fail_all(throttle, 0.0)
    assert _start_all(throttle, FIRST_DEAD_SECONDS) == 1
    assert throttle.on_success() is Turn.REVIVED
    assert _start_all(throttle, FIRST_DEAD_SECONDS) == 5


def test_throttle_doubles_the_dead_time_up_to_a_bound() -> None:
    throttle = Throttle(5, 20)
    _fail_all(throttle, 0.0)
    now, times = FIRST_DEAD_SECONDS, []
    for _ in range(20):
        assert _fail_all(throttle, now) == []
        until = throttle.dead_until(now)
        assert until is not None
        times.append(until - now)
        now = until
    assert times[:3] == [120.0, 240.0, 480.0]
    assert times[3:] == [LONGEST_DEAD_SECONDS] * 17
    throttle.start()
    throttle.on_success()
    _fail_all(throttle, now)
    assert throttle.dead_until(now) == now + FIRST_DEAD_SECONDS


def test_throttle_is_dead_no_longer_than_the_schedule_pauses() -> None:
    throttle = Throttle(5, 20, (1.0, 3.0, 5000.0))
    _fail_all(throttle, 0.0)
    now, times = 0.0, []
    for _ in range(8):
        until = throttle.dead_until(now)
        assert until is not None
        times.append(until - now)
        now = until
        _fail_all(throttle, now)
    assert times == [1.0, 3.0, 240.0, 480.0] + [LONGEST_DEAD_SECONDS] * 4
    assert throttle.dead_seconds(now) == sum(times)
    assert throttle.dead_seconds(-5.0) == 0.0
    throttle.start()
    throttle.on_success()
    assert throttle.dead_seconds(now) == 0.0


def test_throttle_does_not_prolong_a_dead_time_by_attempts_still_under_way() -> None:
    throttle = Throttle(3, 20)
    for _ in range(3):
        throttle.start()
    first_turns = [throttle.on_failure(0.0, "x") for _ in range(3)]
    throttle.start()
    throttle.on_failure(1.0, "x")
    assert Turn.DIED in first_turns
    assert throttle.dead_until(1.0) == FIRST_DEAD_SECONDS


def test_throttle_is_not_dead_for_years_after_the_clock_stepped_back() -> None:
    throttle = Throttle(5, 20)
    _fail_all(throttle, 1e9)
    assert throttle.dead_until(1e6) is None
    assert throttle.may_start(1e6)


STEPS = st.lists(
    st.tuples(st.sampled_from(["start", "success", "failure", "nothing"]), st.floats(0, 500)), max_size=200
)


@given(initial=st.integers(1, 30), most=st.integers(1, 30), steps=STEPS)
def test_throttle_keeps_within_its_bounds(initial: int, most: int, steps: list[tuple[str, float]]) -> None:
    throttle, now, under_way = Throttle(initial, most), 0.0, 0
    for step, seconds in steps:
        now += seconds
        if step == "start" and throttle.may_start(now):
            throttle.start()
            under_way += 1
        elif step != "start" and under_way:
            under_way -= 1
            if step == "success":
                throttle.on_success()
                assert throttle.dead_until(now) is None
            elif step == "failure":
                throttle.on_failure(now, "x")
            else:
                throttle.on_nothing()
        assert throttle.in_flight == under_way
        assert 1 <= throttle.concurrency <= most
        until = throttle.dead_until(now)
        assert until is None or now < until <= now + LONGEST_DEAD_SECONDS
        if under_way == 0 and until is None:
            assert throttle.may_start(now)


def test_throttle_is_idle_only_when_it_knows_nothing() -> None:
    throttle = Throttle(5, 20)
    assert throttle.is_idle
    throttle.start()
    assert not throttle.is_idle
    throttle.on_nothing()
    assert throttle.is_idle
    _fail_all(throttle)
    assert not throttle.is_idle
