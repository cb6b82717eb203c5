"""A session's patience."""

import pytest

from postreeve.policy import farewell, limits
from postreeve.policy.limits import GO_ON, Tally
from postreeve.policy.settings import LimitSettings

SETTINGS = LimitSettings(max_errors=5, soft_errors=3, error_delay_seconds=1.5, max_junk=4, max_unknown_recipients=4)


def test_note_error_slows_down_then_ends() -> None:
    tally = Tally()
    story = [limits.note_error(tally, SETTINGS, is_stressed=False) for _ in range(5)]
    assert [patience.delay_seconds for patience in story] == [0, 0, 1.5, 1.5, 0]
    assert [patience.farewell for patience in story] == [None] * 4 + [farewell.TOO_MANY_ERRORS]


def test_note_error_is_final_under_stress() -> None:
    assert limits.note_error(Tally(), SETTINGS, is_stressed=True).farewell is farewell.TOO_MANY_ERRORS
    assert limits.note_junk(Tally(junk=1), SETTINGS, is_stressed=True).farewell is farewell.TOO_MUCH_JUNK


def test_note_message_forgives_errors_and_junk_but_not_guesses() -> None:
    tally = Tally(errors=4, junk=4, unknown_recipients=3, auth_failures=2)
    tally.note_message()
    assert tally == Tally(unknown_recipients=3, auth_failures=2)


def test_note_junk_ends_after_the_allowed_number() -> None:
    tally = Tally()
    story = [limits.note_junk(tally, SETTINGS, is_stressed=False) for _ in range(5)]
    assert story == [GO_ON] * 4 + [limits.Patience(farewell=farewell.TOO_MUCH_JUNK)]


def test_note_unknown_recipient_ends_a_harvest() -> None:
    tally = Tally()
    story = [limits.note_unknown_recipient(tally, SETTINGS, is_stressed=False) for _ in range(4)]
    assert story[-1].farewell is farewell.TOO_MANY_UNKNOWN


@pytest.mark.parametrize(("allowed", "ends"), [(3, [False, False, True]), (1, [True, True, True])])
def test_note_failed_login_ends_guessing(allowed: int, ends: list[bool]) -> None:
    tally = Tally()
    settings = LimitSettings(max_auth_failures=allowed)
    assert [limits.note_failed_login(tally, settings, False).farewell is not None for _ in ends] == ends


def test_zero_switches_a_limit_off() -> None:
    off = LimitSettings(max_errors=0, soft_errors=0, max_junk=0, max_unknown_recipients=0, max_auth_failures=0)
    tally = Tally()
    for note in (limits.note_error, limits.note_junk, limits.note_unknown_recipient, limits.note_failed_login):
        assert {note(tally, off, False) for _ in range(200)} == {GO_ON}
