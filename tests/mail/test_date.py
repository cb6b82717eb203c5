"""RFC 5322 dates without a clock or a locale."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.mail.date import format_date, format_timestamp


@given(st.integers(0, 253_402_300_799))
def test_format_date_agrees_with_the_calendar(seconds: int) -> None:
    assert format_date(seconds) == format_datetime(datetime.fromtimestamp(seconds, UTC))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
        (951_782_400.9, "Tue, 29 Feb 2000 00:00:00 +0000"),
        (-5, "Thu, 01 Jan 1970 00:00:00 +0000"),
        (1e300, "Fri, 31 Dec 9999 23:59:59 +0000"),
    ],
)
def test_format_date_edges(seconds: float, expected: str) -> None:
    assert format_date(seconds) == expected


@given(st.integers(0, 253_402_300_799_000))
def test_format_timestamp_agrees_with_the_calendar(milliseconds: int) -> None:
    seconds, rest = divmod(milliseconds, 1000)
    expected = datetime.fromtimestamp(seconds, UTC).strftime("%m-%dT%H:%M:%S")
    assert format_timestamp(seconds)[5:] == f"{expected}.000Z"
    assert abs(int(format_timestamp(milliseconds / 1000)[-4:-1]) - rest) in (0, 1, 999)
